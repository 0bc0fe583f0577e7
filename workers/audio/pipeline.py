"""The speech pipeline: resample a window, detect voice, gate, run the speech model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import msgspec
import numpy as np
import soxr
from numpy.typing import NDArray

from bimodal.broker.events import VoiceMeasures
from bimodal.models.contract import used_labels
from bimodal.models.emotions import SEVEN, EmotionSet, Mapped
from bimodal.models.errors import ArtifactError
from bimodal.models.session import Artifact, check_finite
from bimodal.models.sound_quality import SoundQuality, sound_quality
from bimodal.workers.audio.prosody import loudness_of, with_voice
from bimodal.workers.audio.settings import AudioSettings, Quality
from bimodal.workers.errors import WorkerError
from bimodal.workers.fusion.combine import STRATEGIES, Opinion, pooled_other
from bimodal.workers.fusion.settings import MEAN, Ensemble

TOO_QUIET = "too quiet"
NO_VOICE = "no voice"
NOT_ENOUGH = "not enough sound yet"


class SpeechReading(msgspec.Struct, frozen=True, kw_only=True):
    """The reading of one speech window.

    Attributes:
        voice: share of the newest hop that is voice, 0…1.
        probabilities: over the emotions that the model knows, summing to 1; None if the window was gated.
        reason: why it was gated, else None.
        measures: how the newest hop sounds; None without sound.
        other: shares of the further categories that count, of all classes.
        affect: arousal, dominance and valence of the window, −1…1, of the first speech model that has them; else None.
        quality: how well the voice can be heard; None if the window was gated.
    """

    voice: float
    probabilities: dict[str, float] | None
    reason: str | None
    measures: VoiceMeasures | None = None
    other: dict[str, float] = {}
    affect: tuple[float, float, float] | None = None
    quality: SoundQuality | None = None


class SpeechPipeline:
    """Resampling, voice activity, gate and speech models. Keeps no state between windows: any worker takes any window.

    Without a voice-activity artifact every 32 ms step above the energy floor counts as voice.

    Silence before the first voice of a window is cut off, except for a lead-in and the model's minimum length, since
    speech models are not trained on half a second of voice behind 2.5 s of silence. On four RAVDESS actors unseen by a
    speech-compact trained for 16 epochs, with windows each half second after 3 s of noise at -100, -65 and -50 dBFS,
    this raised the unweighted average recall from 0.28, 0.28 and 0.24 to 0.35, 0.38 and 0.36; a lead-in of 0.75 s does
    about as well, 0, 0.25 and 1 s have a higher log loss. A model whose graph takes one length only gets its window
    uncut.
    """

    def __init__(
        self,
        speech: Artifact | Sequence[Artifact],
        voice_activity: Artifact | None,
        settings: AudioSettings,
        emotions: EmotionSet = SEVEN,
        ensemble: Ensemble = MEAN,
    ) -> None:
        """`speech`: one speech artifact, or several as an `ensemble`, each on a window of its own length and rate.

        Raises ArtifactError where one knows none of `emotions`.
        """
        self._models = [_SpeechModel(each, emotions) for each in ([speech] if isinstance(speech, Artifact) else speech)]
        self._emotions = emotions
        self._ensemble = ensemble
        self._settings = settings
        self._voice_activity = None if voice_activity is None else VoiceActivity(voice_activity, settings.resampler)
        self._rate = self._models[0].rate
        self._window_s = max(model.window_s for model in self._models)
        self._minimum_window_s = max(model.minimum_window_s for model in self._models)

    def __call__(self, samples: NDArray[np.float32], rate: int, fresh: int) -> SpeechReading:
        """Run the pipeline on one window.

        Args:
            samples: float32 [n], mono, -1…1; values that are not finite count as 0, others are clipped.
            rate: of the samples, in Hz.
            fresh: number of samples at the end that are new since the previous hop; 0 or more than n means all.

        Raises WorkerError for samples that are not mono sound, ArtifactError where a model answers with no numbers.
        """
        if samples.ndim != 1 or rate <= 0:
            raise WorkerError(f"a speech window must be mono with a rate in Hz, not shape {samples.shape} at {rate} Hz")
        sound = np.clip(np.nan_to_num(samples.astype(np.float32), posinf=0.0, neginf=0.0), -1.0, 1.0)
        if sound.size == 0:
            return SpeechReading(voice=0.0, probabilities=None, reason=NOT_ENOUGH)
        fresh = fresh if 0 < fresh <= sound.size else sound.size
        measures = loudness_of(sound[-fresh:], rate)
        if level_dbfs(sound[-fresh:]) < self._settings.energy_floor_dbfs:
            return SpeechReading(voice=0.0, probabilities=None, reason=TOO_QUIET, measures=measures)
        hop_s = fresh / rate
        given = newest(sound, max(self._window_s, hop_s), rate)
        heard = resample(given, rate, self._rate, self._settings.resampler)
        voiced = self._voiced(heard)
        voice = float(np.mean(voiced[-max(1, round(hop_s / STEP_S)) :]))
        if voice > 0:
            measures = with_voice(measures, heard, self._rate, hop_s, voiced, STEP_S)
        reason = self._gate(voice, voiced, sound.size / rate)
        if reason is not None:
            return SpeechReading(voice=voice, probabilities=None, reason=reason, measures=measures)
        quality = sound_quality(heard, self._rate, given, rate)
        recognised, affect = self._recognise(heard, voiced)
        return SpeechReading(
            voice=voice,
            probabilities=recognised.probabilities,
            other=recognised.other,
            reason=None,
            measures=measures,
            affect=affect,
            quality=quality,
        )

    def _voiced(self, heard: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Detect voice: bool [steps], one per 32 ms; the last step ends where the sound ends."""
        if self._voice_activity is None:
            return loud_steps(heard, self._rate, self._settings.energy_floor_dbfs)
        return self._voice_activity.probabilities(heard, self._rate) >= self._settings.voice_threshold

    def _gate(self, voice: float, voiced: NDArray[np.bool_], seconds: float) -> str | None:
        """Return why the speech model should not run on this window, or None if it should."""
        if voice < self._settings.minimum_voice_share:
            return NO_VOICE
        voice_s = np.count_nonzero(voiced) * STEP_S
        enough = voice_s >= self._settings.minimum_voice_s and seconds >= max(STEP_S, self._minimum_window_s)
        return None if enough else NOT_ENOUGH

    def _recognise(
        self, heard: NDArray[np.float32], voiced: NDArray[np.bool_]
    ) -> tuple[Mapped, tuple[float, float, float] | None]:
        """Run the speech models on the end of the sound, from a lead-in before the first voice on.

        Several are joined for every emotion over the models that know it. Arousal, dominance and valence are those of
        the first model that has them.
        """
        since_voice_s = (voiced.size - int(np.argmax(voiced))) * STEP_S
        wanted_s = since_voice_s + self._settings.lead_in_s
        sounds = {self._rate: heard}
        opinions = []
        affect: tuple[float, float, float] | None = None
        for number, model in enumerate(self._models):
            if model.rate not in sounds:
                sounds[model.rate] = resample(heard, self._rate, model.rate, self._settings.resampler)
            found, said = model(sounds[model.rate], wanted_s)
            opinions.append(Opinion(str(number), found.probabilities, self._ensemble.weight(number), other=found.other))
            affect = affect or said
        rule = STRATEGIES[self._ensemble.rule]
        together = rule(opinions, self._emotions.emotions)
        return Mapped(together, pooled_other(opinions, rule, self._emotions)), affect


class _SpeechModel:
    """One speech model."""

    def __init__(self, artifact: Artifact, emotions: EmotionSet) -> None:
        self._artifact = artifact
        self._label_map = used_labels(artifact.metadata, artifact.path, emotions)
        self.rate = artifact.metadata.sample_rate or 16_000
        self.window_s = artifact.metadata.window_s or 3.0
        self.minimum_window_s = artifact.metadata.minimum_window_s or 0.0
        size = next(tensor.shape[1] for tensor in artifact.inputs if tensor.name == "waveform")
        self._only_size = size if isinstance(size, int) else None

    def __call__(self, heard: NDArray[np.float32], wanted_s: float) -> tuple[Mapped, tuple[float, float, float] | None]:
        """Probabilities by emotion of the last `wanted_s` of float32 [n] at the model's rate, as far as it takes them,
        and shares of further categories; arousal, dominance and valence, −1…1, where it has them.

        Raises ArtifactError if the probabilities are no numbers.
        """
        if self._only_size is not None:
            window = _fit(heard, self._only_size)
        else:
            window = newest(heard, min(max(wanted_s, self.minimum_window_s), self.window_s), self.rate)
        answer = self._artifact.run(waveform=window[None, :])
        probabilities, affect = answer["probabilities"], None
        check_finite(self._artifact, probabilities)
        if "arousal_dominance_valence" in answer and np.isfinite(answer["arousal_dominance_valence"]).all():
            # Models of the MSP-Podcast kind say 0…1.
            arousal, dominance, valence = (2 * np.clip(answer["arousal_dominance_valence"][0], 0, 1) - 1).tolist()
            affect = (arousal, dominance, valence)
        return self._label_map.split(probabilities)[0], affect


def _fit(sound: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Take the last `size` samples; pad a shorter sound with zeros at its end."""
    fitted = np.zeros(size, dtype=np.float32)
    taken = sound[-size:]
    fitted[: taken.size] = taken
    return fitted


# Resampling.


def resample(samples: NDArray[np.float32], rate: int, wanted_rate: int, quality: Quality) -> NDArray[np.float32]:
    """Resample float32 [n] at `rate` Hz to float32 [round(n · wanted_rate / rate)] at `wanted_rate` Hz, in one shot."""
    if rate == wanted_rate or samples.size == 0:
        return samples
    return cast("NDArray[np.float32]", soxr.resample(samples, rate, wanted_rate, quality=quality))


def newest(samples: NDArray[np.float32], seconds: float, rate: int) -> NDArray[np.float32]:
    """Take the last `seconds` of a window, or all of a shorter one."""
    return samples[max(0, samples.size - round(seconds * rate)) :]


# Voice per 32 ms step: by the voice-activity model, or by loudness. The model's step is Silero VAD's
# (https://github.com/snakers4/silero-vad): 512 new samples at 16 kHz behind the 64 before them, and a recurrent state.

STEP_S = 512 / 16_000
LOOKBACK_S = 64 / 16_000
SILENCE_DBFS = -120.0


def level_dbfs(samples: NDArray[np.float32]) -> float:
    """Root mean square level of float32 [n] in dBFS, without its DC offset; at least -120."""
    if samples.size == 0:
        return SILENCE_DBFS
    rms = float(np.std(samples, dtype=np.float64))
    return max(SILENCE_DBFS, 20.0 * math.log10(max(rms, 1e-9)))


def loud_steps(sound: NDArray[np.float32], rate: int, floor_dbfs: float) -> NDArray[np.bool_]:
    """Tell which steps of float32 [n] reach `floor_dbfs`: bool [steps], the last one ending where the sound ends."""
    step = max(1, round(STEP_S * rate))
    ends = range(max(1, sound.size), 0, -step)
    return np.array([level_dbfs(sound[max(0, end - step) : end]) >= floor_dbfs for end in ends][::-1], dtype=np.bool_)


class VoiceActivity:
    """A voice-activity artifact, run over a whole window from its zero state: workers keep none between windows.

    Raises ArtifactError if the size of the artifact's step is not the contract's.
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
        # Of one sound only, where the number of rows is free: these are steps one after another, in one run.
        self._all_at_once = sizes["state"][1] == 1 and not isinstance(sizes["waveform"][0], int)
        depth = sizes["state"][2]
        self._state_depth = depth if isinstance(depth, int) else 128

    def probabilities(self, sound: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
        """Voice probability float32 [steps] of float32 [n]; the last step ends where the sound ends.

        Samples before the sound's beginning count as silence.
        """
        sound = resample(sound, rate, self._rate, self._quality)
        count = max(1, math.ceil((sound.size - self._lookback) / self._step))
        padded = np.zeros(self._lookback + count * self._step, dtype=np.float32)
        taken = min(sound.size, padded.size)
        padded[padded.size - taken :] = sound[sound.size - taken :]
        state = np.zeros((2, 1, self._state_depth), dtype=np.float32)
        if self._all_at_once:
            steps = np.lib.stride_tricks.sliding_window_view(padded, self._lookback + self._step)[:: self._step]
            outputs = self._artifact.run(waveform=np.ascontiguousarray(steps), state=state)
            check_finite(self._artifact, outputs["probability"])
            return np.asarray(outputs["probability"][:, 0], np.float32)
        found = np.zeros(count, dtype=np.float32)
        for index in range(count):
            start = index * self._step
            step = padded[None, start : start + self._lookback + self._step]
            outputs = self._artifact.run(waveform=step, state=state)
            found[index] = outputs["probability"][0, 0]
            state = outputs["next_state"]
        check_finite(self._artifact, found)
        return found
