"""Events → segments: stretches of one face, or of the voice, with one label; turns of speech; blinks; shots. Pure.

A segment is found while events come, and the same ones live and from a file: labels must hold for some time in seconds
before they count (hysteresis), and short gaps are bridged.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

from msgspec import UnsetType

from bimodal.broker.events import Emotion, Hop, Stretch

Kind = Literal["face", "voice", "turn", "blink", "shot", "other"]

HOLD_S, VOICE_HOLD_S = 0.3, 0.75
"""A label must hold so long before it ends the one before; the voice's comes once a hop, gathered over seconds."""
GAP_S, GAP_FRAMES = 0.3, 2.5
"""A face or voice that is missing for longer than this, and than this many frames, ends its segment."""
LEAST_OTHER = 0.5
"""Share of all classes from which on a further category has a segment: it has more than all others together."""
TURN_GAP_S = 1.0
"""Pauses up to this belong to a turn of speech."""
FIRST_HOP_S = 0.5
"""Length of a hop, until a second one tells."""
PACE_STEPS = 5

SPEAKS, BLINK = "speaks", "blink"


class Segment(NamedTuple):
    """A stretch.

    Attributes:
        start, end: seconds on the stream's time line; the last frame counts to its end.
        track: of the face; None for the voice and for a voice without a face.
        label: of the face's fused probabilities, or of the speech; "speaks", "blink", "shot 0" for other kinds.
        confidence: mean of the label's probability (share) over its frames; 1 for turns, blinks and shots.
        frames: how many frames (hops) there are.
        kind: `face` and `voice`: an emotion; `turn`: someone speaks; `blink`; `shot` of a film with hard cuts; `other`:
            a further category of a face (without a track: of the voice).
        peak: largest probability of the label.
        channel: of the voice, where each channel is one.
    """

    start: float
    end: float
    track: int | None
    label: str
    confidence: float
    frames: int
    kind: Kind = "face"
    peak: float = 1.0
    channel: str | None = None


def stretch(stream: str, run: int, segment: Segment) -> Stretch:
    """The message of a segment for the event bus."""
    times = {"start": round(segment.start, 6), "end": round(segment.end, 6)}
    return Stretch(stream=stream, run=run, **(segment._asdict() | times))


def segments(events: Sequence[Emotion], hops: Sequence[Hop] = ()) -> list[Segment]:
    """All segments of a clip by start, the voice before faces that start with it.

    Args:
        hops: of the voice, where they are known: then its segments are made of them, also where no picture is, and
            each channel that is a voice has segments of its own.
    """
    finder = SegmentFinder(hops=bool(hops))
    # Their order makes no difference: voices and faces are followed apart.
    found = [segment for hop in hops for segment in finder.on_hop(hop)]
    found += [segment for event in events for segment in finder.on_event(event)]
    return in_order([*found, *finder.finish()])


def in_order(found: Iterable[Segment]) -> list[Segment]:
    """Segments by start, then the voice before faces."""
    return sorted(found, key=lambda one: (one.start, -1 if one.track is None else one.track, one.kind, one.end))


def frame_seconds(events: Sequence[Emotion]) -> float:
    """Seconds from one event to the next, usually; 0 for a single one."""
    steps = [after.t - before.t for before, after in itertools.pairwise(events)]
    return median(steps) if steps else 0.0


_Key: TypeAlias = "tuple[Kind, int | None, str | None]"


class SegmentFinder:
    """Finds the segments of one run of a stream; events and hops are given in order, each returns those that ended.

    Args:
        hops: whether hops are given too; else the voice is that of the events.
    """

    def __init__(self, *, hops: bool) -> None:
        self._hops = hops
        self._lines: dict[_Key, _Line] = {}
        self._frames = _Pace()
        self._voices: dict[str | None, _Pace] = {}
        self._shot: tuple[int, float] | None = None
        self._count = 0

    def on_event(self, event: Emotion) -> list[Segment]:
        """Take the next event."""
        pace = self._frames.step(event.t)
        ended: list[Segment] = []
        if self._shot is None or self._shot[0] != event.shot:
            ended += self._cut(event)
        self._count += 1
        seen: dict[_Key, tuple[str, Mapping[str, float]]] = {
            ("face", face.track, None): (face.label, face.fused) for face in event.faces
        }
        speech = event.speech
        if not self._hops and speech is not None and speech.label is not None:
            seen["voice", None, None] = (speech.label, speech.probabilities or {})
        for face in event.faces:
            found = _strong(face.other)
            if found is not None:
                seen["other", face.track, None] = found
        if not self._hops and speech is not None and (found := _strong(speech.other)):
            seen["other", None, None] = found
        if event.faces or not self._hops:
            speaks = [face.track for face in event.faces if face.weights.get("speech", 0.0) > 0]
            if speaks:
                seen["turn", speaks[0], None] = (SPEAKS, {})
        for key, (label, probabilities) in seen.items():
            line = self._lines.get(key)
            if line is None:
                line = self._lines[key] = _Line(key, VOICE_HOLD_S if key[0] == "voice" else HOLD_S)
            ended += line.add(event.t, pace, label, probabilities)
        over: list[_Key] = []
        for key, line in self._lines.items():
            if key not in seen and not (self._hops and (key[0] == "voice" or key[1] is None)):
                ended += line.wait(event.t)
            # Tracks are never numbered again, but for people who are recognised.
            if not line.open and key[1] is not None:
                over.append(key)
        for key in over:
            del self._lines[key]
        for face in event.faces:
            if face.face is not None and face.face.blink_ms is not None:
                begun = max(0.0, event.t - face.face.blink_ms / 1000)
                ended.append(Segment(begun, event.t, face.track, BLINK, 1.0, 1, "blink"))
        return ended

    def on_hop(self, hop: Hop) -> list[Segment]:
        """Take the next hop of a voice."""
        length = self._voices.setdefault(hop.channel, _Pace(min(hop.t, FIRST_HOP_S))).step(hop.t)
        ended: list[Segment] = []
        begun = max(0.0, hop.t - length)
        known = hop.probabilities or {hop.label or "": hop.confidence or 0.0}
        other, shares = _strong(hop.other) or (None, {})
        kinds: tuple[tuple[Kind, str | None, float, Mapping[str, float]], ...] = (
            ("voice", hop.label, VOICE_HOLD_S, known),
            ("turn", SPEAKS if (hop.voice or 0.0) >= 0.5 else None, HOLD_S, known),
            ("other", other, VOICE_HOLD_S, shares),
        )
        for kind, label, hold_s, probabilities in kinds:
            key: _Key = (kind, None, hop.channel)
            line = self._lines.setdefault(key, _Line(key, hold_s))
            if label is None:
                ended += line.wait(begun)
            else:
                ended += line.add(begun, length, label, probabilities)
        return ended

    def finish(self) -> list[Segment]:
        """The segments that are open when the stream ends."""
        ended = [segment for line in self._lines.values() for segment in line.end()]
        if self._shot is not None and self._shot[0] > 0:
            ended.append(self._of_shot(self._frames.end))
        self._lines.clear()
        self._shot = None
        return ended

    def _cut(self, event: Emotion) -> list[Segment]:
        """A hard cut ends the segments of all faces."""
        ended = [segment for key, line in self._lines.items() if key[1] is not None for segment in line.end()]
        if self._shot is not None:
            ended.append(self._of_shot(event.t))
        self._shot, self._count = (event.shot, event.t), 0
        return ended

    def _of_shot(self, end: float) -> Segment:
        assert self._shot is not None
        number, begun = self._shot
        return Segment(begun, end, None, f"shot {number}", 1.0, self._count, "shot")


def _strong(other: Mapping[str, float] | UnsetType) -> tuple[str, Mapping[str, float]] | None:
    """The further category that has more than all other classes together, and the shares of all; None without one."""
    if not other:
        return None
    name = max(other, key=lambda one: other[one])
    return (name, other) if other[name] >= LEAST_OTHER else None


def median(numbers: Sequence[float]) -> float:
    """The median of a few numbers, one at least; `statistics.median` takes five times as long."""
    ordered, half = sorted(numbers), len(numbers) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


class _Pace:
    """The usual step from one time to the next, of the newest few; `end` is the end of the last."""

    def __init__(self, first: float = 0.0) -> None:
        self._first = first
        self._last: float | None = None
        self._steps: deque[float] = deque(maxlen=PACE_STEPS)
        self.end = 0.0

    def step(self, t: float) -> float:
        if self._last is not None and t > self._last:
            self._steps.append(t - self._last)
        self._last = t
        pace = median(self._steps) if self._steps else self._first
        self.end = t + pace
        return pace


class _Sums:
    """Frames so far: the first and the last one, and sums and largest values of each label's probability."""

    def __init__(self, label: str, t: float) -> None:
        self.label, self.start, self.end, self.frames = label, t, t, 0
        self._sums: dict[str, float] = {}
        self._peaks: dict[str, float] = {}

    def add(self, end: float, probabilities: Mapping[str, float]) -> None:
        self.end = end
        self.frames += 1
        sums, peaks = self._sums, self._peaks
        for label, probability in probabilities.items():
            sums[label] = sums.get(label, 0.0) + probability
            if probability > peaks.setdefault(label, 0.0):
                peaks[label] = probability

    def merge(self, other: _Sums) -> None:
        """Take the frames of a later stretch."""
        self.end = max(self.end, other.end)
        self.frames += other.frames
        for label, total in other._sums.items():
            self._sums[label] = self._sums.get(label, 0.0) + total
            self._peaks[label] = max(self._peaks.get(label, 0.0), other._peaks[label])

    def segment(self, key: _Key) -> Segment:
        kind, track, channel = key
        emotion = kind in ("face", "voice", "other")
        mean = self._sums.get(self.label, 0.0) / self.frames if emotion else 1.0
        peak = self._peaks.get(self.label, 0.0) if emotion else 1.0
        return Segment(self.start, self.end, track, self.label, mean, self.frames, kind, peak, channel)


class _Line:
    """The course of labels of one face or voice.

    A label that has held for `hold_s` ends the one before, from where it began; if that one was shorter itself, it is
    taken over with it. Until then its frames count with the one before.
    """

    def __init__(self, key: _Key, hold_s: float) -> None:
        self._key, self._hold_s = key, hold_s
        self._gap_s = TURN_GAP_S if key[0] == "turn" else GAP_S
        self._held: _Sums | None = None
        self._next: _Sums | None = None
        self._pace = 0.0

    @property
    def open(self) -> bool:
        """Whether a segment has begun."""
        return self._held is not None

    def add(self, t: float, pace: float, label: str, probabilities: Mapping[str, float]) -> list[Segment]:
        """Take the label at `t`, which counts for `pace` seconds."""
        ended = self.wait(t)
        self._pace = pace
        if self._held is None:
            self._held = _Sums(label, t)
        if label == self._held.label:
            if self._next is not None:
                self._held.merge(self._next)
                self._next = None
            self._held.add(t + pace, probabilities)
            return ended
        if self._next is None or self._next.label != label:
            if self._next is not None:
                self._held.merge(self._next)
            self._next = _Sums(label, t)
        self._next.add(t + pace, probabilities)
        # With a hair's breadth, since times are sums of steps.
        if self._next.end - self._next.start >= self._hold_s - 1e-6:
            ended += self._change()
        return ended

    def _change(self) -> list[Segment]:
        held, following = self._held, self._next
        assert held is not None
        assert following is not None
        self._held, self._next = following, None
        if following.start - held.start >= self._hold_s - 1e-6:
            held.end = min(held.end, following.start)
            return [held.segment(self._key)]
        held.label = following.label
        held.merge(following)
        self._held = held
        return []

    def wait(self, t: float) -> list[Segment]:
        """It is missing at `t`: end the segment where that lasts too long."""
        if self._held is None:
            return []
        newest = max(self._held.end, self._next.end if self._next is not None else 0.0)
        return self.end() if t - newest > max(self._gap_s, (GAP_FRAMES - 1) * self._pace) - 1e-6 else []

    def end(self) -> list[Segment]:
        """End what is open."""
        held, following = self._held, self._next
        self._held = self._next = None
        if held is None:
            return []
        if following is not None:
            held.merge(following)
        return [held.segment(self._key)]
