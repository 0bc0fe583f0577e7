"""The event that users see, and how to read it: leading face, probabilities, agreement of face and voice.

Pure. Page, films, reports and users' programs all read events through these functions.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

Probabilities: TypeAlias = dict[str, float]
# A counter; one more than the largest still fits a message.
Whole: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class Message(msgspec.Struct, frozen=True, tag_field="type", kw_only=True):
    """Base of all bodies."""


class TrackedFace(msgspec.Struct, frozen=True, kw_only=True):
    """One tracked face; docs/protocol.md explains every field."""

    track: int
    box: tuple[int, int, int, int]
    score: float
    static: Probabilities
    dynamic: Probabilities | None
    video: Probabilities
    fused: Probabilities
    label: str
    confidence: float
    weights: dict[str, float]


class Speech(msgspec.Struct, frozen=True, kw_only=True):
    """The speech window joined to a frame. Gated: label and probabilities are None and `because` says why."""

    label: str | None
    probabilities: Probabilities | None
    voice: float
    age_ms: float
    because: str | None = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Emotion of face and voice together. Unknown: `label` is None and `because` says why.

    `agreement` of face and voice is 0…1, None where one of them is missing. `confidence` is the largest of
    `probabilities`; both are None where no modality was usable, and both are set where the label is missing only
    because the confidence is too low. (`probabilities` is None too in events that older versions recorded.)
    """

    label: str | None
    confidence: float | None
    agreement: float | None = None
    because: str | None = None
    probabilities: Probabilities | None = None


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds: grab until a worker has the frame, in the worker, and grab until the event. `waited` is the part of
    `queue` spent at the broker because no worker was free."""

    queue: float
    inference: float
    total: float
    waited: float = 0.0


class Emotion(Message, frozen=True, tag="emotion"):
    """Fusion → everyone, one per video frame (per hop, for a stream without picture). `t` is in seconds.

    `failed` says why a frame could not be analysed (its place is kept); None for every frame that was.
    """

    stream: str
    seq: Whole
    t: float
    faces: tuple[TrackedFace, ...]
    speech: Speech | None
    emotion: Verdict
    latency_ms: Latency
    models: dict[str, str]
    failed: str | None = None
    run: Whole = 0


Accord = Literal["none", "agree", "differ", "conflict"]

# Face and voice that name different emotions and are less alike than this (1 − Jensen–Shannon divergence) contradict.
CONFLICT_BELOW = 0.6


def leading(event: Emotion) -> TrackedFace | None:
    """The face that the verdict is about: the speaker's, else one with the verdict's confidence, else the largest."""
    verdict = event.emotion
    speaking = [face for face in event.faces if face.weights.get("speech", 0.0) > 0]
    alike = [face for face in event.faces if verdict.confidence is not None and face.confidence == verdict.confidence]
    return max(speaking or alike or event.faces, key=lambda face: face.box[2] * face.box[3], default=None)


def fused(event: Emotion) -> Probabilities | None:
    """Probabilities of the verdict; None where nothing is known.

    Events recorded before verdicts carried them have them in their face, or in their voice where there is no face.
    """
    verdict = event.emotion
    if verdict.probabilities is not None or verdict.confidence is None:
        return verdict.probabilities
    face = leading(event)
    if face is not None:
        return face.fused
    return event.speech.probabilities if event.speech is not None else None


def face_emotion(event: Emotion) -> str | None:
    """Most probable emotion of the leading face's video; None without a face."""
    face = leading(event)
    return max(face.video, key=lambda emotion: face.video[emotion]) if face is not None and face.video else None


def accord(event: Emotion) -> Accord:
    """Compare the labels of face and voice: `none` where one of them is missing."""
    face, voice = face_emotion(event), event.speech.label if event.speech is not None else None
    agreement = event.emotion.agreement
    if face is None or voice is None or agreement is None:
        return "none"
    if face == voice:
        return "agree"
    return "conflict" if agreement < CONFLICT_BELOW else "differ"
