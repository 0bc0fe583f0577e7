"""Comparison of two analyses of the same clip: the frames whose labels differ. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

import msgspec

from bimodal.broker.events import Emotion
from bimodal.models.emotions import EMOTIONS, SEVEN, EmotionSet

UNKNOWN = "unknown"
DECIMALS = 4


class Stretch(msgspec.Struct, kw_only=True):
    """Consecutive frames that differ in the same way; times in seconds, `end` is the end of the last frame.

    Attributes:
        was_confidence, now_confidence: mean over the frames, 0…1.
    """

    begin: float
    end: float
    frames: int
    was: str
    now: str
    was_confidence: float
    now_confidence: float


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """Summary of one analysis; `share` is of all frames, including "unknown", and sums to 1."""

    share: dict[str, float]
    confidence: float | None
    agreement: float | None
    models: dict[str, str]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a comparison.

    Attributes:
        frames: number of frames that both have.
        unmatched: number of frames that only one has.
        agreeing: share of `frames` with the same label, 0…1.
        confusion: was → now → number of frames.
        stretches: all differing stretches, in the order of time.
        labels: that there may be, in order; the last is "unknown".
    """

    frames: int
    unmatched: int
    agreeing: float
    confusion: dict[str, dict[str, int]]
    stretches: list[Stretch]
    was: Side
    now: Side
    labels: tuple[str, ...] = (*EMOTIONS, UNKNOWN)


def compare(
    was: Sequence[Emotion],
    now: Sequence[Emotion],
    frame_s: float,
    *,
    by_time: float | None = None,
    emotions: EmotionSet = SEVEN,
) -> Comparison:
    """Compare two analyses of a clip.

    Args:
        was, now: events in order.
        frame_s: duration of a frame, in seconds.
        by_time: None pairs frames of the same number; else frames are paired by time, `now` shifted by so many seconds.
        emotions: what they are about: the order of labels.
    """
    pairs = _by_number(was, now) if by_time is None else _by_time(was, now, by_time, frame_s)
    confusion: dict[str, Counter[str]] = {}
    for before, after in pairs:
        confusion.setdefault(decision(before), Counter())[decision(after)] += 1
    order = (*emotions.emotions, UNKNOWN)
    agreeing = sum(counts[label] for label, counts in confusion.items())
    return Comparison(
        frames=len(pairs),
        unmatched=len(was) + len(now) - 2 * len(pairs),
        agreeing=round(agreeing / len(pairs), DECIMALS) if pairs else 1.0,
        confusion={label: dict(confusion[label].most_common()) for label in order if label in confusion},
        stretches=_stretches(pairs, frame_s),
        was=_side(was, order),
        now=_side(now, order),
        labels=order,
    )


def decision(event: Emotion) -> str:
    """The event's label, or "unknown"."""
    return event.emotion.label or UNKNOWN


def _by_number(was: Sequence[Emotion], now: Sequence[Emotion]) -> list[tuple[Emotion, Emotion]]:
    known = {event.seq: event for event in now}
    return [(event, known[event.seq]) for event in was if event.seq in known]


def _by_time(
    was: Sequence[Emotion], now: Sequence[Emotion], shift_s: float, frame_s: float
) -> list[tuple[Emotion, Emotion]]:
    times = [event.t + shift_s for event in now]
    pairs = []
    for event in was:
        place = bisect_left(times, event.t)
        nearest = min(
            range(max(0, place - 1), min(len(times), place + 1)), key=lambda n: abs(times[n] - event.t), default=None
        )
        if nearest is not None and abs(times[nearest] - event.t) <= frame_s * 0.75:
            pairs.append((event, now[nearest]))
    return pairs


def _stretches(pairs: Sequence[tuple[Emotion, Emotion]], frame_s: float) -> list[Stretch]:
    found: list[Stretch] = []
    going: Stretch | None = None
    for before, after in pairs:
        was, now = decision(before), decision(after)
        if was == now:
            going = None
            continue
        if going is None or (going.was, going.now) != (was, now):
            going = Stretch(
                begin=before.t, end=before.t, frames=0, was=was, now=now, was_confidence=0.0, now_confidence=0.0
            )
            found.append(going)
        going.end = before.t + frame_s
        going.frames += 1
        going.was_confidence += before.emotion.confidence or 0.0
        going.now_confidence += after.emotion.confidence or 0.0
    for stretch in found:
        stretch.end = round(stretch.end, DECIMALS)
        stretch.was_confidence = round(stretch.was_confidence / stretch.frames, DECIMALS)
        stretch.now_confidence = round(stretch.now_confidence / stretch.frames, DECIMALS)
    return found


def _side(events: Sequence[Emotion], order: Sequence[str]) -> Side:
    labels = Counter(decision(event) for event in events)
    sure = [
        event.emotion.confidence for event in events if event.emotion.label is not None and event.emotion.confidence
    ]
    agreeing = [event.emotion.agreement for event in events if event.emotion.agreement is not None]
    models: dict[str, list[str]] = {}
    for event in events:
        for kind, identity in event.models.items():
            if identity not in (used := models.setdefault(kind, [])):
                used.append(identity)
    return Side(
        share={label: round(labels[label] / len(events), DECIMALS) for label in order if labels[label]},
        confidence=round(sum(sure) / len(sure), DECIMALS) if sure else None,
        agreement=round(sum(agreeing) / len(agreeing), DECIMALS) if agreeing else None,
        models={kind: ", ".join(used) for kind, used in models.items()},
    )
