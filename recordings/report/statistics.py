"""Statistics of a clip for its report, accumulated event by event: small, however long the clip is. Pure."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from bimodal.broker.events import Emotion, TrackedFace, doubts_of, fused, leading
from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.recordings.report.course import Course
from bimodal.recordings.summary import kind_of_reason

ROWS = ("fused", "video", "speech")
# Events that are further apart than this don't belong to one stretch.
SAME_STRETCH_S = 0.5


class Mean:
    """Mean distribution over the emotions of a set; an emotion that is absent adds nothing."""

    __slots__ = ("count", "sums")

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.count = 0

    def add(self, probabilities: dict[str, float]) -> None:
        self.count += 1
        for emotion, probability in probabilities.items():
            self.sums[emotion] = self.sums.get(emotion, 0.0) + probability

    def merge(self, other: Mean) -> None:
        self.count += other.count
        for emotion, theirs in other.sums.items():
            self.sums[emotion] = self.sums.get(emotion, 0.0) + theirs

    @property
    def shares(self) -> dict[str, float] | None:
        """The mean by emotion, 0…1 with sum 1; None if nothing was added."""
        total = sum(self.sums.values())
        return {emotion: value / total for emotion, value in self.sums.items()} if total > 0 else None

    @property
    def means(self) -> dict[str, float] | None:
        """The mean by category, 0…1, as the values are; None if nothing was added."""
        return {name: value / self.count for name, value in self.sums.items()} if self.count else None


@dataclass
class Bin:
    """Statistics of a span of a clip's time.

    Attributes:
        rows: mean distributions of fused, video and speech.
        other: mean shares of the verdict's further categories.
        unknown: number of frames without a label.
        voice, listened: sum of the shares of voice, and its number of frames.
        agreement, compared: sum of the agreement of face and voice, and its number of frames.
    """

    frames: int = 0
    rows: dict[str, Mean] = field(default_factory=lambda: {row: Mean() for row in ROWS})
    other: Mean = field(default_factory=Mean)
    unknown: int = 0
    voice: float = 0.0
    listened: int = 0
    agreement: float = 0.0
    compared: int = 0

    def merge(self, another: Bin) -> None:
        """Add another one's counts."""
        self.frames += another.frames
        for row, mean in self.rows.items():
            mean.merge(another.rows[row])
        self.other.merge(another.other)
        self.unknown += another.unknown
        self.voice += another.voice
        self.listened += another.listened
        self.agreement += another.agreement
        self.compared += another.compared


MOST_BINS = 500
FINEST_S = 0.02
"""Bins of a clip of up to ten seconds hold one frame each, up to 50 frames a second."""


class Bins:
    """A clip in bins of time, at most MOST_BINS from the first to the last: `width` seconds, doubled as it gets longer.
    Times come in any order."""

    def __init__(self) -> None:
        self.width = FINEST_S
        self._bins: dict[int, Bin] = {}
        self._ends = (0, 0)

    def at(self, t: float) -> Bin:
        """The bin of a moment, in seconds."""
        number = self._number(t)
        if number not in self._bins:
            first, last = self._ends if self._bins else (number, number)
            self._ends = (min(first, number), max(last, number))
            self._bins[number] = Bin()
            while self._ends[1] - self._ends[0] >= MOST_BINS:
                self._widen()
        return self._bins[self._number(t)]

    def _number(self, t: float) -> int:
        # A frame at the edge of two bins lies in the second, whatever a floating number makes of it.
        return math.floor(t / self.width + 1e-6)

    def _widen(self) -> None:
        """Merge every two bins."""
        self.width *= 2
        merged: dict[int, Bin] = {}
        for number, one in self._bins.items():
            if number // 2 in merged:
                merged[number // 2].merge(one)
            else:
                merged[number // 2] = one
        self._bins, self._ends = merged, (self._ends[0] // 2, self._ends[1] // 2)

    def found(self) -> list[tuple[int, Bin]]:
        """Number (of `width` seconds from 0) and content of each that has any, in order."""
        return sorted(self._bins.items(), key=lambda item: item[0])


@dataclass
class Stretch:
    """Consecutive frames with the same label; `confidence` is summed over them."""

    label: str
    first_t: float
    last_t: float
    frames: int = 0
    confidence: float = 0.0


class Spread:
    """Mean and range of a measure, value by value."""

    __slots__ = ("count", "high", "low", "total")

    def __init__(self) -> None:
        self.count, self.total, self.low, self.high = 0, 0.0, math.inf, -math.inf

    def add(self, value: float | None) -> None:
        """Add a value; None adds nothing."""
        if value is not None:
            self.count += 1
            self.total += value
            self.low, self.high = min(self.low, value), max(self.high, value)

    @property
    def mean(self) -> float | None:
        """Mean of the values; None without any."""
        return self.total / self.count if self.count else None


MEASURES = ("yaw_deg", "pitch_deg", "roll_deg", "mouth_open", "valence", "arousal")


@dataclass
class TrackTally:
    """Statistics of one track: label counts, the number of frames in which it speaks, measures
    and action units, in all and over time, and blinks."""

    first_t: float
    last_t: float
    frames: int = 0
    speaking: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    measures: defaultdict[str, Spread] = field(default_factory=lambda: defaultdict(Spread))
    units: defaultdict[str, Spread] = field(default_factory=lambda: defaultdict(Spread))
    blinks: Spread = field(default_factory=Spread)
    courses: defaultdict[str, Course] = field(default_factory=lambda: defaultdict(Course))


class Tally:
    """Accumulates a clip's events, in order; its attributes may be read at any time. `emotions`: what it is about."""

    def __init__(self, emotions: EmotionSet = SEVEN) -> None:
        self.emotions = emotions
        self.further: defaultdict[str, Spread] = defaultdict(Spread)
        self.frames = self.failed = self.with_face = self.with_voice = 0
        self.compared = self.same_label = 0
        self.agreement = 0.0
        self.span: tuple[float, float] | None = None
        self.bins = Bins()
        self.labels: dict[str, Counter[str]] = {row: Counter() for row in ROWS}
        self.unknown: Counter[str] = Counter()
        self.unheard: Counter[str] = Counter()
        self.doubted: Counter[str] = Counter()
        self.conflicts: Counter[tuple[str, str]] = Counter()
        self.stretches: list[Stretch] = []
        self.tracks: dict[int, TrackTally] = {}
        self.models: dict[str, list[str]] = {}
        self._open: Stretch | None = None

    def add(self, event: Emotion, t: float, track_base: int = 0) -> None:
        """Add the next event, at `t` seconds of the clip; `track_base` keeps the tracks of different runs apart."""
        self.frames += 1
        self.failed += event.failed is not None
        self.with_face += bool(event.faces)
        self.span = (t if self.span is None else self.span[0], t)
        moment = self.bins.at(t)
        moment.frames += 1
        face = leading(event)
        self._add_rows(event, face, moment)
        self._add_voice(event, moment)
        self._add_agreement(event, face, moment)
        self._add_verdict(event, t, moment)
        self.doubted.update(doubts_of(event))
        for one in event.faces:
            self._add_track(one, t, track_base + one.track)
        for kind, identity in event.models.items():
            used = self.models.setdefault(kind, [])
            if identity not in used:
                used.append(identity)

    def _add_rows(self, event: Emotion, face: TrackedFace | None, moment: Bin) -> None:
        spoken = event.speech.probabilities if event.speech is not None else None
        if face is not None:
            moment.rows["video"].add(face.video)
            self.labels["video"][max(face.video, key=lambda emotion: face.video[emotion])] += 1
        if spoken:
            moment.rows["speech"].add(spoken)
        if event.speech is not None and event.speech.label is not None:
            self.labels["speech"][event.speech.label] += 1
        if event.emotion.other:
            moment.other.add(event.emotion.other)
        for name, share in (event.emotion.other or {}).items():
            self.further[name].add(share)
        if event.emotion.label is not None:
            moment.rows["fused"].add(fused(event) or {event.emotion.label: 1.0})
            self.labels["fused"][event.emotion.label] += 1

    def _add_voice(self, event: Emotion, moment: Bin) -> None:
        if event.speech is None:
            return
        moment.listened += 1
        moment.voice += event.speech.voice
        self.with_voice += event.speech.label is not None
        if event.speech.label is None and event.speech.because:
            self.unheard[reason(event.speech.because)] += 1

    def _add_agreement(self, event: Emotion, face: TrackedFace | None, moment: Bin) -> None:
        agreement, speech = event.emotion.agreement, event.speech
        if agreement is None or face is None or speech is None or speech.label is None:
            return
        self.compared += 1
        self.agreement += agreement
        moment.compared += 1
        moment.agreement += agreement
        shown = max(face.video, key=lambda emotion: face.video[emotion])
        if shown == speech.label:
            self.same_label += 1
        else:
            self.conflicts[shown, speech.label] += 1

    def _add_verdict(self, event: Emotion, t: float, moment: Bin) -> None:
        label = event.emotion.label
        if label is None:
            moment.unknown += 1
            self.unknown[reason(event.failed or event.emotion.because or "no reason was given")] += 1
            self._open = None
            return
        stretch = self._open
        if stretch is None or stretch.label != label or t - stretch.last_t > SAME_STRETCH_S:
            stretch = Stretch(label=label, first_t=t, last_t=t)
            self.stretches.append(stretch)
            self._open = stretch
        stretch.last_t = t
        stretch.frames += 1
        stretch.confidence += event.emotion.confidence or 0.0

    def _add_track(self, face: TrackedFace, t: float, number: int) -> None:
        track = self.tracks.setdefault(number, TrackTally(first_t=t, last_t=t))
        track.last_t = t
        track.frames += 1
        track.speaking += face.weights.get("speech", 0.0) > 0
        track.labels[face.label] += 1
        if face.face is None:
            return
        for name in MEASURES:
            value = getattr(face.face, name)
            track.measures[name].add(value)
            track.courses[name].add(t, value)
        for name, value in (face.face.units or {}).items():
            track.units[name].add(value)
            track.courses[name].add(t, value)
        track.blinks.add(face.face.blink_ms)


def reason(text: str) -> str:
    """Remove the numbers that change from frame to frame from a reason; a limit that was not reached stays."""
    unsure = re.fullmatch(r"confidence \S+ (is below \S+)", text)
    return f"not sure enough: confidence {unsure[1]}" if unsure else kind_of_reason(text)
