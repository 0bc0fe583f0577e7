"""What one moment means: the faces with their history, the voice, and both together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bimodal.broker.events import Probabilities
from bimodal.broker.messages import Face
from bimodal.workers.fusion import combine
from bimodal.workers.fusion.combine import (
    LearnedFusion,
    Opinion,
    agreement,
    average,
    clean,
    normalised,
    shares,
    strategy_of,
)
from bimodal.workers.fusion.dynamic import DynamicModel, DynamicTrack, decode_embedding
from bimodal.workers.fusion.settings import FusionSettings
from bimodal.workers.fusion.speech import JoinedSpeech, SeenMouth, SpeakerFinder
from bimodal.workers.fusion.tracks import FaceTracker, Observation

# Exponential smoothing by a time constant in seconds, whatever the frame rate.


class Smoother:
    """Follows probabilities over time: the exact answer of τ·y' = x − y, where x runs straight between samples.

    With h = dt / τ and g = (1 − e⁻ʰ) / h:  y₁ = e⁻ʰ·y₀ + (g − e⁻ʰ)·x₀ + (1 − g)·x₁. All three factors are ≥ 0 and
    sum to 1, so probabilities stay probabilities. Because the answer is exact, more samples of the same signal
    change nothing; a plain exponential average (y += (1 − e⁻ʰ)·(x − y)) runs half a frame ahead at low rates.
    """

    def __init__(self, time_constant_s: float) -> None:
        """`time_constant_s`: τ; 0 switches smoothing off."""
        self._time_constant_ns = time_constant_s * 1e9
        self._pts_ns = 0
        self._input: Probabilities | None = None
        self._value: Probabilities | None = None

    def reconfigure(self, time_constant_s: float) -> None:
        """Go on with another time constant, from the value that is held."""
        self._time_constant_ns = time_constant_s * 1e9

    def update(self, pts_ns: int, probabilities: Probabilities) -> Probabilities:
        """The smoothed value at `pts_ns`, over exactly the classes of `probabilities`.

        A class that appears starts at its own value; one that disappears gives its mass to the others. Time that
        stands still or runs backwards leaves the value as it is.
        """
        before, last = self._value, self._input
        if before is None or last is None or self._time_constant_ns <= 0:
            value = probabilities
        else:
            h = max(0, pts_ns - self._pts_ns) / self._time_constant_ns
            kept, previous, newest = _factors(h)
            before, last = _over(probabilities, before), _over(probabilities, last)
            value = normalised(
                {
                    emotion: kept * before[emotion] + previous * last[emotion] + newest * probability
                    for emotion, probability in probabilities.items()
                }
            )
        self._value, self._input, self._pts_ns = value, probabilities, pts_ns
        return value


def _factors(h: float) -> tuple[float, float, float]:
    """What the value before, the sample before and the newest sample count after h time constants."""
    if h <= 0:
        return 1.0, 0.0, 0.0
    kept = math.exp(-h)
    mean = -math.expm1(-h) / h
    return kept, max(0.0, mean - kept), max(0.0, 1.0 - mean)


def _over(wanted: Probabilities, held: Probabilities) -> Probabilities:
    """`held` over the classes of `wanted`; the classes that it lacks start as `wanted` has them."""
    if held.keys() == wanted.keys():
        return held
    masses = {emotion: held.get(emotion, probability) for emotion, probability in wanted.items()}
    return normalised(masses) if math.fsum(masses.values()) > 0 else wanted


class FusedFace(NamedTuple):
    """One face of a moment. `fused` is smoothed; `weights` of video and speech sum to 1."""

    track: int
    face: Face
    static: Probabilities
    dynamic: Probabilities | None
    video: Probabilities
    fused: Probabilities
    weights: dict[str, float]


class Meaning(NamedTuple):
    """What a moment means as a whole: `probabilities` None where nothing is usable, and `because` says why."""

    probabilities: Probabilities | None
    agreement: float | None = None
    because: str | None = None


class FusionModels(NamedTuple):
    """The models of fusion, opened; None where there is none."""

    dynamic: DynamicModel | None = None
    learned: LearnedFusion | None = None


NO_MODELS = FusionModels()


class _Readable(NamedTuple):
    """A face whose numbers are numbers."""

    face: Face
    static: Probabilities
    embedding: NDArray[np.float32] | None


@dataclass
class _Person:
    """What is remembered of a track."""

    smoother: Smoother
    dynamic: DynamicTrack | None


class Scene:
    """Everything that fusion remembers of one stream and run, moment after moment in their order."""

    def __init__(self, settings: FusionSettings, models: FusionModels = NO_MODELS) -> None:
        self._settings = settings
        self._model = models.dynamic
        self._strategy = strategy_of(settings, models.learned)
        self._tracker = FaceTracker(settings.track_memory_s)
        self._speakers = SpeakerFinder(settings.speaker_window_s)
        self._people: dict[int, _Person] = {}
        self._voice = Smoother(settings.smoothing_s)
        self._heard: Probabilities | None = None
        self._static_model: str | None = None

    def reconfigure(self, settings: FusionSettings, models: FusionModels = NO_MODELS) -> None:
        """Go on with other settings and models; tracks, voices and smoothed values stay.

        Another dynamic model starts with an empty window: it can't use what the one before has seen.
        """
        self._settings, self._strategy = settings, strategy_of(settings, models.learned)
        self._tracker.reconfigure(settings.track_memory_s)
        self._speakers.reconfigure(settings.speaker_window_s)
        self._voice.reconfigure(settings.smoothing_s)
        another, self._model = models.dynamic is not self._model, models.dynamic
        for person in self._people.values():
            person.smoother.reconfigure(settings.smoothing_s)
            if another:
                person.dynamic = self._dynamic_track()

    def hear(self, pts_ns: int, speech: JoinedSpeech) -> None:
        """The speech of this moment; before `look` or `listen`, and for a moment that could not be looked at too."""
        self._speakers.hear(pts_ns, speech.passed)
        usable = speech.probabilities
        self._heard = self._voice.update(pts_ns, usable) if usable is not None else None

    def listen(self, speech: JoinedSpeech, no_face: str) -> Meaning:
        """What the voice alone means; `no_face` says why there is no face."""
        if self._heard is None:
            return Meaning(None, because=f"{no_face}, {speech.because}")
        return Meaning(self._heard)

    def look(
        self, pts_ns: int, faces: tuple[Face, ...], speech: JoinedSpeech, models: Mapping[str, str]
    ) -> tuple[tuple[FusedFace, ...], Meaning]:
        """The faces of a frame, in the order of their tracks, and what the frame means.

        `models` names the models behind the faces: embeddings of another static model are not comparable, and those
        of one that the dynamic model was not trained for are passed over.
        """
        readable = [face for face in map(_read, faces) if face is not None]
        static = models.get("face-static")
        if self._model is not None and not self._model.reads(static):
            readable = [face._replace(embedding=None) for face in readable]
        else:
            self._static_model_is(static)
        numbers = self._tracker.update(pts_ns, [Observation(each.face.box, each.embedding) for each in readable])
        mouths = [
            SeenMouth(number, each.face.mouth, each.face.box[2] * each.face.box[3])
            for number, each in zip(numbers, readable, strict=True)
        ]
        self._forget()
        speaker = self._speakers.see(pts_ns, mouths)
        seen = sorted(zip(numbers, readable, strict=True), key=lambda pair: pair[0])
        fused = tuple(self._fuse(pts_ns, number, each, speech if number == speaker else None) for number, each in seen)
        spoken = next((face for face in fused if face.track == speaker), None)
        if spoken is None:
            return fused, self.listen(speech, "face not readable" if faces else "no face")
        shared = agreement(spoken.video, speech.probabilities) if speech.probabilities is not None else None
        return fused, Meaning(spoken.fused, shared)

    def _fuse(self, pts_ns: int, number: int, each: _Readable, speech: JoinedSpeech | None) -> FusedFace:
        """One face; `speech` where the voice is its own."""
        person = self._person(number)
        dynamic = person.dynamic.observe(pts_ns, each.embedding) if person.dynamic is not None else None
        opinions = [Opinion("static", each.static, self._settings.static_weight)]
        if dynamic is not None:
            opinions.append(Opinion("dynamic", dynamic, self._settings.dynamic_weight))
        video = average(opinions)
        worth = {"video": combine.of_face(each.face.score, each.face.sharpness)}
        voice = speech.probabilities if speech is not None else None
        if speech is not None and voice is not None:
            worth["speech"] = speech.reliability
        weights = {"video": 0.0, "speech": 0.0} | shares(self._weights, worth)
        modalities = [Opinion("video", video, weights["video"], worth["video"])]
        if voice is not None:
            modalities.append(Opinion("speech", voice, weights["speech"], worth.get("speech", 0.0)))
        fused = person.smoother.update(pts_ns, self._strategy(modalities))
        return FusedFace(number, each.face, each.static, dynamic, video, fused, weights)

    @property
    def _weights(self) -> dict[str, float]:
        return {"video": self._settings.video_weight, "speech": self._settings.speech_weight}

    def _person(self, number: int) -> _Person:
        if number not in self._people:
            self._people[number] = _Person(Smoother(self._settings.smoothing_s), self._dynamic_track())
        return self._people[number]

    def _dynamic_track(self) -> DynamicTrack | None:
        return DynamicTrack(self._model) if self._model is not None else None

    def _static_model_is(self, identity: str | None) -> None:
        """With another static model, what the dynamic one has seen is worth nothing any more."""
        if identity != self._static_model:
            for person in self._people.values():
                person.dynamic = self._dynamic_track()
        self._static_model = identity

    def _forget(self) -> None:
        alive = self._tracker.alive
        self._people = {number: person for number, person in self._people.items() if number in alive}
        self._speakers.forget(alive)


def _read(face: Face) -> _Readable | None:
    """None for a face without usable probabilities or without extent."""
    static = clean(face.probabilities)
    if static is None or not all(map(math.isfinite, face.box)) or min(face.box[2:]) <= 0:
        return None
    return _Readable(face, static, decode_embedding(face.embedding))
