"""Words and numbers drawn for an event. Pure, no pixels."""

from __future__ import annotations

from typing import NamedTuple

from bimodal.broker.events import (
    Emotion,
    Probabilities,
    TrackedFace,
    accord,
    doubts_of,
    face_emotion,
    fused,
    leading,
    named_in,
)
from bimodal.drawing.style import FAINT, TEXT, WARNING, Colour, Style
from bimodal.models.emotions import EMOTIONS, EmotionSet


class Row(NamedTuple):
    """One row of bars; `reason` is shown instead if there are no probabilities. `other`: of further categories."""

    probabilities: Probabilities | None
    reason: str
    other: Probabilities = {}  # noqa: RUF012 - never changed


LEAST_OTHER = 0.2
"""Share from which on a further category is in the headline and in captions."""


def shown_set(event: Emotion, style: Style) -> EmotionSet:
    """What the bars of an event are of."""
    if style.emotions is not None:
        return style.emotions
    emotions, categories = named_in(event)
    return EmotionSet(EMOTIONS if set(emotions) <= set(EMOTIONS) else tuple(emotions), tuple(categories))


class Piece(NamedTuple):
    """A piece of the headline."""

    text: str
    colour: Colour
    bold: bool = False


def percent(share: float) -> str:
    """Format a share, 0…1, in whole percent."""
    return f"{round(100 * share)} %"


def rows(event: Emotion) -> dict[str, Row]:
    """The three rows by name: video, speech and fused."""
    face, speech = leading(event), event.speech
    heard = speech.probabilities if speech is not None else None
    silent = (speech.because or "no voice") if speech is not None else "no sound"
    return {
        "video": Row(face.video if face is not None else None, "no face", (face.video_other or {}) if face else {}),
        "speech": Row(heard, silent, (speech.other or {}) if speech is not None else {}),
        "fused": Row(fused(event), event.emotion.because or "unknown", event.emotion.other or {}),
    }


def headline(event: Emotion, style: Style) -> list[Piece]:
    """Pieces of the line at the top, the most important first."""
    pieces = [*_verdict(event), *_agreement(event)]
    if event.failed is not None:
        pieces.append(Piece(f"not looked at: {event.failed}", WARNING))
    if style.name:
        pieces.append(Piece(event.stream, FAINT))
    if style.latency:
        pieces.append(Piece(f"{event.latency_ms.total:.0f} ms", FAINT))
    return pieces


def caption(face: TrackedFace) -> str:
    """Text at a face's box: track, label, confidence."""
    return " ".join([f"#{face.track} {face.label} {percent(face.confidence)}", *strong(face.other or {})])


def strong(other: Probabilities) -> list[str]:
    """Further categories that are strong enough to be named, the strongest first."""
    named = sorted(((share, name) for name, share in other.items() if share >= LEAST_OTHER), reverse=True)
    return [f"{name} {percent(share)}" for share, name in named]


def _verdict(event: Emotion) -> list[Piece]:
    verdict = event.emotion
    if verdict.label is None:
        return [Piece("unknown", TEXT, bold=True), Piece(verdict.because or "no reason given", FAINT)]
    sure = f" {percent(verdict.confidence)}" if verdict.confidence is not None else ""
    pieces = [Piece(f"{verdict.label}{sure}", TEXT, bold=True)]
    pieces += [Piece(text, TEXT) for text in strong(verdict.other or {})]
    doubts = doubts_of(event)
    return [*pieces, Piece(", ".join(doubts), FAINT)] if doubts else pieces


def _agreement(event: Emotion) -> list[Piece]:
    how, shared = accord(event), event.emotion.agreement
    if how == "none" or shared is None:
        return []
    if how == "agree":
        return [Piece(f"face and voice agree, {percent(shared)} alike", FAINT)]
    heard = event.speech.label if event.speech is not None else None
    if how == "differ":
        return [Piece(f"face {face_emotion(event)}, voice {heard}, {percent(shared)} alike", FAINT)]
    return [Piece(f"conflict: face {face_emotion(event)}, voice {heard}", WARNING)]
