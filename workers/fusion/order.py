"""Restores the order of one modality's jobs. Workers answer in any order; every job is resolved exactly once."""

from __future__ import annotations

from typing import Generic, TypeVar

Outcome = TypeVar("Outcome")


class Lane(Generic[Outcome]):
    """The jobs of one stream, run and modality, counted from 0 and given out in that order.

    There are no timers: a job that will not come is reported as dropped, and until then everything after it waits.

    Attributes:
        next: the first job that is not yet resolved in order; all before it are.
        count: how many jobs there are in all, once that is known.
    """

    def __init__(self, next_seq: int = 0, limit: int | None = None) -> None:
        """`limit`: with more outcomes than this waiting, what they wait for counts as dropped; None: never."""
        self.next = max(0, next_seq)
        self.count: int | None = None
        self._limit = limit
        self._waiting: dict[int, Outcome | None] = {}

    @property
    def ended(self) -> bool:
        """Whether every job there will ever be is resolved."""
        return self.count is not None and self.next >= self.count

    @property
    def waiting(self) -> int:
        """How many outcomes wait for an earlier job."""
        return len(self._waiting)

    def awaits(self, seq: int) -> bool:
        """Whether this job is still to be resolved; False for duplicates and for what lies outside the run."""
        return seq >= self.next and seq not in self._waiting and (self.count is None or seq < self.count)

    def resolve(self, seq: int, outcome: Outcome | None) -> list[Outcome]:
        """One job's outcome, None where it was dropped. Returns all outcomes that are now in order.

        A duplicate changes nothing.
        """
        if not self.awaits(seq):
            return []
        self._waiting[seq] = outcome
        released = self._release()
        if self._limit is not None and len(self._waiting) > self._limit:
            self.next = min(self._waiting)
            released += self._release()
        return released

    def reconfigure(self, limit: int | None) -> None:
        """Go on with another limit; it counts from the next outcome on."""
        self._limit = limit

    def resume(self, next_seq: int) -> list[Outcome]:
        """Nothing before `next_seq` will come any more: what is missing counts as dropped."""
        released: list[Outcome] = []
        for seq in sorted(seq for seq in self._waiting if seq < next_seq):
            outcome = self._waiting.pop(seq)
            if outcome is not None:
                released.append(outcome)
        self.next = max(self.next, next_seq)
        return released + self._release()

    def end(self, count: int) -> None:
        """There are `count` jobs in all."""
        if self.count is None:
            self.count = count
            self._waiting = {seq: outcome for seq, outcome in self._waiting.items() if seq < count}

    def _release(self) -> list[Outcome]:
        released: list[Outcome] = []
        while self.next in self._waiting:
            outcome = self._waiting.pop(self.next)
            self.next += 1
            if outcome is not None:
                released.append(outcome)
        return released
