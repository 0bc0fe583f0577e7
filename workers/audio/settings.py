"""What a user may set about listening (`audio:` in config.yaml)."""

from __future__ import annotations

from typing import Literal

import msgspec

Quality = Literal["QQ", "LQ", "MQ", "HQ", "VHQ"]


class AudioSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a window of sound is given to the speech model, and how it is resampled.

    Attributes:
        voice_threshold: a step (32 ms) counts as voice from this voice-activity probability on, 0…1.
        energy_floor_dbfs: a newest hop quieter than this root mean square level holds no voice, whatever voice
            activity says; 0 dBFS is an rms of 1.0. Quiet speakers at a desk microphone lie near -50, the noise of
            an idle microphone mostly below -60.
        minimum_voice_share: share of the newest hop that must be voice for the speech model to run, 0…1.
        context_s: seconds before the newest hop that voice activity hears first, because its network remembers and
            workers do not. From 0.5 s on, 96 % of hops are gated as by a network that heard everything.
        resampler: quality word of soxr; "HQ" is transparent for 16 bit sound, "QQ" costs and is worth least.
    """

    voice_threshold: float = 0.5
    energy_floor_dbfs: float = -60.0
    minimum_voice_share: float = 0.25
    context_s: float = 0.5
    resampler: Quality = "HQ"
