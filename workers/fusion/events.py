"""The events of the event bus. Numbers are rounded here, once, so that the JSON stays readable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import msgspec

from bimodal.broker.events import (
    Affect,
    Emotion,
    FaceMeasures,
    Hop,
    Latency,
    Probabilities,
    Speech,
    TrackedFace,
    Verdict,
    VoiceMeasures,
)
from bimodal.broker.messages import FaceResult, JobFailed, SpeechResult
from bimodal.models import affect
from bimodal.models.emotions import EMOTIONS
from bimodal.workers.fusion.combine import top, unit
from bimodal.workers.fusion.scene import FusedFace, FusionModels, SceneEmotion
from bimodal.workers.fusion.speech import JoinedSpeech

DECIMALS = 4


def emotion(
    outcome: FaceResult | SpeechResult | JobFailed,
    faces: tuple[FusedFace, ...],
    speech: JoinedSpeech,
    overall: SceneEmotion,
    fusion: FusionModels,
    *,
    min_confidence: float,
    now_ns: int,
    order: Sequence[str] = EMOTIONS,
    voices: SpeechEvents | None = None,
) -> Emotion:
    """Make the event of one frame, or of one hop where there is no picture.

    Args:
        outcome: result or failure of the job: sequence, time, latency.
        fusion: the dynamic model, named where a face has its probabilities, and the fusion model, named where a face
            and a voice were combined.
        min_confidence: a verdict with less confidence gets no label.
        now_ns: monotonic clock.
        order: the emotions of the set; the earlier of two that are equally probable is the label.
        voices: of this stream, so that frames share what they say of one hop.
    """
    models = {} if isinstance(outcome, JobFailed) else dict(outcome.models)
    if speech.result is not None:
        models |= speech.result.models
    if fusion.dynamic is not None and any(face.dynamic is not None for face in faces):
        models["face-dynamic"] = fusion.dynamic.identity
    joined = speech.probabilities is not None and any(face.weights["speech"] > 0 for face in faces)
    if fusion.learned is not None and joined:
        models["fusion"] = fusion.learned.identity
    scale = _scale(outcome)
    shown = tuple([_face(face, scale, order) for face in faces])
    # The verdict of a face says what the face says.
    speaking = next(
        (made for face, made in zip(faces, shown, strict=True) if face.fused is overall.probabilities), None
    )
    return Emotion(
        stream=outcome.stream,
        run=outcome.run,
        seq=outcome.seq,
        t=round(outcome.pts_ns / 1e9, 6),
        faces=shown,
        speech=(voices or SpeechEvents()).of(speech, order),
        emotion=_verdict(overall, min_confidence, order, speaking),
        latency_ms=_latency(outcome, now_ns),
        models=models,
        failed=outcome.because if isinstance(outcome, JobFailed) else None,
        size=None if isinstance(outcome, SpeechResult) else outcome.size,
        shot=0 if isinstance(outcome, SpeechResult) else outcome.shot,
    )


def hop(
    outcome: SpeechResult | JobFailed,
    heard: JoinedSpeech | None,
    channels: tuple[str, ...],
    *,
    now_ns: int,
    order: Sequence[str] = EMOTIONS,
) -> Hop:
    """Make the event of one hop of one voice; speech job k · voices + c is hop k of voice c.

    Args:
        heard: the speech of a hop that did not fail.
        order: as of `emotion`.
    """
    number, voice = divmod(outcome.seq, max(1, len(channels)))
    failed = outcome.because if isinstance(outcome, JobFailed) else None
    measured = outcome if isinstance(outcome, SpeechResult) else None
    label, confidence = top(heard.probabilities, order) if heard is not None and heard.probabilities else (None, None)
    return Hop(
        stream=outcome.stream,
        run=outcome.run,
        seq=number,
        t=round(outcome.pts_ns / 1e9, 6),
        channel=channels[voice] if channels else None,
        label=label,
        confidence=_round(confidence),
        probabilities=_rounded(heard.probabilities) if heard is not None and heard.probabilities else None,
        voice=_four(unit(outcome.voice)) if isinstance(outcome, SpeechResult) else None,
        because=heard.reason if heard is not None else f"speech failed: {failed}",
        latency_ms=_latency(outcome, now_ns),
        models={} if isinstance(outcome, JobFailed) else dict(outcome.models),
        failed=failed,
        measures=_sound(outcome.measures) if isinstance(outcome, SpeechResult) else None,
        **_affect(
            heard.probabilities if heard is not None else None,
            outcome if isinstance(outcome, SpeechResult) and outcome.probabilities is not None else None,
        ),
        snr_db=_round(measured.snr_db, 1) if measured else None,
        bandwidth_hz=_round(measured.bandwidth_hz, 0) if measured else None,
        clipped=_round(measured.clipped) if measured else None,
        doubts=heard.doubts if heard is not None else (),
        other=_other(heard.other) if heard is not None else msgspec.UNSET,
        dominance=_dominance(measured),
    )


def _scale(outcome: FaceResult | SpeechResult | JobFailed) -> tuple[float, float]:
    """Pixels of the picture as it is shown per pixel of the frame that was looked at, across and down.

    The one place where pixels of the frame become those that users see.
    """
    if not isinstance(outcome, FaceResult) or outcome.size is None or outcome.frame is None:
        return 1.0, 1.0
    return outcome.size[0] / max(1, outcome.frame[0]), outcome.size[1] / max(1, outcome.frame[1])


def _face(fused: FusedFace, scale: tuple[float, float], order: Sequence[str]) -> TrackedFace:
    face, (across, down) = fused.face, scale
    x, y, width, height = face.box
    label, confidence = top(fused.fused, order)
    static = _rounded(fused.static)
    return TrackedFace(
        track=fused.track,
        box=(round(x * across), round(y * down), round(width * across), round(height * down)),
        score=_four(unit(face.score)),
        presence=_four(unit(face.presence)),
        static=static,
        dynamic=_rounded(fused.dynamic) if fused.dynamic is not None else None,
        # Equal without a dynamic model.
        video=static if fused.video == fused.static else _rounded(fused.video),
        fused=_rounded(fused.fused),
        label=label,
        confidence=_four(confidence),
        weights=_rounded(fused.weights),
        face=_measures(fused, scale),
        sharpness=_four(unit(face.sharpness)),
        light=_round(face.light),
        eyes_seen=_round(face.eyes_seen),
        mouth_seen=_round(face.mouth_seen),
        doubts=fused.doubts,
        other=_other(fused.other),
        video_other=_other(fused.video_other),
    )


def _measures(fused: FusedFace, scale: tuple[float, float]) -> FaceMeasures:
    """What the face does: the worker's measures in pixels of the picture as it is shown, blinks, and its affect."""
    found = fused.face.measures or FaceMeasures()
    distance = found.eye_distance
    return FaceMeasures(
        eye_distance=None if distance is None else round(distance * (scale[0] + scale[1]) / 2, 2),
        yaw_deg=_round(found.yaw_deg, 2),
        pitch_deg=_round(found.pitch_deg, 2),
        roll_deg=_round(found.roll_deg, 2),
        gaze_yaw_deg=_round(found.gaze_yaw_deg, 2),
        gaze_pitch_deg=_round(found.gaze_pitch_deg, 2),
        eye_left_open=_round(found.eye_left_open),
        eye_right_open=_round(found.eye_right_open),
        mouth_open=_round(found.mouth_open),
        eyes_closed=fused.eyes.closed,
        blink_ms=_round(fused.eyes.blink_ms, 1),
        **_affect(fused.fused, found),
        blend=None if found.blend is None else _rounded(found.blend),
        units=None if found.units is None else _rounded(found.units),
    )


def _round(value: float | None, decimals: int = DECIMALS) -> float | None:
    if value is None:
        return None
    return _four(value) if decimals == DECIMALS else round(value, decimals)


class SpeechEvents:
    """The speech of a stream's events. Many frames share a hop: all but its age is made once for them."""

    def __init__(self) -> None:
        self._of: JoinedSpeech | None = None
        self._made: Speech | None = None

    def of(self, speech: JoinedSpeech, order: Sequence[str]) -> Speech | None:
        """The speech of one moment, None where there is none; `order` as of `emotion`."""
        if speech.result is None:
            return None
        age_ms = round(speech.age_ns / 1e6, 3)
        if self._made is not None and self._of is not None and _as_before(speech, self._of):
            return msgspec.structs.replace(self._made, age_ms=age_ms)
        self._of, self._made = speech, _speech(speech, speech.result, age_ms, order)
        return self._made


def _as_before(speech: JoinedSpeech, before: JoinedSpeech) -> bool:
    """True where two moments hear the same of one hop."""
    return (
        speech.result is before.result
        and speech.probabilities is before.probabilities
        and speech.other is before.other
        and speech.reason == before.reason
        and speech.doubts == before.doubts
    )


def _speech(speech: JoinedSpeech, result: SpeechResult, age_ms: float, order: Sequence[str]) -> Speech:
    label = top(speech.probabilities, order)[0] if speech.probabilities is not None else None
    return Speech(
        label=label,
        probabilities=_rounded(speech.probabilities) if speech.probabilities is not None else None,
        voice=_four(unit(result.voice)),
        age_ms=age_ms,
        because=speech.reason,
        measures=_sound(result.measures),
        snr_db=_round(result.snr_db, 1),
        bandwidth_hz=_round(result.bandwidth_hz, 0),
        clipped=_round(result.clipped),
        doubts=speech.doubts,
        other=_other(speech.other),
        dominance=_dominance(result),
    )


def _sound(found: VoiceMeasures | None) -> VoiceMeasures | None:
    """How a hop sounds, rounded."""
    if found is None:
        return None
    return VoiceMeasures(**{name: _round(getattr(found, name), 2) for name in found.__struct_fields__})


def _verdict(
    overall: SceneEmotion, min_confidence: float, order: Sequence[str], speaking: TrackedFace | None
) -> Verdict:
    """The event's verdict; `speaking` is the face that it is about, where there is one."""
    if overall.probabilities is None:
        return Verdict(label=None, confidence=None, because=overall.reason)
    if speaking is not None:
        label, confidence, probabilities = speaking.label, speaking.confidence, speaking.fused
    else:
        label, confidence = top(overall.probabilities, order)
        confidence, probabilities = _four(confidence), _rounded(overall.probabilities)
    unsure = f"confidence {confidence:g} is below {min_confidence:g}" if confidence < min_confidence else None
    unsure = overall.reason or unsure
    return Verdict(
        label=label if unsure is None else None,
        confidence=confidence,
        agreement=_round(overall.agreement),
        because=unsure,
        probabilities=probabilities,
        **_verdict_affect(overall.probabilities, speaking),
        other=_other(overall.other),
    )


def _other(shares: Mapping[str, float]) -> Probabilities | msgspec.UnsetType:
    """Shares of further categories, rounded; no key where there are none."""
    return (_rounded(shares) if shares else None) or msgspec.UNSET


def _dominance(result: SpeechResult | None) -> float | msgspec.UnsetType:
    """Dominance as the speech model has said it; no key where it has none."""
    if result is None or result.dominance is None or result.probabilities is None:
        return msgspec.UNSET
    return _four(result.dominance)


class _AffectFields(TypedDict):
    valence: float | None
    arousal: float | None
    affect: Affect | None


def _affect(probabilities: Probabilities | None, said: FaceMeasures | SpeechResult | None = None) -> _AffectFields:
    """Valence and arousal as a model has said them, else derived from probabilities."""
    if said is not None and said.valence is not None and said.arousal is not None:
        return {"valence": _round(said.valence), "arousal": _round(said.arousal), "affect": "model"}
    place = affect.derived(probabilities) if probabilities else None
    if place is None:
        return {"valence": None, "arousal": None, "affect": None}
    return {"valence": _four(place.valence), "arousal": _four(place.arousal), "affect": "derived"}


def _verdict_affect(probabilities: Probabilities, speaking: TrackedFace | None) -> _AffectFields:
    """Valence and arousal derived from the verdict's probabilities: for its face that has been done."""
    told = speaking.face if speaking is not None else None
    if told is not None and told.affect == "derived":
        return {"valence": told.valence, "arousal": told.arousal, "affect": "derived"}
    return _affect(probabilities)


def _latency(outcome: FaceResult | SpeechResult | JobFailed, now_ns: int) -> Latency:
    queue, inference, waited = (
        (0, 0, 0) if isinstance(outcome, JobFailed) else (outcome.queue_ns, outcome.inference_ns, outcome.waited_ns)
    )
    return Latency(queue=_ms(queue), inference=_ms(inference), total=_ms(now_ns - outcome.grab_ns), waited=_ms(waited))


def _ms(ns: int) -> float:
    return round(ns / 1e6, 3)


# The builtin `round` writes a number out and reads it again. For a share, a whole number of ten-thousandths is as good,
# unless it lies so close to the middle of two that only its digits tell.
TENTHOUSAND = 10_000.0
CLEARLY = 0.499999


def _four(value: float) -> float:
    """Round to DECIMALS, to the same bits as the builtin, at half of its price where 0 < value ≤ 1."""
    if 0.0 < value <= 1.0:
        scaled = value * TENTHOUSAND
        nearest = int(scaled + 0.5)
        if -CLEARLY < scaled - nearest < CLEARLY:
            return nearest / TENTHOUSAND
    return round(value, DECIMALS)


def _rounded(probabilities: Mapping[str, float]) -> Probabilities:
    """`_four` of each, inline: an event has some fifty of them."""
    found: Probabilities = {}
    for emotion, value in probabilities.items():
        if 0.0 < value <= 1.0:
            scaled = value * TENTHOUSAND
            nearest = int(scaled + 0.5)
            if -CLEARLY < scaled - nearest < CLEARLY:
                found[emotion] = nearest / TENTHOUSAND
                continue
        found[emotion] = round(value, DECIMALS)
    return found
