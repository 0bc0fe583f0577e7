"""A ring of slots that somebody else made, and jobs that point anywhere: SlotError, or data of the right shape."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from bimodal.broker.errors import MessageError, SlotError
from bimodal.broker.frames import RingCache
from bimodal.broker.messages import Job, decode, seal
from bimodal.broker.remote_mailbox import ReceivedData
from tests.fuzz.bodies import Bytes, body


def seeds() -> list[bytes]:
    """A ring of one slot, and a job."""
    ring = b"bimodal1" + (1).to_bytes(8, "little") + (4096).to_bytes(8, "little")
    return [bytes(39) + b"\xc0" + ring, b"\x01" * 40 + ring, bytes(range(40))]


def one(data: bytes) -> None:
    """The first forty bytes make the job, the rest the file."""
    try:
        job = decode(seal(body(Bytes(data[:40]), Job), epoch=1, sender="x", incarnation=1)).body  # type: ignore[arg-type]
    except (MessageError, OverflowError):
        return
    assert isinstance(job, Job)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        if job.ring and "/" not in job.ring:
            with contextlib.suppress(OSError, ValueError), (Path(folder) / job.ring).open("wb") as file:
                file.write(data[40:])
                file.truncate(data[39] * 64 if len(data) > 39 else 0)
        delivered = ReceivedData()
        delivered.put(job, data[40:])
        with contextlib.suppress(SlotError):
            delivered.view(job)
        try:
            reader = RingCache(Path(folder)).reader(job.ring)
            assert reader.view(job).shape == job.shape
        except SlotError:
            pass


if __name__ == "__main__":
    from tests.fuzz.running import run

    run("slots", ["bimodal.broker"])
