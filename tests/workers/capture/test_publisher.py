"""Where readers put what they read: slots, credits and jobs."""

from __future__ import annotations

import shutil
import threading
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from bimodal.broker.errors import RingGoneError
from bimodal.broker.frames import RingReader
from bimodal.broker.messages import Body, Job, Policy
from bimodal.workers.capture.publisher import JobPublisher

Usage = namedtuple("Usage", "total used free")


class Wire:
    """Keeps what is sent; stands where the line to the broker is."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.sent = threading.Condition()

    def send(self, body: Body) -> None:
        assert isinstance(body, Job)
        with self.sent:
            self.jobs.append(body)
            self.sent.notify_all()


def publisher(folder: Path, policy: Policy, wire: Wire, budget: int = 4 * 4096) -> JobPublisher:
    return JobPublisher(wire, folder, "film", 7, "face", policy, budget)  # type: ignore[arg-type]


def picture(value: int, side: int = 16) -> np.ndarray:
    return np.full((side, side, 3), value, np.uint8)


def test_a_job_names_where_its_picture_lies(tmp_path: Path) -> None:
    wire = Wire()
    out = publisher(tmp_path, "every", wire)
    for number in range(3):
        assert out.put(picture(number), pts_ns=number * 10, grab_ns=number)
    assert [job.seq for job in wire.jobs] == [0, 1, 2]
    for number, job in enumerate(wire.jobs):
        assert (job.stream, job.run, job.pts_ns, job.shape) == ("film", 7, number * 10, (16, 16, 3))
        assert RingReader(tmp_path / job.ring).view(job).max() == number
    out.close()
    assert list(tmp_path.iterdir()) == []


def test_under_every_a_slot_is_written_again_only_after_its_release(tmp_path: Path) -> None:
    wire = Wire()
    out = publisher(tmp_path, "every", wire)
    for number in range(4):
        out.put(picture(number), pts_ns=number, grab_ns=0)
    writer = threading.Thread(target=lambda: out.put(picture(9), pts_ns=9, grab_ns=0))
    writer.start()
    out.release([2])
    out.release([2])
    writer.join(10)
    assert not writer.is_alive()
    assert wire.jobs[4].slot == wire.jobs[2].slot
    assert not RingReader(tmp_path / wire.jobs[2].ring).holds(wire.jobs[2])


def test_under_latest_a_writer_never_waits_and_overwrites_the_oldest(tmp_path: Path) -> None:
    wire = Wire()
    out = publisher(tmp_path, "latest", wire)
    for number in range(10):
        out.put(picture(number), pts_ns=number, grab_ns=0)
    reader = RingReader(tmp_path / wire.jobs[0].ring)
    assert [reader.holds(job) for job in wire.jobs] == [False] * 6 + [True] * 4


def test_a_stop_wakes_a_writer_that_waits(tmp_path: Path) -> None:
    wire = Wire()
    out = publisher(tmp_path, "every", wire)
    for number in range(4):
        out.put(picture(number), pts_ns=number, grab_ns=0)
    answers: list[bool] = []
    writer = threading.Thread(target=lambda: answers.append(out.put(picture(9), pts_ns=9, grab_ns=0)))
    writer.start()
    out.stop()
    writer.join(10)
    assert answers == [False]


def test_pictures_that_grow_get_a_ring_of_their_size(tmp_path: Path) -> None:
    wire = Wire()
    out = publisher(tmp_path, "every", wire)
    out.put(picture(1), pts_ns=0, grab_ns=0)
    out.put(picture(2, side=64), pts_ns=1, grab_ns=0)
    out.put(picture(3), pts_ns=2, grab_ns=0)
    assert len({job.ring for job in wire.jobs}) == 2
    assert [RingReader(tmp_path / job.ring).view(job).max() for job in wire.jobs] == [1, 2, 3]
    # The credit of a slot in the old ring must not free one in the new.
    out.release([0])
    out.close()


def test_little_shared_memory_means_fewer_slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 3 * 8 * 4096))
    wire = Wire()
    out = publisher(tmp_path, "latest", wire, budget=1000 * 4096)
    out.put(picture(0), pts_ns=0, grab_ns=0)
    assert RingReader(tmp_path / wire.jobs[0].ring).slots == 8


def test_a_source_that_grows_by_a_little_each_time_leaves_few_rings(tmp_path: Path) -> None:
    wire = Wire()
    out = publisher(tmp_path, "latest", wire)
    for side in range(64, 256):
        out.put(picture(1, side), pts_ns=side, grab_ns=0)
    assert len({job.ring for job in wire.jobs}) < 10
    assert RingReader(tmp_path / wire.jobs[-1].ring).view(wire.jobs[-1]).shape == (255, 255, 3)
    out.close()
    assert list(tmp_path.iterdir()) == []


def test_slots_that_were_removed_are_made_anew_for_a_live_stream(tmp_path: Path) -> None:
    wire = Wire()
    out = publisher(tmp_path, "latest", wire)
    out.put(picture(1), pts_ns=0, grab_ns=0)
    (tmp_path / wire.jobs[0].ring).unlink()
    assert out.lost
    out.put(picture(2), pts_ns=1, grab_ns=1)
    assert wire.jobs[1].ring != wire.jobs[0].ring
    assert RingReader(tmp_path / wire.jobs[1].ring).view(wire.jobs[1]).max() == 2
    assert len(out._rings) == 1, "the memory of the old one is not kept"
    shutil.rmtree(tmp_path)
    with pytest.raises(RingGoneError, match="was removed"):
        out.put(picture(3), pts_ns=2, grab_ns=2)
    tmp_path.mkdir()
    assert out.put(picture(4), pts_ns=3, grab_ns=3), "it goes on once there is a folder again"


def test_slots_of_a_file_that_were_removed_are_said_to_be_lost(tmp_path: Path) -> None:
    wire = Wire()
    out = publisher(tmp_path, "every", wire)
    out.put(picture(1), pts_ns=0, grab_ns=0)
    assert not out.lost
    (tmp_path / wire.jobs[0].ring).unlink()
    with pytest.raises(RingGoneError, match="was removed"):
        out.put(picture(2), pts_ns=1, grab_ns=1)
    assert out.lost, "the file must be started again: what is leased could not be read"
