"""Settings of the speech pipeline (`audio:` in config.yaml)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from bimodal.models.contract import Metadata
from bimodal.workers.errors import ConfigError

Quality = Literal["QQ", "LQ", "MQ", "HQ", "VHQ"]


class AudioSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Conditions for running the speech model on a window, and the part of it that it gets.

    Attributes:
        voice_threshold: a step (32 ms) counts as voice from this voice-activity probability on, 0…1.
        energy_floor_dbfs: a newest hop quieter than this root mean square level holds no voice, whatever voice
            activity says; 0 dBFS is an rms of 1.0. Quiet speakers at a desk microphone lie near -50, the noise of
            an idle microphone mostly below -60.
        minimum_voice_share: share of the newest hop that must be voice for the speech model to run, 0…1.
        minimum_voice_s: seconds of voice that the window must hold for the speech model to run.
        lead_in_s: seconds before the first voice of the window that the speech model gets; older silence is cut off
            (see SpeechPipeline for why). As long as the window or longer: nothing is cut.
        resampler: quality word of soxr; "HQ" is transparent for 16 bit sound, "QQ" costs and is worth least.
    """

    voice_threshold: float = 0.5
    energy_floor_dbfs: float = -60.0
    minimum_voice_share: float = 0.25
    minimum_voice_s: float = 0.25
    lead_in_s: float = 0.5
    resampler: Quality = "HQ"


def check_windows(speech: Sequence[Metadata], window_s: float) -> None:
    """Raise ConfigError where windows of `capture.window_s` are too short for one of the speech models."""
    wanted_s, name = max(((metadata.window_s or 0.0, metadata.name) for metadata in speech), default=(0.0, ""))
    if wanted_s > window_s:
        raise ConfigError(
            f"{name} wants windows of {wanted_s:g} s, but capture cuts {window_s:g} s; "
            f"set capture.window_s to {wanted_s:g} or more"
        )
