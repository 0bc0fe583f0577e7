"""Each face, and the voice, over time: lanes of its segments, and lines of what it does. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.recordings.report.charts import WIDTH, Axis, tenths
from bimodal.recordings.report.colours import OWN_COLOURS
from bimodal.recordings.report.course import limits_of, polylines
from bimodal.recordings.report.statistics import Tally, TrackTally
from bimodal.recordings.segments import Segment

MOST_TRACKS, MOST_SEGMENTS, MOST_UNITS = 24, 400, 5
LEAST_UNIT = 0.1
LINE_HEIGHT = 72.0


class Placed(NamedTuple):
    """A segment on the clip's time line; `start` and `end` in seconds, `left` and `width` in percent of the axis."""

    start: float
    end: float
    label: str
    css: str
    confidence: float
    peak: float
    left: float
    width: float

    @property
    def title(self) -> str:
        """In words."""
        return f"{tenths(self.start)}–{tenths(self.end)} {self.label} {round(100 * self.confidence)} %"


class Line(NamedTuple):
    """One line of a chart: its name, its style (`line1` …) and the points of its polylines."""

    name: str
    css: str
    points: list[str]


class Chart(NamedTuple):
    """Lines of one unit; `low` and `high` are the values at its edges, as text; `zero`: y of the value 0."""

    name: str
    low: str
    high: str
    zero: float
    height: float
    lines: list[Line]


class Follow(NamedTuple):
    """A face or the voice.

    Attributes:
        segments, hidden: its stretches by start, and the number of further ones that are not shown.
        further: stretches of further categories that have half of the whole or more.
        turns: when it speaks.
        affect: valence and arousal; None where neither is known.
        details: head pose, mouth and action units.
    """

    name: str
    segments: list[Placed]
    hidden: int
    further: list[Placed]
    turns: list[Placed]
    affect: Chart | None
    details: list[Chart]


def css_of(label: str, about: EmotionSet = SEVEN) -> str:
    """The CSS class with the colour of a label; of one outside the set, always the same of a few colours."""
    known = label in about.emotions or label in about.categories
    return about.colour_of(label) if known else f"own{zlib.crc32(label.encode()) % len(OWN_COLOURS)}"


def follow(tally: Tally, segments: Sequence[Segment], numbers: Sequence[int]) -> dict[int, Follow]:
    """The faces `numbers` over time.

    Args:
        segments: of the clip, on its time line, with the tally's numbers of tracks.
    """
    found = {}
    for number in numbers:
        track = tally.tracks[number]
        own = [one for one in segments if one.track == number]
        found[number] = _follow(f"face {number}", own, "face", tally, track)
    return found


def voices(tally: Tally, segments: Sequence[Segment]) -> list[Follow]:
    """The voice over time; of each channel, where each is one."""
    channels = sorted({one.channel or "" for one in segments if one.kind == "voice"})
    found = []
    for channel in channels:
        own = [one for one in segments if one.track is None and (one.channel or "") == channel]
        found.append(_follow(f"voice {channel}".strip(), own, "voice", tally))
    return found


def bounds_of(tally: Tally) -> tuple[float, float]:
    """First and last time of the time axis, in seconds: that of the timeline."""
    axis = Axis(tally)
    return axis.first, axis.last


def _follow(name: str, own: Sequence[Segment], kind: str, tally: Tally, track: TrackTally | None = None) -> Follow:
    bounds = bounds_of(tally)
    stretches = [placed(one, bounds, tally.emotions) for one in own if one.kind == kind]
    further = [placed(one, bounds, tally.emotions) for one in own if one.kind == "other"]
    turns = [placed(one, bounds) for one in own if one.kind == "turn"]
    shown = sorted(sorted(stretches, key=lambda one: one.start - one.end)[:MOST_SEGMENTS], key=lambda one: one.start)
    affect = _affect(track, bounds) if track is not None else None
    details = _details(track, bounds) if track is not None else []
    return Follow(
        name, shown, len(stretches) - len(shown), further[:MOST_SEGMENTS], turns[:MOST_SEGMENTS], affect, details
    )


def placed(segment: Segment, bounds: tuple[float, float], about: EmotionSet = SEVEN) -> Placed:
    """A segment with its place on the time axis."""
    first, span = bounds[0], max(bounds[1] - bounds[0], 1e-9)
    left, right = (100 * min(1.0, max(0.0, (t - first) / span)) for t in (segment.start, segment.end))
    return Placed(
        segment.start,
        segment.end,
        segment.label,
        css_of(segment.label, about),
        segment.confidence,
        segment.peak,
        round(left, 4),
        round(max(0.0, right - left), 4),
    )


def _affect(track: TrackTally, bounds: tuple[float, float]) -> Chart | None:
    chart = _chart("valence and arousal", track, {"valence": "valence", "arousal": "arousal"}, bounds, (-1.0, 1.0))
    return chart if chart.lines else None


def _details(track: TrackTally, bounds: tuple[float, float]) -> list[Chart]:
    angles = {"yaw_deg": "yaw", "pitch_deg": "pitch", "roll_deg": "roll"}
    turned = [run for name in angles if name in track.courses for run in track.courses[name].runs()]
    strong = sorted(((spread.mean or 0.0, name) for name, spread in track.units.items()), reverse=True)
    units = {name: name.removesuffix("_derived").upper() for mean, name in strong[:MOST_UNITS] if mean >= LEAST_UNIT}
    charts = [
        _chart("head pose", track, angles, bounds, limits_of(turned, 15.0), "°"),
        _chart("mouth open", track, {"mouth_open": "mouth"}, bounds, (0.0, 0.5)),
        _chart("action units (derived)", track, units, bounds, (0.0, 1.0)),
    ]
    return [chart for chart in charts if chart.lines]


def _chart(
    name: str,
    track: TrackTally,
    wanted: dict[str, str],
    bounds: tuple[float, float],
    limits: tuple[float, float],
    unit: str = "",
) -> Chart:
    lines = [
        Line(word, f"line{place}", polylines(track.courses[key].runs(), bounds, limits, (WIDTH, LINE_HEIGHT)))
        for place, (key, word) in enumerate(wanted.items(), 1)
        if track.courses.get(key)
    ]
    low, high = (f"{value:g}{unit}".replace("-", "−") for value in limits)
    zero = LINE_HEIGHT * limits[1] / (limits[1] - limits[0])
    return Chart(name, low, high, zero, LINE_HEIGHT, lines)
