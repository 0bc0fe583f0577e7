"""Events → segments: stretches of one face, or of the voice, with one label. Pure."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bimodal.broker.events import Emotion, Hop

GAP_FRAMES = 2.5
"""A face or voice that is missing for longer than this many frames ends its segment."""


class Segment(NamedTuple):
    """A stretch with one label.

    Attributes:
        start, end: seconds on the stream's time line; the last frame counts to its end.
        track: of the face, None for the voice.
        label: of the face's fused probabilities, or of the speech.
        confidence: mean over its frames.
        frames: how many there are.
    """

    start: float
    end: float
    track: int | None
    label: str
    confidence: float
    frames: int


def segments(events: Sequence[Emotion], hops: Sequence[Hop] = ()) -> list[Segment]:
    """The segments of all tracks and of the voice, by start, the voice before faces that start with it.

    Args:
        hops: of the voice, where they are known: then its segments are made of them, also where no picture is, and
            each channel that is a voice has segments of its own.
    """
    frame_s = frame_seconds(events)
    rows: dict[int | None, list[tuple[float, str, float]]] = {}
    for event in events:
        speech = event.speech
        if not hops and speech is not None and speech.label is not None and speech.probabilities is not None:
            rows.setdefault(None, []).append((event.t, speech.label, speech.probabilities[speech.label]))
        for face in event.faces:
            rows.setdefault(face.track, []).append((event.t, face.label, face.confidence))
    found = [segment for track, of_track in rows.items() for segment in _of_track(track, of_track, frame_s)]
    found += _of_voices(hops)
    return sorted(found, key=lambda segment: (segment.start, -1 if segment.track is None else segment.track))


def _of_voices(hops: Sequence[Hop]) -> list[Segment]:
    found: list[Segment] = []
    for channel in dict.fromkeys(hop.channel for hop in hops):
        own = [hop for hop in hops if hop.channel == channel]
        # A single hop began half a second before its end, or whenever its stream did.
        steps = [after.t - before.t for before, after in itertools.pairwise(own)]
        hop_s = statistics.median(steps) if steps else own[0].t
        said = [(hop.t - hop_s, hop.label, hop.confidence or 0.0) for hop in own if hop.label is not None]
        found += _of_track(None, said, hop_s)
    return found


def frame_seconds(events: Sequence[Emotion]) -> float:
    """Seconds from one event to the next, usually; 0 for a single one."""
    steps = [after.t - before.t for before, after in itertools.pairwise(events)]
    return statistics.median(steps) if steps else 0.0


def _of_track(track: int | None, rows: Iterable[tuple[float, str, float]], frame_s: float) -> Iterable[Segment]:
    held: list[tuple[float, str, float]] = []
    for row in rows:
        if held and (row[1] != held[-1][1] or row[0] - held[-1][0] > GAP_FRAMES * frame_s):
            yield _segment(track, held, frame_s)
            held = []
        held.append(row)
    if held:
        yield _segment(track, held, frame_s)


def _segment(track: int | None, rows: list[tuple[float, str, float]], frame_s: float) -> Segment:
    return Segment(
        start=rows[0][0],
        end=rows[-1][0] + frame_s,
        track=track,
        label=rows[0][1],
        confidence=statistics.fmean(row[2] for row in rows),
        frames=len(rows),
    )
