"""What an event says as a whole: the face that its verdict is of, its seven probabilities, and how face and voice
stand to each other. Pure; pages, pictures and reports all ask here. `page/words.js` says the same in the browser."""

from __future__ import annotations

from typing import Literal

from bimodal.broker.messages import Emotion, Probabilities, TrackedFace

Accord = Literal["none", "agree", "differ", "conflict"]

# Face and voice that name different emotions and are less alike than this (1 − Jensen–Shannon divergence) contradict.
CONFLICT_BELOW = 0.6


def leading(event: Emotion) -> TrackedFace | None:
    """The face that the verdict is of: who speaks, else who is as sure as the verdict, else the largest."""
    verdict = event.emotion
    speaking = [face for face in event.faces if face.weights.get("speech", 0.0) > 0]
    alike = [face for face in event.faces if verdict.confidence is not None and face.confidence == verdict.confidence]
    return max(speaking or alike or event.faces, key=lambda face: face.box[2] * face.box[3], default=None)


def fused(event: Emotion) -> Probabilities | None:
    """The verdict's probabilities, None where nothing is known.

    Events that were recorded before verdicts carried them have them in their face, or in their voice where there is
    no face.
    """
    verdict = event.emotion
    if verdict.probabilities is not None or verdict.confidence is None:
        return verdict.probabilities
    face = leading(event)
    if face is not None:
        return face.fused
    return event.speech.probabilities if event.speech is not None else None


def seen(event: Emotion) -> str | None:
    """What the leading face alone shows: the most probable emotion of its video."""
    face = leading(event)
    return max(face.video, key=lambda emotion: face.video[emotion]) if face is not None and face.video else None


def accord(event: Emotion) -> Accord:
    """How face and voice stand to each other: `none` where one of them is missing."""
    face, voice = seen(event), event.speech.label if event.speech is not None else None
    agreement = event.emotion.agreement
    if face is None or voice is None or agreement is None:
        return "none"
    if face == voice:
        return "agree"
    return "conflict" if agreement < CONFLICT_BELOW else "differ"
