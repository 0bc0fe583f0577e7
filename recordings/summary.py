"""Summary of a recording, accumulated event by event. Pure."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TypeAlias

import msgspec

from bimodal.broker.events import Emotion, Hop, Size
from bimodal.broker.messages import StreamOpened
from bimodal.recordings.records import size_of

Shares: TypeAlias = dict[str, float]
DECIMALS = 4
APART = "tracks end at cuts, and nothing tells whether a person comes back: there is no identity model"


def kind_of_reason(reason: str) -> str:
    """Replace the numbers in a reason, so that "confidence 0.21 is below 0.3" is counted as one kind."""
    return re.sub(r"\d+(\.\d+)?(e-?\d+)?", "…", reason)


class TrackSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One tracked face from its first frame to its last; `share` and `dominant` refer to its own fused labels."""

    track: int
    frames: int
    first_t: float
    last_t: float
    dominant: str | None
    share: Shares


class LatencySummary(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds from grab to event over all frames; None if there are no frames."""

    mean: float | None
    largest: float | None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Content of NAME.summary.json; docs/events.md describes every field."""

    file: str
    stream: str
    frames: int
    frames_lost: int
    frames_with_face: int
    duration_s: float
    faces: int
    max_faces_at_once: int
    dominant: dict[str, str | None]
    share: dict[str, Shares]
    tracks: list[TrackSummary]
    because: dict[str, dict[str, int]]
    latency_ms: LatencySummary
    wall_s: float
    fps: float
    models: dict[str, str]
    size: Size | None = None
    hops: int = 0
    hops_failed: int = 0
    shots: int = 1
    people: str | None = None
    doubts: dict[str, dict[str, int]] = {}
    other: dict[str, float] | msgspec.UnsetType = msgspec.UNSET


class Labels:
    """Counts of labels, and sums of their confidences."""

    def __init__(self) -> None:
        self._frames: Counter[str] = Counter()
        self._confidence: defaultdict[str, float] = defaultdict(float)

    def add(self, label: str, confidence: float) -> None:
        self._frames[label] += 1
        self._confidence[label] += confidence

    @property
    def dominant(self) -> str | None:
        """The label with the largest sum of confidence over all frames, so that confident frames count more."""
        return max(self._confidence, key=lambda label: self._confidence[label], default=None)

    @property
    def share(self) -> Shares:
        """Share of each label among the frames that have one, the most frequent first; sums to 1, or is empty."""
        total = self._frames.total()
        return {label: round(count / total, DECIMALS) for label, count in self._frames.most_common()}


class Track:
    """Accumulated data of one tracked face."""

    def __init__(self, first_t: float) -> None:
        self.first_t = self.last_t = first_t
        self.frames = 0
        self.labels = Labels()

    def summary(self, track: int) -> TrackSummary:
        return TrackSummary(
            track=track,
            frames=self.frames,
            first_t=self.first_t,
            last_t=self.last_t,
            dominant=self.labels.dominant,
            share=self.labels.share,
        )


class Summarizer:
    """Accumulates a stream's events, in order; `summary` may be called at any time."""

    def __init__(self, opened: StreamOpened, source_file: str) -> None:
        self._opened = opened
        self._file = source_file
        self._frames = self._lost = self._with_face = self._most_faces = 0
        voices = max(1, len(opened.channels))
        self._next_seq = opened.next_face_seq if opened.has_picture else opened.next_speech_seq // voices
        self._shots = 1
        self._hops = self._hops_failed = 0
        self._hop_labels = Labels()
        self._hop_because: Counter[str] = Counter()
        self._doubts: dict[str, Counter[str]] = {"face": Counter(), "speech": Counter()}
        self._hop_doubts: Counter[str] = Counter()
        self._span: tuple[float, float] | None = None
        self._labels = {"video": Labels(), "speech": Labels(), "emotion": Labels()}
        self._because: dict[str, Counter[str]] = {"speech": Counter(), "emotion": Counter(), "failed": Counter()}
        self._tracks: dict[int, Track] = {}
        self._other: dict[str, tuple[float, int]] = {}
        self._latency_sum = self._latency_largest = 0.0
        self._models: dict[str, list[str]] = {}

    @property
    def frames(self) -> int:
        """The number of events added so far."""
        return self._frames

    @property
    def next_seq(self) -> int:
        """The next sequence number if no frame is lost; a lower one is out of order."""
        return self._next_seq

    def add(self, event: Emotion) -> None:
        """Add the next event. Its `seq` must not be below `next_seq`."""
        self._lost += event.seq - self._next_seq
        self._next_seq = event.seq + 1
        self._frames += 1
        self._shots = max(self._shots, event.shot + 1)
        self._span = (event.t if self._span is None else self._span[0], event.t)
        self._latency_sum += event.latency_ms.total
        self._latency_largest = max(self._latency_largest, event.latency_ms.total)
        if event.failed is not None:
            self._lost += 1
            self._because["failed"][kind_of_reason(event.failed)] += 1
        self._add_faces(event)
        self._add_speech_and_verdict(event)
        for kind, identity in event.models.items():
            used = self._models.setdefault(kind, [])
            if identity not in used:
                used.append(identity)

    def add_hop(self, hop: Hop) -> None:
        """Add a hop of the voice. Where there are any, the shares of speech count hops, each once."""
        self._hops += 1
        if hop.failed is not None:
            self._hops_failed += 1
            self._because["failed"][kind_of_reason(hop.failed)] += 1
        self._hop_doubts.update(hop.doubts)
        if hop.label is not None:
            self._hop_labels.add(hop.label, hop.confidence or 0.0)
        elif hop.because is not None:
            self._hop_because[kind_of_reason(hop.because)] += 1

    def _add_faces(self, event: Emotion) -> None:
        self._with_face += bool(event.faces)
        self._most_faces = max(self._most_faces, len(event.faces))
        for face in event.faces:
            self._doubts["face"].update(face.doubts)
            track = self._tracks.setdefault(face.track, Track(event.t))
            track.frames += 1
            track.last_t = event.t
            track.labels.add(face.label, face.confidence)
            if face.video:
                label = max(face.video, key=lambda emotion: face.video[emotion])
                self._labels["video"].add(label, face.video[label])

    def _add_speech_and_verdict(self, event: Emotion) -> None:
        speech, verdict = event.speech, event.emotion
        if speech is not None and speech.label is not None:
            self._doubts["speech"].update(speech.doubts)
            self._labels["speech"].add(speech.label, (speech.probabilities or {}).get(speech.label, 0.0))
        elif speech is not None and speech.because is not None:
            self._because["speech"][kind_of_reason(speech.because)] += 1
        for name, share in (verdict.other or {}).items():
            total, count = self._other.get(name, (0.0, 0))
            self._other[name] = total + share, count + 1
        if verdict.label is not None:
            self._labels["emotion"].add(verdict.label, verdict.confidence or 0.0)
        elif verdict.because is not None:
            self._because["emotion"][kind_of_reason(verdict.because)] += 1

    def summary(self, wall_s: float, frames_offered: int | None = None) -> Summary:
        """Return the summary of all events so far.

        Args:
            wall_s: seconds that the work has taken.
            frames_offered: number of frames that the stream had, if known: missing ones at the end count as lost.
        """
        counted = self._labels | ({"speech": self._hop_labels} if self._hops else {})
        reasons = self._because | ({"speech": self._hop_because} if self._hops else {})
        doubts = self._doubts | ({"speech": self._hop_doubts} if self._hops else {})
        missing = 0 if frames_offered is None else max(0, frames_offered - self._next_seq)
        return Summary(
            file=self._file,
            stream=self._opened.stream,
            frames=self._frames,
            frames_lost=self._lost + missing,
            frames_with_face=self._with_face,
            duration_s=round(self._duration_s(), DECIMALS),
            faces=len(self._tracks),
            max_faces_at_once=self._most_faces,
            dominant={what: labels.dominant for what, labels in counted.items()},
            share={what: labels.share for what, labels in counted.items()},
            tracks=[track.summary(number) for number, track in sorted(self._tracks.items())],
            because={what: dict(counter.most_common()) for what, counter in reasons.items()},
            latency_ms=self._latency(),
            wall_s=round(wall_s, DECIMALS),
            fps=round(self._frames / wall_s, DECIMALS) if wall_s > 0 else 0.0,
            models={kind: ", ".join(used) for kind, used in self._models.items()},
            size=size_of(self._opened),
            hops=self._hops,
            hops_failed=self._hops_failed,
            shots=self._shots,
            people=None if self._shots < 2 or "face-identity" in self._models else APART,
            doubts={what: dict(counter.most_common()) for what, counter in doubts.items()},
            other={name: round(total / count, DECIMALS) for name, (total, count) in self._other.items()}
            or msgspec.UNSET,
        )

    def _latency(self) -> LatencySummary:
        if self._frames == 0:
            return LatencySummary(mean=None, largest=None)
        mean = self._latency_sum / self._frames
        return LatencySummary(mean=round(mean, DECIMALS), largest=round(self._latency_largest, DECIMALS))

    def _duration_s(self) -> float:
        """The source's own duration if known, else the time from the first frame to the end of the last."""
        if self._opened.duration_ns is not None:
            return self._opened.duration_ns / 1e9
        if self._span is None:
            return 0.0
        if self._opened.has_picture:
            frame_s = 1.0 / self._opened.fps if self._opened.fps > 0 else 0.0
        else:
            frame_s = self._opened.hop_ns / 1e9
        return self._span[1] - self._span[0] + frame_s
