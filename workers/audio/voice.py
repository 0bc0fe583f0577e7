"""How much of the newest sound is voice: the voice-activity model over short steps, and plain loudness beside it.

The model is Silero VAD's (https://github.com/snakers4/silero-vad) step: 512 new samples at 16 kHz behind the 64
before them, and a state that goes from step to step.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from models.errors import ArtifactError
from models.session import Artifact
from workers.audio.resample import newest, resample
from workers.audio.settings import AudioSettings

STEP_S = 512 / 16_000
LOOKBACK_S = 64 / 16_000
SILENCE_DBFS = -120.0


def level_dbfs(samples: NDArray[np.float32]) -> float:
    """Root mean square level of float32 [n] in dB below full scale, without its constant part; at least -120."""
    if samples.size == 0:
        return SILENCE_DBFS
    rms = float(np.std(samples, dtype=np.float64))
    return max(SILENCE_DBFS, 20.0 * math.log10(max(rms, 1e-9)))


def share_above(samples: NDArray[np.float32], rate: int, floor_dbfs: float) -> float:
    """Share of the 32 ms steps of float32 [n] whose level is at least `floor_dbfs`, 0…1."""
    count = max(1, round(samples.size / rate / STEP_S))
    steps = np.array_split(samples, count)
    return sum(level_dbfs(step) >= floor_dbfs for step in steps) / count


class VoiceActivity:
    """A voice-activity artifact, run over the end of a window from a zero state.

    Raises ArtifactError where the artifact's step is not the one that the contract asks for.
    """

    def __init__(self, artifact: Artifact, settings: AudioSettings) -> None:
        self.rate = artifact.metadata.sample_rate or 16_000
        self._artifact = artifact
        self._settings = settings
        self._step = round(STEP_S * self.rate)
        self._lookback = round(LOOKBACK_S * self.rate)
        sizes = {tensor.name: tensor.shape for tensor in artifact.inputs}
        width = sizes["waveform"][1]
        if isinstance(width, int) and width != self._step + self._lookback:
            raise ArtifactError(
                f"{artifact.path}: 'waveform' takes {width} samples a step, but voice activity at {self.rate} Hz "
                f"goes by {self._step} new samples behind {self._lookback} before them"
            )
        depth = sizes["state"][2]
        self._state_depth = depth if isinstance(depth, int) else 128

    def share(self, samples: NDArray[np.float32], rate: int, fresh: int) -> float:
        """Share of the newest `fresh` of float32 [n] samples (at `rate` Hz) that is voice, 0…1."""
        probabilities = self.hop_probabilities(samples, rate, fresh)
        return float(np.mean(probabilities >= self._settings.voice_threshold))

    def hop_probabilities(self, samples: NDArray[np.float32], rate: int, fresh: int) -> NDArray[np.float32]:
        """Voice probability float32 [steps] of each step in the newest hop, after `context_s` of warming up."""
        hop_steps = max(1, round(fresh / rate / STEP_S))
        context_steps = math.ceil(self._settings.context_s / STEP_S)
        end = newest(samples, (hop_steps + context_steps) * STEP_S + LOOKBACK_S, rate)
        sound = resample(end, rate, self.rate, self._settings.resampler)
        return self.probabilities(sound)[-hop_steps:]

    def probabilities(self, sound: NDArray[np.float32]) -> NDArray[np.float32]:
        """Voice probability float32 [steps] of sound at the model's rate; the last step ends where the sound ends.

        The network starts from its zero state; what lies before the sound's beginning counts as silence.
        """
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
