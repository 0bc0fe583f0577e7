"""The first seconds after a change of the config: does it still work as well as before? Pure but for reading children.

What could not be tried beforehand (a page that can't be served, a model that fails after a while) shows only then. A
regression rolls the system back to the last good config.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bimodal.broker.messages import Modality, StreamStatus

WATCHED_S = 30.0
# A share is judged over so many seconds, and more where not so many jobs would have been done in them before the
# change (speech windows, snapshot cameras); below this part of what it was, it has fallen.
OVER_S, EXPECTED = 6.0, 5.0
FALLEN = 0.25
MOST_FAILED = 10
# So long a change is watched where a stream is too slow to be judged sooner.
LONGEST_S = 300.0
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
    """Watches a change for half a minute; longer where a slow stream can't be judged by then."""

    def __init__(self, shares: Mapping[Key, float], streams: Sequence[StreamStatus], now: float) -> None:
        """`shares`: part of the jobs that were done before the change, of the streams that it does not touch."""
        self._shares = {key: share for key, share in shares.items() if share >= FALLEN}
        self._began = now
        self._restarts = 0
        self._known: dict[Key, list[tuple[float, Counts]]] = {
            key: [(now, counts)] for key, counts in counts_of(streams).items()
        }
        self._unjudged = {key for key, known in self._known.items() if key in self._shares and known[0][1].offered}

    def over(self, now: float) -> bool:
        """True once it is watched no more."""
        return now - self._began > (LONGEST_S if self._unjudged else WATCHED_S)

    def regression(
        self, streams: Sequence[StreamStatus], failing: Mapping[str, str | None], now: float, restarts: int = 0
    ) -> str | None:
        """Why the change must be undone, in one sentence; None while all goes well.

        `failing`: the processes that have failed since, with their reasons; `restarts`: starts of all processes so far.
        """
        if now - self._began <= WATCHED_S:
            for name, reason in failing.items():
                return f"{name} failed after it: {reason}"
        if restarts != self._restarts:
            # What a process that ended has cost is no fault of the change.
            self._restarts = restarts
            self._known.clear()
        newest = counts_of(streams)
        self._unjudged &= newest.keys()
        return next(filter(None, (self._of(key, counts, now) for key, counts in newest.items())), None)

    def _of(self, key: Key, last: Counts, now: float) -> str | None:
        """Why one stream's counters are a regression; after half a minute, of those that were not judged yet."""
        if now - self._began > WATCHED_S and key not in self._unjudged:
            return None
        share = self._shares.get(key)
        known = self._known.setdefault(key, [])
        if known and any(after < before for after, before in zip(last, known[-1][1], strict=True)):
            known.clear()  # a stream that began anew
        known.append((now, last))
        while (
            len(known) > 2 and now - known[1][0] >= OVER_S and self._suffice(last.offered - known[1][1].offered, share)
        ):
            known.pop(0)
        began, first = known[0]
        offered, done, failed = (after - before for after, before in zip(last, first, strict=True))
        if failed >= MOST_FAILED and failed > done:
            return f"{failed} of {failed + done} jobs of {key[0]} failed after it"
        if share is None or now - began < OVER_S or not self._suffice(offered, share):
            return None
        self._unjudged.discard(key)
        if done / offered < FALLEN * share:
            return f"after it {done / offered:.0%} of the jobs of {key[0]} were done, and {share:.0%} before"
        return None

    @staticmethod
    def _suffice(offered: int, share: float | None) -> bool:
        """True where so many jobs are enough to judge by; without a known share, by failures alone."""
        return offered * share >= EXPECTED if share is not None else offered > MOST_FAILED
