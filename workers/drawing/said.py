"""What a picture says of an event, in words and numbers. Pure, no pixels."""

from __future__ import annotations

from typing import NamedTuple

from broker.messages import Emotion, Probabilities, TrackedFace
from workers.drawing.style import FAINT, TEXT, WARNING, Colour, Style

# Below this share of agreement (1 − Jensen–Shannon divergence) face and voice are said to be in conflict.
CONFLICT_BELOW = 0.5


class Row(NamedTuple):
    """One row of bars; `because` stands in their place where there are no probabilities."""

    probabilities: Probabilities | None
    because: str


class Piece(NamedTuple):
    """A piece of the line at the top."""

    text: str
    colour: Colour
    bold: bool = False


def percent(share: float) -> str:
    """0…1 as whole percents."""
    return f"{round(100 * share)} %"


def speaker(event: Emotion) -> TrackedFace | None:
    """The face that the event's verdict is of: who speaks, else who is as sure as the verdict, else the largest."""
    speaking = [face for face in event.faces if face.weights.get("speech", 0.0) > 0]
    verdict = event.emotion
    alike = [f for f in event.faces if verdict.confidence is not None and f.confidence == verdict.confidence]
    candidates = speaking or alike or event.faces
    return max(candidates, key=lambda face: face.box[2] * face.box[3], default=None)


def rows(event: Emotion) -> dict[str, Row]:
    """The three rows by name: of the face, of the voice, and of both together."""
    face, speech = speaker(event), event.speech
    heard = speech.probabilities if speech is not None else None
    silent = (speech.because or "no voice") if speech is not None else "no sound"
    verdict = event.emotion
    because = verdict.because or "unknown"
    if face is None and verdict.label is not None and verdict.confidence is not None:
        because = f"{verdict.label} {percent(verdict.confidence)}, from the voice alone"
    return {
        "video": Row(face.video if face is not None else None, "no face"),
        "speech": Row(heard, silent),
        "fused": Row(face.fused if face is not None else None, because),
    }


def headline(event: Emotion, style: Style) -> list[Piece]:
    """The line at the top, the most important first."""
    pieces = [*_verdict(event), *_agreement(event)]
    if event.failed is not None:
        pieces.append(Piece(f"not looked at: {event.failed}", WARNING))
    if style.name:
        pieces.append(Piece(event.stream, FAINT))
    if style.latency:
        pieces.append(Piece(f"{event.latency_ms.total:.0f} ms", FAINT))
    return pieces


def caption(face: TrackedFace) -> str:
    """What stands at a face's box."""
    return f"#{face.track} {face.label} {percent(face.confidence)}"


def _verdict(event: Emotion) -> list[Piece]:
    verdict = event.emotion
    if verdict.label is None:
        return [Piece("unknown", TEXT, bold=True), Piece(verdict.because or "no reason given", FAINT)]
    sure = f" {percent(verdict.confidence)}" if verdict.confidence is not None else ""
    return [Piece(f"{verdict.label}{sure}", TEXT, bold=True)]


def _agreement(event: Emotion) -> list[Piece]:
    shared = event.emotion.agreement
    if shared is None:
        return []
    if shared >= CONFLICT_BELOW:
        return [Piece(f"face and voice agree {percent(shared)}", FAINT)]
    face, voice = speaker(event), event.speech
    seen = max(face.video, key=lambda emotion: face.video[emotion]) if face is not None and face.video else "?"
    heard = (voice.label if voice is not None else None) or "?"
    return [Piece(f"conflict: face {seen}, voice {heard}", WARNING)]
