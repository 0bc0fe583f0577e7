"""The first seconds after a change of the config: does it still work as well as before? Pure but for reading children.

What could not be tried beforehand (a page that can't be served, a model that fails after a while) shows only then. A
regression rolls the system back to the last good config.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bimodal.broker.messages import Modality, StreamStatus

WATCHED_S = 30.0
# A share is judged over so many seconds and at least so many frames; below this part of what it was, it has fallen.
OVER_S, FEWEST = 6.0, 20
FALLEN = 0.25
MODALITIES: tuple[Modality, ...] = ("face", "speech")


class Counts(NamedTuple):
    """Jobs of one stream and modality so far."""

    offered: int
    done: int
    failed: int


Key = tuple[str, Modality]


def counts_of(streams: Sequence[StreamStatus]) -> dict[Key, Counts]:
    """The counters of all streams."""
    return {
        (stream.stream, modality): Counts(
            stream.offered.get(modality, 0), stream.done.get(modality, 0), stream.failed.get(modality, 0)
        )
        for stream in streams
        for modality in MODALITIES
    }


class Probation:
    """Watches a change for half a minute."""

    def __init__(self, shares: Mapping[Key, float], streams: Sequence[StreamStatus], now: float) -> None:
        """`shares`: part of the jobs that were done before the change, of the streams that it does not touch."""
        self._shares = dict(shares)
        self._began = now
        self._restarts = 0
        self._known: list[tuple[float, dict[Key, Counts]]] = [(now, counts_of(streams))]

    def over(self, now: float) -> bool:
        """True once it is watched no more."""
        return now - self._began > WATCHED_S

    def regression(
        self, streams: Sequence[StreamStatus], failing: Mapping[str, str | None], now: float, restarts: int = 0
    ) -> str | None:
        """Why the change must be undone, in one sentence; None while all goes well.

        `failing`: the processes that have failed since, with their reasons; `restarts`: starts of all processes so far.
        """
        for name, reason in failing.items():
            return f"{name} failed after it: {reason}"
        newest = counts_of(streams)
        if restarts != self._restarts:
            # What a process that ended has cost is no fault of the change.
            self._restarts, self._known = restarts, []
        self._known.append((now, newest))
        while len(self._known) > 2 and now - self._known[1][0] >= OVER_S:
            self._known.pop(0)
        began, oldest = self._known[0]
        for key, last in newest.items():
            first = oldest.get(key)
            if first is None or any(after < before for after, before in zip(last, first, strict=True)):
                continue  # a stream that began anew
            offered, done, failed = (after - before for after, before in zip(last, first, strict=True))
            share = self._shares.get(key)
            if failed >= FEWEST // 2 and failed > done:
                return f"{failed} of {failed + done} jobs of {key[0]} failed after it"
            if share is None or now - began < OVER_S or offered < FEWEST or share < FALLEN:
                continue
            if done / offered < FALLEN * share:
                return f"after it {done / offered:.0%} of the jobs of {key[0]} were done, and {share:.0%} before"
        return None
