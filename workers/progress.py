"""Whether results come out of a stream, judged by its counters of the last seconds. Pure.

A process that is ready says nothing about results: workers may answer that the shared memory is gone, or that every
frame fails. What counts is the number of jobs done against the number offered. `now` is seconds of one monotonic clock.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import NamedTuple

from bimodal.broker.messages import Modality, Status, StreamStatus

# The window, how much of it must be covered by counters, and how many jobs it must hold, before it is judged. Of a slow
# stream (a snapshot camera) it reaches further back, until it holds so many jobs.
WINDOW_S, COVERED_S, FEWEST = 6.0, 4.0, 5
LONGEST_S = 600.0
# Less than this share of the jobs done is a trouble: the machine is hopelessly overloaded, or something is broken.
FLOOR = 0.05
# Jobs that wait while none is done for so long are stuck.
STUCK_S = 30.0
NOUNS: dict[Modality, str] = {"face": "frames", "speech": "speech windows"}
CAUSES = {
    "replaced": "replaced by newer ones",
    "late": "not answered in time",
    "lost": "lost with their worker",
    "overwritten": "overwritten before they were read",
    "removed": "their shared memory was removed",
}


class _Counters(NamedTuple):
    at: float
    offered: int
    done: int
    failed: int
    reasons: dict[str, int]


class _Lane:
    """The counters of one stream and modality."""

    def __init__(self) -> None:
        self._known: deque[_Counters] = deque()
        self._moved_at: float | None = None
        self._open = 0

    def add(self, found: _Counters, dropped: int) -> None:
        newest = self._known[-1] if self._known else None
        if newest is not None and found.offered < newest.offered:
            self._known.clear()  # another run, or another broker
            newest = None
        self._open = found.offered - found.done - found.failed - dropped
        if newest is None or not self._open or found.done + found.failed > newest.done + newest.failed:
            self._moved_at = found.at
        if len(self._known) > 1 and found[1:] == self._known[-1][1:] == self._known[-2][1:]:
            self._known.pop()  # nothing has happened since
        self._known.append(found)
        while (age_s := found.at - self._known[0].at) > WINDOW_S:
            if found.offered - self._known[1].offered < FEWEST and age_s <= LONGEST_S:
                break
            self._known.popleft()

    def clear(self) -> None:
        self._known.clear()
        self._moved_at = None

    def share(self) -> float | None:
        """Share of the jobs of the window that were done; None where there is too little to judge."""
        if not self._known or self._known[-1].at - self._known[0].at < COVERED_S:
            return None
        offered = self._known[-1].offered - self._known[0].offered
        # Jobs that were offered before may be done within the window.
        return min(1.0, (self._known[-1].done - self._known[0].done) / offered) if offered >= FEWEST else None

    def trouble(self, modality: Modality, now: float) -> str | None:
        noun = NOUNS[modality]
        share = self.share()
        if share is not None and share < FLOOR:
            first, last = self._known[0], self._known[-1]
            done, offered = last.done - first.done, last.offered - first.offered
            return f"only {done} of the last {offered} {noun} were analysed ({self._why()})"
        if self._open > 0 and self._moved_at is not None and now - self._moved_at > STUCK_S:
            return f"{self._open} {noun} wait, and none was done for {now - self._moved_at:.0f} s"
        return None

    def _why(self) -> str:
        first, last = self._known[0], self._known[-1]
        more = Counter({cause: count - first.reasons.get(cause, 0) for cause, count in last.reasons.items()})
        more["failed"] = last.failed - first.failed
        cause, count = max(more.items(), key=lambda item: item[1])
        if not count:
            return "no worker has answered"
        return f"{count} failed; the log says why" if cause == "failed" else f"{count} {CAUSES.get(cause, cause)}"


class Progress:
    """The progress of all streams, from the broker's counters, which come once a second."""

    def __init__(self) -> None:
        self._lanes: dict[tuple[str, Modality], _Lane] = {}

    def on_counters(self, streams: tuple[StreamStatus, ...], workers: dict[str, int] | None, now: float) -> None:
        """Take the counters. While no worker of a modality is there (`workers`, None where unknown), nothing of it is
        judged: another sentence says so."""
        names = {stream.stream for stream in streams}
        self._lanes = {key: lane for key, lane in self._lanes.items() if key[0] in names}
        for stream in streams:
            for modality in NOUNS:
                lane = self._lanes.setdefault((stream.stream, modality), _Lane())
                if workers is not None and not workers.get(modality):
                    lane.clear()
                    continue
                offered, done, failed, dropped = (
                    getattr(stream, what).get(modality, 0) for what in ("offered", "done", "failed", "dropped")
                )
                lane.add(_Counters(now, offered, done, failed, stream.reasons.get(modality, {})), dropped)

    def on_status(self, status: Status, now: float) -> None:
        """Take the counters of a Status."""
        self.on_counters(status.streams, status.workers, now)

    def share(self, stream: str, modality: Modality = "face") -> float | None:
        """Share of the jobs offered in the last seconds that were done; None where there is too little to judge."""
        lane = self._lanes.get((stream, modality))
        return lane.share() if lane is not None else None

    def trouble(self, stream: str, now: float) -> str | None:
        """Why no results come out of a stream, in one sentence; None where they do."""
        found = [lane.trouble(key[1], now) for key, lane in self._lanes.items() if key[0] == stream]
        return "; ".join(text for text in found if text is not None) or None

    def stopped(self, now: float) -> dict[str, str]:
        """The streams of which nothing at all is done, with the sentence for each: not those that are merely slow."""
        found: dict[str, str] = {}
        for (stream, modality), lane in self._lanes.items():
            text = lane.trouble(modality, now)
            if text is not None and not lane.share():
                found[stream] = f"{found[stream]}; {text}" if stream in found else text
        return found

    def troubles(self, now: float) -> dict[str, str]:
        """The streams without results, with the sentence for each."""
        names = dict.fromkeys(stream for stream, _ in self._lanes)
        found = ((name, self.trouble(name, now)) for name in names)
        return {name: text for name, text in found if text is not None}
