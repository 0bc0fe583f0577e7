"""Texts and tables of the report, as plain values made from the tally and the records. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from bimodal.models.emotions import EMOTIONS
from bimodal.recordings.reading import Clip
from bimodal.recordings.report.charts import tenths
from bimodal.recordings.report.statistics import Spread, Stretch, Tally, TrackTally
from bimodal.recordings.report.tracks import LEAST_UNIT, MOST_TRACKS, MOST_UNITS

MOST_STRETCHES, MOST_CONFLICTS = 8, 5
SHORTEST_STRETCH_S = 0.2
SETTINGS = ("models", "face", "audio", "fusion", "capture", "runtime")
"""Sections of the config."""
SET = ("emotions", "categories")
"""Keys that a page names where they are not the default."""


class Share(NamedTuple):
    """Share of one emotion in the labelled frames, 0…1, in video, speech and fused labels."""

    emotion: str
    fused: float
    video: float
    speech: float


class StretchRow(NamedTuple):
    """A stretch of one label; `start` in seconds."""

    start: float
    begin: str
    end: str
    seconds: float
    label: str
    confidence: float


class TrackRow(NamedTuple):
    """One face; shares are of its own frames."""

    number: int
    begin: str
    end: str
    frames: int
    dominant: str
    share: float
    speaking: float


class Reason(NamedTuple):
    """Reason why a label is missing, with its number of frames and share of all frames, 0…1."""

    reason: str
    frames: int
    share: float


class ModelRow(NamedTuple):
    """An artifact that was used."""

    kind: str
    identity: str
    given: str
    sha256: str


def shares(tally: Tally) -> list[Share]:
    """Each emotion's share of the frames that have a label of that kind, in the project's order."""
    totals = {row: counter.total() or 1 for row, counter in tally.labels.items()}
    return [
        Share(emotion, *(tally.labels[row][emotion] / totals[row] for row in ("fused", "video", "speech")))
        for emotion in tally.emotions.emotions
    ]


class FurtherRow(NamedTuple):
    """A further category: mean and largest of its shares, and the number of frames that have one."""

    name: str
    mean: float
    largest: float
    frames: int


def further(tally: Tally) -> list[FurtherRow]:
    """The further categories that count, in the order of the set."""
    spreads = {name: tally.further[name] for name in tally.emotions.categories if name in tally.further}
    return [FurtherRow(name, spread.mean or 0.0, spread.high, spread.count) for name, spread in spreads.items()]


def stretches(tally: Tally, frame_s: float) -> list[StretchRow]:
    """The longest stretches, longest first."""
    found = sorted(tally.stretches, key=lambda stretch: stretch.first_t - stretch.last_t)[:MOST_STRETCHES]
    rows = [_stretch(stretch, frame_s) for stretch in found]
    return [row for row in rows if row.seconds >= SHORTEST_STRETCH_S]


def _stretch(stretch: Stretch, frame_s: float) -> StretchRow:
    seconds = stretch.last_t - stretch.first_t + frame_s
    mean = stretch.confidence / stretch.frames
    return StretchRow(
        stretch.first_t, tenths(stretch.first_t), tenths(stretch.last_t + frame_s), seconds, stretch.label, mean
    )


def tracks(tally: Tally) -> list[TrackRow]:
    """The faces with the most frames, in order of appearance."""
    most = sorted(tally.tracks.items(), key=lambda item: -item[1].frames)[:MOST_TRACKS]
    rows = []
    for number, track in sorted(most):
        ((dominant, count),) = track.labels.most_common(1)
        rows.append(
            TrackRow(
                number=number,
                begin=tenths(track.first_t),
                end=tenths(track.last_t),
                frames=track.frames,
                dominant=dominant,
                share=count / track.frames,
                speaking=track.speaking / track.frames,
            )
        )
    return rows


class DoesRow(NamedTuple):
    """What one face does, in words: measures with mean and range, blinks, and the strongest action units."""

    number: int
    measures: list[tuple[str, str]]
    blinks: str
    units: list[tuple[str, float]]


SHOWN = {"yaw_deg": "yaw", "pitch_deg": "pitch", "roll_deg": "roll", "mouth_open": "mouth", "valence": "valence"}
SHOWN |= {"arousal": "arousal"}


def does(tally: Tally) -> list[DoesRow]:
    """What the faces with the most frames do; without those of which nothing is known."""
    most = sorted(tally.tracks.items(), key=lambda item: -item[1].frames)[:MOST_TRACKS]
    rows = []
    for number, track in sorted(most):
        found = [(word, _spread(track.measures[name], name)) for name, word in SHOWN.items()]
        strong = sorted(((spread.mean or 0.0, name) for name, spread in track.units.items()), reverse=True)
        rows.append(
            DoesRow(
                number=number,
                measures=[(word, text) for word, text in found if text],
                blinks=_blinks(track),
                units=[(name, mean) for mean, name in strong[:MOST_UNITS] if mean >= LEAST_UNIT],
            )
        )
    return [row for row in rows if row.measures]


def _spread(spread: Spread, name: str) -> str:
    if spread.mean is None:
        return ""
    figures = (spread.mean, spread.low, spread.high)
    if name.endswith("_deg"):
        mean, low, high = (f"{round(value)}°" for value in figures)
    else:
        mean, low, high = (f"{value:.2f}".replace("-0.00", "0.00") for value in figures)
    return f"{mean} ({low} … {high})"


def _blinks(track: TrackTally) -> str:
    if not track.blinks.count:
        return "none seen"
    seconds = max(track.last_t - track.first_t, 1.0)
    return f"{track.blinks.count}, {60 * track.blinks.count / seconds:.0f} a minute, {track.blinks.mean:.0f} ms"


def reasons(counter: Counter[str], frames: int) -> list[Reason]:
    """The reasons, most frequent first."""
    return [Reason(reason, count, count / max(1, frames)) for reason, count in counter.most_common()]


def model_rows(clip: Clip, tally: Tally) -> list[ModelRow]:
    """The models named by the events, with checksums of the files with which the session was started."""
    known = {} if clip.session is None else {f"{m.name}@{m.version}": m for m in clip.session.models}
    rows = []
    for kind, identities in sorted(tally.models.items()):
        for identity in dict.fromkeys(one for joined in identities for one in joined.split("+")):
            record = known.get(identity)
            rows.append(ModelRow(kind, identity, record.given if record else "", record.sha256 if record else ""))
    return rows


def settings(clip: Clip) -> list[tuple[str, str]]:
    """The settings of the config that affect results, as pairs of `section.key` and value."""
    config = clip.session.config if clip.session is not None else {}
    default = {"emotions": list(EMOTIONS), "categories": "auto"}
    found = [(key, _spelled(config[key])) for key in SET if key in config and config[key] != default[key]]
    for section in SETTINGS:
        values = config.get(section)
        if isinstance(values, Mapping):
            found += [(f"{section}.{key}", _spelled(value)) for key, value in values.items()]
    return found


def _spelled(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return (
        {True: "true", False: "false", None: "null"}.get(value, str(value))
        if isinstance(value, bool | None)
        else str(value)
    )


def frame_seconds(clip: Clip, span: tuple[float, float] | None, frames: int) -> float:
    """Duration of one event, in seconds; `span` is from the first to the last of `frames`."""
    record = clip.stream
    if record is not None and record.has_picture and record.fps > 0:
        return 1.0 / record.fps
    if record is not None and not record.has_picture and record.hop_s > 0:
        return record.hop_s
    if span is None or frames < 2:
        return 0.0
    return (span[1] - span[0]) / (frames - 1)
