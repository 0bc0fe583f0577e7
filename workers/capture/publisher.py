"""Publishes jobs: writes data into a shared slot and sends the broker a Job."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bimodal.broker.errors import RingGoneError
from bimodal.broker.frames import Ring, SlotAllocator, slots_for
from bimodal.broker.mailbox import Sender
from bimodal.broker.messages import Job, Modality, Policy
from bimodal.broker.rings import ring_name
from bimodal.workers.capture.types import Placed


class JobPublisher:
    """The slots and the job counter of one modality in one run.

    One reader thread calls `put`; the actor's thread calls `release`. Under policy `every` a slot is reused only after
    its release, and `put` waits for one; under `latest` it never waits.

    Attributes:
        next_seq: sequence number of the next job; all before it were published.
        offered_ns: `pts_ns` of the newest job.
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
        self._made = 0
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
        size: tuple[int, int] | None = None,
        shot: int = 0,
    ) -> bool:
        """Write an array into a slot and publish it as a job.

        Args:
            largest: size in bytes for which slots are made, if larger than the array.
            size, shot: of a picture: its (width, height) as it is shown, and the number of its shot.

        Returns False if the publisher was stopped meanwhile. Raises SlotError if shared memory is full,
        RingGoneError if its folder was removed.
        """
        array = np.ascontiguousarray(array)
        ring, book = self._room(max(array.nbytes, largest))
        with self._freed:
            self._freed.wait_for(lambda: self._stopped or book.free > 0)
            slot = None if self._stopped else book.take()
            if slot is None:
                return False
            if self._leased:
                self._leases[self.next_seq] = (book, slot)
        generation = ring.write(slot, array)
        self._publish(
            Placed(ring.name, slot, generation),
            array.shape,
            pts_ns=pts_ns,
            grab_ns=grab_ns,
            rate=rate,
            fresh=fresh,
            size=size,
            shot=shot,
        )
        return True

    def put_placed(
        self, placed: Placed, shape: tuple[int, ...], *, pts_ns: int, grab_ns: int, size: tuple[int, int], shot: int = 0
    ) -> None:
        """Publish a picture that lies in a slot of somebody else's as a job, without a copy. Policy `latest` only."""
        self._publish(placed, shape, pts_ns=pts_ns, grab_ns=grab_ns, size=size, shot=shot)

    def _publish(
        self,
        placed: Placed,
        shape: tuple[int, ...],
        *,
        pts_ns: int,
        grab_ns: int,
        rate: int = 0,
        fresh: int = 0,
        size: tuple[int, int] | None,
        shot: int,
    ) -> None:
        seq, self.next_seq = self.next_seq, self.next_seq + 1
        self.offered_ns = pts_ns
        self._sender.send(
            Job(
                stream=self._stream,
                run=self._run,
                modality=self._modality,
                seq=seq,
                pts_ns=pts_ns,
                grab_ns=grab_ns,
                ring=placed.ring,
                slot=placed.slot,
                generation=placed.generation,
                shape=shape,
                rate=rate,
                fresh=fresh,
                size=size,
                shot=shot,
            )
        )

    @property
    def lost(self) -> bool:
        """True once the ring in use was removed by somebody, so that nobody new can read the jobs in it."""
        return bool(self._rings) and self._rings[-1].gone

    def _room(self, size: int) -> tuple[Ring, SlotAllocator]:
        """The ring for arrays of `size` bytes; new if pictures have grown or the last one was removed."""
        if self.lost:
            if self._leased:
                raise RingGoneError(f"the shared memory {self._rings[-1].path} was removed")
            # Nothing of a removed ring is kept: its memory would stay taken.
            self._rings.pop()
            self._allocator = None
        if self._allocator is None or not self._rings or size > self._rings[-1].slot_bytes:
            if not self._folder.is_dir():
                raise RingGoneError(f"the session's folder of shared memory, {self._folder}, was removed")
            # Several streams share a small /dev/shm (64 MB in a container): make fewer slots rather than fail.
            budget = min(self._budget_bytes, shutil.disk_usage(self._folder).free // 3)
            if self._rings and size > self._rings[-1].slot_bytes:
                # Grow by half at least: a source that grows pixel by pixel must not leave a ring behind each time.
                size = max(size, self._rings[-1].slot_bytes * 3 // 2)
            slots = slots_for(budget, size)
            name = ring_name(self._stream, self._run, self._modality, self._made)
            self._made += 1
            self._rings.append(Ring(self._folder, name, slots, size))
            self._allocator = SlotAllocator(slots, self._leased)
        return self._rings[-1], self._allocator

    def release(self, seqs: Iterable[int]) -> None:
        """Release the slots of settled jobs for reuse."""
        with self._freed:
            for seq in seqs:
                book, slot = self._leases.pop(seq, (None, 0))
                if book is not None:
                    book.release(slot)
            self._freed.notify_all()

    def stop(self) -> None:
        """Make `put` return False, also one that is waiting."""
        with self._freed:
            self._stopped = True
            self._freed.notify_all()

    def close(self) -> None:
        """Unlink the rings; the reader thread must have ended."""
        for ring in self._rings:
            ring.unlink()
