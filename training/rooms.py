"""Recordings as they sound in a room: convolved with noise that decays exponentially (Moorer 1979's simple model)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from bimodal.training.datasets.ravdess import Recording

DECAY_S = (0.15, 0.7)
"""Seconds in which the sound of a room falls by 60 dB: a furnished room to a bare one."""
DIRECT_DB = (-3.0, 12.0)
"""How much louder than all of the room's answer the direct sound is."""
FIRST_S = 0.003


def impulse_response(
    rate: int, random: np.random.Generator, decay_s: float | None = None, direct_db: float | None = None
) -> NDArray[np.float32]:
    """The direct sound, then noise that decays by 60 dB. float32 [S], direct sound 1.

    Args:
        decay_s: seconds of that decay; drawn from DECAY_S where None.
        direct_db: how much louder the direct sound is; drawn from DIRECT_DB where None.
    """
    decay_s = random.uniform(*DECAY_S) if decay_s is None else decay_s
    time_s = np.arange(round(decay_s * rate)) / rate
    room = random.standard_normal(len(time_s)) * 10 ** (-3 * time_s / decay_s) * (time_s >= FIRST_S)
    level = 10 ** (-(random.uniform(*DIRECT_DB) if direct_db is None else direct_db) / 20)
    room *= level / (float(np.sqrt(np.sum(room**2))) + 1e-9)
    room[0] = 1.0
    return np.asarray(room, np.float32)


def echoed(waveform: NDArray[np.float32], response: NDArray[np.float32]) -> NDArray[np.float32]:
    """A sound as the room of that impulse response gives it back: as long as before and as loud, in −1…1."""
    wet = fftconvolve(waveform, response)[: len(waveform)]
    before, after = (float(np.sqrt(np.mean(np.square(sound)))) for sound in (waveform, wet))
    scaled = wet * (before / after) if after > 0 else wet
    return np.asarray(np.clip(scaled, -1, 1), np.float32)


def in_a_room(recording: Recording, random: np.random.Generator) -> Recording:
    """The same recording, as long as before and as loud, heard in a random room."""
    return replace(recording, waveform=echoed(recording.waveform, impulse_response(recording.rate, random)))
