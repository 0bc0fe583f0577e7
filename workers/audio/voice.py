"""Which 32 ms steps of a window are voice: by the voice-activity model, or by plain loudness.

The model's step is Silero VAD's (https://github.com/snakers4/silero-vad): 512 new samples at 16 kHz behind the 64
before them, and a state that goes from step to step.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bimodal.models.errors import ArtifactError
from bimodal.models.session import Artifact
from bimodal.workers.audio.resample import resample
from bimodal.workers.audio.settings import Quality

STEP_S = 512 / 16_000
LOOKBACK_S = 64 / 16_000
SILENCE_DBFS = -120.0


def level_dbfs(samples: NDArray[np.float32]) -> float:
    """Root mean square level of float32 [n] in dB below full scale, without its constant part; at least -120."""
    if samples.size == 0:
        return SILENCE_DBFS
    rms = float(np.std(samples, dtype=np.float64))
    return max(SILENCE_DBFS, 20.0 * math.log10(max(rms, 1e-9)))


def loud_steps(sound: NDArray[np.float32], rate: int, floor_dbfs: float) -> NDArray[np.bool_]:
    """Of each step of float32 [n], the last one ending where the sound ends: is its level at least `floor_dbfs`?"""
    step = max(1, round(STEP_S * rate))
    ends = range(max(1, sound.size), 0, -step)
    return np.array([level_dbfs(sound[max(0, end - step) : end]) >= floor_dbfs for end in ends][::-1], dtype=np.bool_)


class VoiceActivity:
    """A voice-activity artifact, run over a whole window from its zero state: workers keep none between windows.

    Raises ArtifactError where the artifact's step is not the one that the contract asks for.
    """

    def __init__(self, artifact: Artifact, quality: Quality) -> None:
        self._artifact = artifact
        self._quality = quality
        self._rate = artifact.metadata.sample_rate or 16_000
        self._step = round(STEP_S * self._rate)
        self._lookback = round(LOOKBACK_S * self._rate)
        sizes = {tensor.name: tensor.shape for tensor in artifact.inputs}
        width = sizes["waveform"][1]
        if isinstance(width, int) and width != self._step + self._lookback:
            raise ArtifactError(
                f"{artifact.path}: 'waveform' takes {width} samples a step, but voice activity at {self._rate} Hz "
                f"goes by {self._step} new samples behind {self._lookback} before them"
            )
        depth = sizes["state"][2]
        self._state_depth = depth if isinstance(depth, int) else 128

    def probabilities(self, sound: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
        """Voice probability float32 [steps] of float32 [n]; the last step ends where the sound ends.

        What lies before the sound's beginning counts as silence.
        """
        sound = resample(sound, rate, self._rate, self._quality)
        count = max(1, math.ceil((sound.size - self._lookback) / self._step))
        padded = np.zeros(self._lookback + count * self._step, dtype=np.float32)
        taken = min(sound.size, padded.size)
        padded[padded.size - taken :] = sound[sound.size - taken :]
        state = np.zeros((2, 1, self._state_depth), dtype=np.float32)
        found = np.zeros(count, dtype=np.float32)
        for index in range(count):
            start = index * self._step
            step = padded[None, start : start + self._lookback + self._step]
            outputs = self._artifact.run(waveform=step, state=state)
            found[index] = outputs["probability"][0, 0]
            state = outputs["next_state"]
        return found
