"""Pixels and samples in shared memory: a ring of slots with generations, in files of our own under /dev/shm.

File layout (little endian): a page with magic, slot count and slot size, then the generations (uint64 a slot,
padded to a page), then the slots, each padded to a page. A generation is odd while its slot is being written
and even when it is whole; every write raises it by two. A job names slot and generation, so a reader that
checks the generation after it has read knows whether what it read was that job's data (a sequence lock).

Not multiprocessing.shared_memory: its tracker unlinks segments under live readers on Python < 3.13.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import struct
from collections import OrderedDict
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bimodal.broker.errors import RingGoneError, SlotError
from bimodal.broker.messages import MAX_DATA_BYTES, Job

MAGIC = b"bimodal1"
PAGE = 4096
_HEADER = struct.Struct("<8sQQ")


def _padded(size: int) -> int:
    return (size + PAGE - 1) // PAGE * PAGE


class Ring:
    """The writer's side: one process creates the ring, writes its slots and finally unlinks it."""

    def __init__(self, folder: Path, name: str, slots: int, slot_bytes: int) -> None:
        """Allocate the ring `folder/name`.

        Raises SlotError if there is not enough memory: a full tmpfs is found here, not by SIGBUS later.
        """
        self.name = name
        self.slots = slots
        self.slot_bytes = _padded(slot_bytes)
        self.path = folder / name
        table = _padded(8 * slots)
        size = PAGE + table + slots * self.slot_bytes
        self._map = _create(self.path, size)
        self._map[: _HEADER.size] = _HEADER.pack(MAGIC, slots, self.slot_bytes)
        self._generations = np.frombuffer(self._map, dtype=np.uint64, count=slots, offset=PAGE)
        self._data_offset = PAGE + table

    def begin(self, slot: int, shape: tuple[int, ...], dtype: Any = np.uint8) -> NDArray[Any]:
        """Mark a slot as being written, and return its memory as an array to write into; `end` completes it.

        Raises SlotError if the array does not fit.
        """
        size = prod(shape) * np.dtype(dtype).itemsize
        if size > self.slot_bytes:
            raise SlotError(f"{size} bytes do not fit a slot of {self.slot_bytes}")
        start = self._data_offset + slot * self.slot_bytes
        # Odd, also where an earlier write was never completed.
        self._generations[slot] += np.uint64(1 + self._generations[slot] % 2)
        return np.frombuffer(self._map, dtype=dtype, count=prod(shape), offset=start).reshape(shape)

    def end(self, slot: int) -> int:
        """Mark a slot as whole; return its new (even) generation."""
        self._generations[slot] += np.uint64(1)
        return int(self._generations[slot])

    def write(self, slot: int, array: NDArray[Any]) -> int:
        """Copy a C-contiguous array into a slot, once, and return the slot's new (even) generation."""
        np.copyto(self.begin(slot, array.shape, array.dtype), array)
        return self.end(slot)

    @property
    def gone(self) -> bool:
        """True once somebody has removed the file, so that new readers can't find it."""
        return not self.path.exists()

    def unlink(self) -> None:
        """Remove the file. Readers that have mapped it keep their view until they close it."""
        self.path.unlink(missing_ok=True)


class RingReader:
    """The reader's side: maps a ring read-only."""

    def __init__(self, path: Path) -> None:
        """Map the ring; raises SlotError if it is gone or the file is no ring."""
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError as error:
            raise RingGoneError(f"the shared memory {path} was removed") from error
        except (OSError, ValueError) as error:
            raise SlotError(f"the shared memory {path} can't be read: {error}") from error
        if len(self._map) < PAGE:
            raise SlotError(f"{path.name} is no ring of slots")
        magic, slots, slot_bytes = _HEADER.unpack_from(self._map)
        if magic != MAGIC or len(self._map) < PAGE + _padded(8 * slots) + slots * slot_bytes:
            raise SlotError(f"{path.name} is no ring of slots")
        self.slots, self.slot_bytes = int(slots), int(slot_bytes)
        self._generations = np.frombuffer(self._map, dtype=np.uint64, count=self.slots, offset=PAGE)
        self._data_offset = PAGE + _padded(8 * self.slots)

    @property
    def written(self) -> int:
        """The number of arrays written into the ring so far."""
        return int(self._generations.sum()) // 2

    def view(self, job: Job) -> NDArray[Any]:
        """The job's array, read-only and without a copy: uint8 pixels of a face job, float32 samples of speech.

        Raises SlotError if the slot already holds something else. Call `holds` again after use.
        """
        dtype = np.dtype(np.uint8 if job.modality == "face" else np.float32)
        size = prod(job.shape) * dtype.itemsize
        if min(job.shape, default=0) < 1:
            raise SlotError(f"{job.shape} is no shape of data")
        if not 0 <= job.slot < self.slots or size > self.slot_bytes or not self.holds(job):
            raise SlotError(f"slot {job.slot} was overwritten")
        start = self._data_offset + job.slot * self.slot_bytes
        return np.frombuffer(self._map, dtype=dtype, count=prod(job.shape), offset=start).reshape(job.shape)

    def holds(self, job: Job) -> bool:
        """True while the slot still holds the job's data."""
        return int(self._generations[job.slot]) == job.generation


class RingCache:
    """An LRU cache of the open rings of a reader, by name.

    A mapped ring takes memory even after its file is removed: whenever a new ring is opened, removed ones are closed.
    """

    def __init__(self, folder: Path, most: int = 64) -> None:
        self._folder = folder
        self._most = most
        self._open: OrderedDict[str, RingReader] = OrderedDict()

    def reader(self, name: str) -> RingReader:
        """Return the reader of a ring. Raises SlotError if the ring is gone or its name is no plain file name."""
        if name in self._open:
            self._open.move_to_end(name)
            return self._open[name]
        if "/" in name or name.startswith("."):
            raise SlotError(f"'{name}' is no ring name")
        for known in [known for known in self._open if not (self._folder / known).exists()]:
            del self._open[known]
        self._open[name] = RingReader(self._folder / name)
        while len(self._open) > self._most:
            self._open.popitem(last=False)
        return self._open[name]

    def copy(self, job: Job) -> bytes:
        """Copy the data of a job's slot, for a worker on another machine.

        Raises SlotError as `view`, and if the data is larger than MAX_DATA_BYTES or overwritten meanwhile.
        """
        reader = self.reader(job.ring)
        view = reader.view(job)
        if view.nbytes > MAX_DATA_BYTES:
            raise SlotError(f"{view.nbytes >> 20} MB are more than is sent to another machine")
        data = view.tobytes()
        if not reader.holds(job):
            raise SlotError(f"slot {job.slot} was overwritten while it was read")
        return data


class SlotAllocator:
    """Chooses the slot that is written next. Pure.

    `leased` (policy `every`): a slot is reused only after its release. Otherwise (policy `latest`) slots are
    overwritten in turn.
    """

    def __init__(self, slots: int, leased: bool) -> None:
        self._free = OrderedDict.fromkeys(range(slots))
        self._leased = leased

    @property
    def free(self) -> int:
        """The number of slots that can be taken without overwriting a leased one."""
        return len(self._free)

    def take(self) -> int | None:
        """Take the slot that was free longest; None if all are leased."""
        if not self._free:
            return None
        slot, _ = self._free.popitem(last=False)
        if not self._leased:
            self._free[slot] = None
        return slot

    def release(self, slot: int) -> None:
        """Return a leased slot; returning one twice changes nothing."""
        self._free.setdefault(slot)


def slots_for(budget_bytes: int, slot_bytes: int, fewest: int = 4, most: int = 32) -> int:
    """The number of slots of a size that fit a memory budget, at least `fewest` and at most `most`."""
    return max(fewest, min(most, budget_bytes // _padded(max(1, slot_bytes))))


def _create(path: Path, size: int) -> mmap.mmap:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileNotFoundError as error:
        raise RingGoneError(f"the session's folder of shared memory, {path.parent}, was removed") from error
    except OSError as error:
        raise SlotError(f"shared memory {path} can't be created: {error.strerror}") from error
    try:
        os.posix_fallocate(descriptor, 0, size)
        return mmap.mmap(descriptor, size)
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        if error.errno == errno.ENOSPC:
            raise SlotError(
                f"shared memory in {path.parent.parent} is full: {size / 2**20:.0f} MB are needed; "
                "free some, enlarge it, or lower capture.max_height or capture.memory_mb in config.yaml"
            ) from error
        raise SlotError(f"shared memory {path} can't be created: {error.strerror}") from error
    finally:
        os.close(descriptor)
