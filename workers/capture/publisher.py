"""Where a reader thread puts what it reads: a shared slot for the data, and a job for the broker."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bimodal.broker.frames import Ring, SlotAllocator, slots_for
from bimodal.broker.mailbox import Sender
from bimodal.broker.messages import Job, Modality, Policy
from bimodal.broker.rings import ring_name


class Outlet:
    """The slots and the job counter of one modality in one run.

    One reader thread calls `put`; the actor's own thread calls `release`. Under policy `every` a slot is written
    again only after its release, and `put` waits for one; under `latest` it never waits.

    Attributes:
        next_seq: of the job that comes next; all before it were offered.
        offered_ns: pts of the newest job.
    """

    def __init__(
        self, sender: Sender, folder: Path, stream: str, run: int, modality: Modality, policy: Policy, budget_bytes: int
    ) -> None:
        self.next_seq = 0
        self.offered_ns = 0
        self._sender = sender
        self._folder = folder
        self._stream, self._run, self._modality = stream, run, modality
        self._leased = policy == "every"
        self._budget_bytes = budget_bytes
        self._rings: list[Ring] = []
        self._allocator: SlotAllocator | None = None
        self._leases: dict[int, tuple[SlotAllocator, int]] = {}
        self._freed = threading.Condition()
        self._stopped = False

    def put(
        self,
        array: NDArray[Any],
        *,
        pts_ns: int,
        grab_ns: int,
        rate: int = 0,
        fresh: int = 0,
        largest: int = 0,
    ) -> bool:
        """Write an array into a slot and offer it as a job.

        Args:
            largest: bytes that an array of this stream may have; slots are made for it.

        Returns False where the outlet was stopped meanwhile. Raises SlotError where shared memory is full.
        """
        array = np.ascontiguousarray(array)
        ring, book = self._room(max(array.nbytes, largest))
        with self._freed:
            self._freed.wait_for(lambda: self._stopped or book.free > 0)
            slot = None if self._stopped else book.take()
            if slot is None:
                return False
            seq = self.next_seq
            if self._leased:
                self._leases[seq] = (book, slot)
        generation = ring.write(slot, array)
        self.next_seq = seq + 1
        self.offered_ns = pts_ns
        self._sender.send(
            Job(
                stream=self._stream,
                run=self._run,
                modality=self._modality,
                seq=seq,
                pts_ns=pts_ns,
                grab_ns=grab_ns,
                ring=ring.name,
                slot=slot,
                generation=generation,
                shape=array.shape,
                rate=rate,
                fresh=fresh,
            )
        )
        return True

    def _room(self, size: int) -> tuple[Ring, SlotAllocator]:
        """The ring for arrays of a size; a larger one where the source's pictures have grown."""
        if self._allocator is None or size > self._rings[-1].slot_bytes:
            # Small shared memory (64 MB in a container) is shared by several streams: fewer slots, not a failure.
            budget = min(self._budget_bytes, shutil.disk_usage(self._folder).free // 3)
            if self._rings:
                # By half at least: a source that grows by a pixel at a time must not leave a ring behind each time.
                size = max(size, self._rings[-1].slot_bytes * 3 // 2)
            slots = slots_for(budget, size)
            name = ring_name(self._stream, self._run, self._modality, len(self._rings))
            self._rings.append(Ring(self._folder, name, slots, size))
            self._allocator = SlotAllocator(slots, self._leased)
        return self._rings[-1], self._allocator

    def release(self, seqs: Iterable[int]) -> None:
        """The jobs `seqs` are settled: their slots may be written again."""
        with self._freed:
            for seq in seqs:
                book, slot = self._leases.pop(seq, (None, 0))
                if book is not None:
                    book.release(slot)
            self._freed.notify_all()

    def stop(self) -> None:
        """Let a waiting `put` return False, now and from now on."""
        with self._freed:
            self._stopped = True
            self._freed.notify_all()

    def close(self) -> None:
        """Unlink the rings; the reader thread must have ended."""
        for ring in self._rings:
            ring.unlink()
