"""Emotion of one moment: of each face with its history, of the voice, and of both together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bimodal.broker.events import Probabilities
from bimodal.broker.messages import Face
from bimodal.models.doubt import face_doubts, flattened, other_flattened
from bimodal.models.emotions import SEVEN, EmotionSet, Mapped
from bimodal.workers.fusion import combine
from bimodal.workers.fusion.blinks import BlinkFinder, EyesState
from bimodal.workers.fusion.combine import (
    LearnedFusion,
    Opinion,
    agreement,
    average,
    clean,
    clean_other,
    normalised,
    pooled_other,
    shares,
    strategy_of,
)
from bimodal.workers.fusion.dynamic import DynamicModel, DynamicTrack, decode_embedding
from bimodal.workers.fusion.settings import FusionSettings
from bimodal.workers.fusion.speech import JoinedSpeech, SeenMouth, SpeakerFinder
from bimodal.workers.fusion.tracks import FaceTracker, Observation

# Exponential smoothing with a time constant in seconds, independent of the frame rate.


class Smoother:
    """Smooths probabilities over time: the exact solution of τ·y' = x − y, with x linear between samples.

    With h = dt / τ and g = (1 − e⁻ʰ) / h:  y₁ = e⁻ʰ·y₀ + (g − e⁻ʰ)·x₀ + (1 − g)·x₁. All three factors are ≥ 0 and
    sum to 1, so probabilities stay probabilities. As the solution is exact, more samples of the same signal
    change nothing; a plain exponential average (y += (1 − e⁻ʰ)·(x − y)) runs half a frame ahead at low rates.
    """

    def __init__(self, time_constant_s: float) -> None:
        """`time_constant_s`: τ; 0 switches smoothing off."""
        self._time_constant_ns = time_constant_s * 1e9
        self._pts_ns = 0
        self._input: Probabilities | None = None
        self._value: Probabilities | None = None

    def reconfigure(self, time_constant_s: float) -> None:
        """Go on with another time constant, from the present value."""
        self._time_constant_ns = time_constant_s * 1e9

    def update(self, pts_ns: int, probabilities: Probabilities, over_s: float | None = None) -> Probabilities:
        """The smoothed value at `pts_ns`, over exactly the classes of `probabilities`.

        A new class starts at its own value; the mass of a missing one goes to the others. Without progress of time the
        value stays as it is. `over_s` is the time constant of this step, where it is not the usual one.
        """
        before, last = self._value, self._input
        constant_ns = self._time_constant_ns if over_s is None else over_s * 1e9
        if before is None or last is None or constant_ns <= 0:
            value = probabilities
        else:
            h = max(0, pts_ns - self._pts_ns) / constant_ns
            kept, previous, newest = _factors(h)
            before, last = _over(probabilities, before), _over(probabilities, last)
            masses = [
                kept * before[emotion] + previous * last[emotion] + newest * probability
                for emotion, probability in probabilities.items()
            ]
            total = math.fsum(masses)
            value = {emotion: mass / total for emotion, mass in zip(probabilities, masses, strict=True)}
        self._value, self._input, self._pts_ns = value, probabilities, pts_ns
        return value


def _factors(h: float) -> tuple[float, float, float]:
    """Factors of the previous value, the previous sample and the newest sample after h time constants."""
    if h <= 0:
        return 1.0, 0.0, 0.0
    kept = math.exp(-h)
    mean = -math.expm1(-h) / h
    return kept, max(0.0, mean - kept), max(0.0, 1.0 - mean)


def _over(wanted: Probabilities, held: Probabilities) -> Probabilities:
    """`held` over the classes of `wanted`; missing classes take their values from `wanted`."""
    if held.keys() == wanted.keys():
        return held
    masses = {emotion: held.get(emotion, probability) for emotion, probability in wanted.items()}
    return normalised(masses) if math.fsum(masses.values()) > 0 else wanted


class OtherSmoother:
    """The same for the shares of further categories, each for itself."""

    def __init__(self, time_constant_s: float) -> None:
        self._time_constant_s = time_constant_s
        self._held: dict[str, Smoother] = {}

    def reconfigure(self, time_constant_s: float) -> None:
        """Go on with another time constant."""
        self._time_constant_s = time_constant_s
        for smoother in self._held.values():
            smoother.reconfigure(time_constant_s)

    def update(self, pts_ns: int, other: Mapping[str, float], over_s: float | None = None) -> Probabilities:
        """The smoothed shares at `pts_ns`, of exactly the categories of `other`. Arguments as of Smoother."""
        if not other:
            self._held = {}
            return {}
        self._held = {name: self._held.get(name) or Smoother(self._time_constant_s) for name in other}
        return {
            name: self._held[name].update(pts_ns, {name: share, "": 1.0 - share}, over_s)[name]
            for name, share in other.items()
        }


class FusedFace(NamedTuple):
    """One face of a frame.

    `video` is flattened where the face can be made out badly; `fused` is smoothed; `weights` of video and speech sum to
    1; `eyes`: closed, or a blink; `doubts` are in words; `other`: shares of the further categories that count, of face
    and voice together, smoothed; `video_other`: those of the face alone.
    """

    track: int
    face: Face
    static: Probabilities
    dynamic: Probabilities | None
    video: Probabilities
    fused: Probabilities
    weights: dict[str, float]
    eyes: EyesState = EyesState()
    doubts: tuple[str, ...] = ()
    other: Mapping[str, float] = MappingProxyType({})
    video_other: Mapping[str, float] = MappingProxyType({})


class SceneEmotion(NamedTuple):
    """Emotion of a moment; `probabilities` None where nothing is usable, `reason` says why there is no label; `other`:
    shares of the further categories that count."""

    probabilities: Probabilities | None
    agreement: float | None = None
    reason: str | None = None
    other: Mapping[str, float] = MappingProxyType({})


class FusionModels(NamedTuple):
    """The opened models of fusion; None where there is none."""

    dynamic: DynamicModel | None = None
    learned: LearnedFusion | None = None


NO_MODELS = FusionModels()

BEFORE_S = 0.5
"""Time constant, in seconds, of what a face showed before it began to talk."""

UNLIKE = "unlike what the model learnt"


class _Readable(NamedTuple):
    """A face with finite numbers."""

    face: Face
    static: Probabilities
    other: Probabilities
    embedding: NDArray[np.float32] | None


@dataclass
class _TrackState:
    """State of a track: `evidence` gathers what a face shows while it talks; the same for further categories."""

    smoother: Smoother
    evidence: Smoother
    other: OtherSmoother
    other_evidence: OtherSmoother
    dynamic: DynamicTrack | None
    blinks: BlinkFinder


class Scene:
    """State of fusion for one stream and run; moments are given in order. `emotions` are what it is about."""

    def __init__(
        self, settings: FusionSettings, models: FusionModels = NO_MODELS, emotions: EmotionSet = SEVEN
    ) -> None:
        self._settings = settings
        self._emotions = emotions
        self._model = models.dynamic
        self._strategy = strategy_of(settings, models.learned)
        self._tracker = FaceTracker(settings.track_memory_s, settings.track_memory_frames)
        self._speakers = SpeakerFinder(settings.speaker_window_s)
        self._track_states: dict[int, _TrackState] = {}
        self._voice = Smoother(settings.smoothing_s)
        self._voice_other = OtherSmoother(settings.smoothing_s)
        self._smoothed_voice: Mapped | None = None
        self._static_model: str | None = None

    def reconfigure(self, settings: FusionSettings, models: FusionModels = NO_MODELS) -> None:
        """Go on with other settings and models; tracks, voices and smoothed values stay.

        Another dynamic model starts with an empty window: it can't use the embeddings of the one before.
        """
        self._settings, self._strategy = settings, strategy_of(settings, models.learned)
        self._tracker.reconfigure(settings.track_memory_s, settings.track_memory_frames)
        self._speakers.reconfigure(settings.speaker_window_s)
        self._voice.reconfigure(settings.smoothing_s)
        self._voice_other.reconfigure(settings.smoothing_s)
        another, self._model = models.dynamic is not self._model, models.dynamic
        for state in self._track_states.values():
            state.smoother.reconfigure(settings.smoothing_s)
            state.evidence.reconfigure(settings.talking_s)
            state.other.reconfigure(settings.smoothing_s)
            state.other_evidence.reconfigure(settings.talking_s)
            if another:
                state.dynamic = self._dynamic_track()

    def on_speech(self, pts_ns: int, speech: JoinedSpeech) -> None:
        """Take the speech of this moment; before `on_frame` or `voice_only`, and also for a frame that failed."""
        self._speakers.on_speech(pts_ns, speech.passed)
        usable = speech.probabilities
        self._smoothed_voice = None
        if usable is not None:
            smoothed = self._voice.update(pts_ns, usable)
            self._smoothed_voice = Mapped(smoothed, self._voice_other.update(pts_ns, speech.other))

    def voice_only(self, speech: JoinedSpeech, no_face: str) -> SceneEmotion:
        """Emotion of the voice alone; `no_face` says why there is no face."""
        if self._smoothed_voice is None:
            return SceneEmotion(None, reason=f"{no_face}, {speech.reason}")
        return SceneEmotion(self._smoothed_voice.probabilities, other=self._smoothed_voice.other)

    def on_frame(
        self, pts_ns: int, faces: tuple[Face, ...], speech: JoinedSpeech, models: Mapping[str, str], shot: int = 0
    ) -> tuple[tuple[FusedFace, ...], SceneEmotion]:
        """Fuse a frame: its faces, in the order of their tracks, and the emotion as a whole.

        `models` names the models of the faces: embeddings of different static models are not comparable, and those the
        dynamic model was not trained for are ignored. Another `shot` than that of the frame before ends all tracks.
        """
        readable = [one for face in faces if (one := _decode(face, self._emotions)) is not None]
        static = models.get("face-static")
        if self._model is not None and not self._model.reads(static):
            readable = [face._replace(embedding=None) for face in readable]
        else:
            self._note_static_model(static)
        numbers = self._tracker.update(pts_ns, [_observation(each) for each in readable], shot)
        mouths = [
            SeenMouth(number, each.face.mouth, each.face.box[2] * each.face.box[3])
            for number, each in zip(numbers, readable, strict=True)
        ]
        self._forget()
        speaker = self._speakers.on_frame(pts_ns, mouths)
        seen = sorted(zip(numbers, readable, strict=True), key=lambda pair: pair[0])
        fused = tuple(self._fuse(pts_ns, number, each, speech if number == speaker else None) for number, each in seen)
        speaking = next((face for face in fused if face.track == speaker), None)
        if speaking is None:
            return fused, self.voice_only(speech, "face not readable" if faces else "no face")
        shared = None
        if speech.probabilities is not None:
            shared = agreement(speaking.video, speech.probabilities, self._emotions.emotions)
        return fused, SceneEmotion(speaking.fused, shared, self._unlike(speaking), speaking.other)

    def _unlike(self, seen: FusedFace) -> str | None:
        """Why a face gets no label: it is unlike what its model learnt, and no voice says more."""
        novelty = seen.face.novelty
        far = novelty is not None and novelty >= self._settings.max_novelty
        return UNLIKE if far and seen.weights["speech"] <= 0 else None

    def _fuse(self, pts_ns: int, number: int, each: _Readable, speech: JoinedSpeech | None) -> FusedFace:
        """Fuse one face; `speech` where it is the speaker, else None."""
        state = self._track_state(number)
        dynamic = state.dynamic.observe(pts_ns, each.embedding) if state.dynamic is not None else None
        opinions = [Opinion("static", each.static, self._settings.static_weight, other=each.other)]
        if dynamic is not None:
            weight = self._settings.dynamic_weight
            opinions.append(Opinion("dynamic", dynamic.probabilities, weight, other=dynamic.other))
        face = each.face
        doubts = face_doubts(face.box, face.sharpness, face.light, face.eyes_seen, face.mouth_seen)
        talks = self._speakers.talks(number)
        shown = average(opinions, self._emotions.emotions)
        video = self._gathered(state, pts_ns, flattened(shown, doubts.temperature), talks)
        further: Probabilities = {}
        if self._emotions.categories:
            further = pooled_other(opinions, average, self._emotions)
            further = self._gathered_other(state, pts_ns, other_flattened(shown, further, doubts.temperature), talks)
        worth = {
            "video": combine.of_face(
                face.score, face.sharpness, face.presence, face.novelty, self._settings.max_novelty
            )
            * doubts.reliability
        }
        voice = speech.probabilities if speech is not None else None
        if speech is not None and voice is not None:
            worth["speech"] = speech.reliability
        by_worth = self._settings.strategy == "worth"
        counted = {name: combine.softened(value) for name, value in worth.items()} if by_worth else worth
        weights = {"video": 0.0, "speech": 0.0} | shares(self._weights, counted)
        modalities = [Opinion("video", video, weights["video"], worth["video"], further)]
        if speech is not None and voice is not None:
            modalities.append(Opinion("speech", voice, weights["speech"], worth.get("speech", 0.0), speech.other))
        fused = state.smoother.update(pts_ns, self._strategy(modalities, self._emotions.emotions))
        other: Probabilities = {}
        if self._emotions.categories:
            other = state.other.update(pts_ns, pooled_other(modalities, self._strategy, self._emotions))
        eyes = _eyes(state, pts_ns, face)
        told = dynamic.probabilities if dynamic is not None else None
        return FusedFace(number, face, each.static, told, video, fused, weights, eyes, doubts.reasons, other, further)

    def _gathered(self, state: _TrackState, pts_ns: int, seen: Probabilities, talks: bool) -> Probabilities:
        """What a face shows: over `talking_s` while it talks, beginning with the half second before, else now."""
        if self._settings.talking_s <= 0:
            return seen
        gathered = state.evidence.update(pts_ns, seen, None if talks else min(BEFORE_S, self._settings.talking_s))
        return gathered if talks else seen

    def _gathered_other(self, state: _TrackState, pts_ns: int, other: Probabilities, talks: bool) -> Probabilities:
        """The same for the shares of further categories."""
        if self._settings.talking_s <= 0 or not other:
            return other
        over_s = None if talks else min(BEFORE_S, self._settings.talking_s)
        gathered = state.other_evidence.update(pts_ns, other, over_s)
        return gathered if talks else other

    @property
    def _weights(self) -> dict[str, float]:
        return {"video": self._settings.video_weight, "speech": self._settings.speech_weight}

    def _track_state(self, number: int) -> _TrackState:
        if number not in self._track_states:
            self._track_states[number] = _TrackState(
                Smoother(self._settings.smoothing_s),
                Smoother(self._settings.talking_s),
                OtherSmoother(self._settings.smoothing_s),
                OtherSmoother(self._settings.talking_s),
                self._dynamic_track(),
                BlinkFinder(),
            )
        return self._track_states[number]

    def _dynamic_track(self) -> DynamicTrack | None:
        return DynamicTrack(self._model) if self._model is not None else None

    def _note_static_model(self, identity: str | None) -> None:
        """Reset the dynamic windows when the static model changes: its embeddings are not comparable."""
        if identity != self._static_model:
            for state in self._track_states.values():
                state.dynamic = self._dynamic_track()
        self._static_model = identity

    def _forget(self) -> None:
        alive = self._tracker.alive
        self._track_states = {number: state for number, state in self._track_states.items() if number in alive}
        self._speakers.forget(alive)


def _eyes(state: _TrackState, pts_ns: int, face: Face) -> EyesState:
    left = face.measures.eye_left_open if face.measures is not None else None
    right = face.measures.eye_right_open if face.measures is not None else None
    return state.blinks.update(pts_ns, None if left is None or right is None else (left + right) / 2)


def _observation(each: _Readable) -> Observation:
    return Observation(each.face.box, each.embedding, decode_embedding(each.face.identity))


def _decode(face: Face, emotions: EmotionSet) -> _Readable | None:
    """Decode a face; None without usable probabilities or extent."""
    static = clean(face.probabilities, emotions.emotions)
    if static is None or not all(map(math.isfinite, face.box)) or min(face.box[2:]) <= 0:
        return None
    return _Readable(face, static, clean_other(face.other, emotions.categories), decode_embedding(face.embedding))
