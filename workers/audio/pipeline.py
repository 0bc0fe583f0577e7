"""One speech window → what it carries: resample, voice activity on the newest hop, gate, speech model."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.emotions import LabelMap
from models.session import Artifact
from workers.audio.resample import newest, resample
from workers.audio.settings import AudioSettings
from workers.audio.voice import VoiceActivity, level_dbfs, share_above
from workers.errors import WorkerError

TOO_QUIET = "too quiet"
NO_VOICE = "no voice"
NOT_ENOUGH = "not enough sound yet"


class SpeechReading(msgspec.Struct, frozen=True, kw_only=True):
    """What one speech window carries.

    Attributes:
        voice: share of the newest hop that is voice, 0…1.
        probabilities: over the emotions that the model knows, summing to 1; None where the window was gated.
        because: why it was gated, else None.
    """

    voice: float
    probabilities: dict[str, float] | None
    because: str | None


class SpeechPipeline:
    """Holds the artifacts and no state between windows, so that any worker can take any window.

    Without a voice-activity artifact every 32 ms step above the energy floor counts as voice.
    """

    def __init__(self, speech: Artifact, voice_activity: Artifact | None, settings: AudioSettings) -> None:
        self._speech = speech
        self._settings = settings
        self._voice_activity = None if voice_activity is None else VoiceActivity(voice_activity, settings)
        self._label_map = LabelMap(speech.metadata.labels or ())
        self._rate = speech.metadata.sample_rate or 16_000
        self._window_s = speech.metadata.window_s or 3.0
        self._minimum_window_s = speech.metadata.minimum_window_s or 0.0

    def __call__(self, samples: NDArray[np.float32], rate: int, fresh: int) -> SpeechReading:
        """Read one window.

        Args:
            samples: float32 [n], mono, -1…1; values that are not finite count as 0, others are clipped.
            rate: of the samples, in Hz.
            fresh: how many samples at the end are new since the hop before; 0 or more than n means all.

        Raises WorkerError for samples that are no mono sound, or where the speech model's answer is no probability.
        """
        if samples.ndim != 1 or rate <= 0:
            raise WorkerError(f"a speech window must be mono with a rate in Hz, not shape {samples.shape} at {rate} Hz")
        sound = np.clip(np.nan_to_num(samples.astype(np.float32), posinf=0.0, neginf=0.0), -1.0, 1.0)
        if not 0 < fresh <= sound.size:
            fresh = sound.size
        voice, because = self._listen(sound, rate, fresh)
        if because is None and sound.size / rate < self._minimum_window_s:
            because = NOT_ENOUGH
        if because is not None:
            return SpeechReading(voice=voice, probabilities=None, because=because)
        return SpeechReading(voice=voice, probabilities=self._recognise(sound, rate), because=None)

    def _listen(self, sound: NDArray[np.float32], rate: int, fresh: int) -> tuple[float, str | None]:
        """Voice share of the newest hop, and why the gate is shut if it is."""
        if sound.size == 0:
            return 0.0, NOT_ENOUGH
        hop, floor = sound[-fresh:], self._settings.energy_floor_dbfs
        if level_dbfs(hop) < floor:
            return 0.0, TOO_QUIET
        if self._voice_activity is None:
            voice = share_above(hop, rate, floor)
        else:
            voice = self._voice_activity.share(sound, rate, fresh)
        return voice, None if voice >= self._settings.minimum_voice_share else NO_VOICE

    def _recognise(self, sound: NDArray[np.float32], rate: int) -> dict[str, float]:
        """The speech model on the last `window_s` seconds."""
        window = resample(newest(sound, self._window_s, rate), rate, self._rate, self._settings.resampler)
        probabilities = self._speech.run(waveform=self._fit(window)[None, :])["probabilities"]
        if not np.isfinite(probabilities).all():
            raise WorkerError(f"{self._speech.identity} answered with something that is no probability")
        return self._label_map.apply(probabilities)[0]

    def _fit(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Zeros behind the sound (or less of its beginning) where the graph takes one length only."""
        size = next(tensor.shape[1] for tensor in self._speech.inputs if tensor.name == "waveform")
        if not isinstance(size, int):
            return window
        fitted = np.zeros(size, dtype=np.float32)
        taken = window[-size:]
        fitted[: taken.size] = taken
        return fitted
