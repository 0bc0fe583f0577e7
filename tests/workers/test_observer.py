"""Frames and events come together, in order, and nothing waits for ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.broker.events import Emotion, Latency, Verdict
from bimodal.broker.frames import Ring
from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Body, Hello, Job, StreamClosed, Welcome
from bimodal.broker.sockets import make_private
from bimodal.workers.observer import Pairing, Pixels, Watched, Watcher
from tests.broker.making import job, opened
from tests.broker.test_process import Running

PATIENCE_S = 20.0


def event(stream: str, seq: int, run: int = 1) -> Emotion:
    return Emotion(
        stream=stream,
        seq=seq,
        run=run,
        t=seq * 0.04,
        faces=(),
        speech=None,
        emotion=Verdict(label=None, confidence=None, because="no face, no voice"),
        latency_ms=Latency(queue=0, inference=0, total=0),
        models={},
    )


def numbered(job: Job) -> Pixels:
    return np.full((2, 2, 3), job.run * 50 + job.seq, np.uint8)


def number_of(watched: Watched | None) -> int | None:
    assert watched is not None
    return None if watched.pixels is None else int(watched.pixels[0, 0, 0])


def test_an_event_comes_with_its_own_frame() -> None:
    pairing = Pairing(numbered)
    for seq in range(3):
        assert pairing.take(job("a", seq)) is None
    found = pairing.take(event("a", 1))
    assert found is not None
    assert (found.stream, found.seq, found.pts_ns, number_of(found)) == ("a", 1, 40_000_000, 51)
    # The frame before it was passed over: its event will not come, and if it did it would be without pixels.
    assert pairing.waiting == 1
    assert number_of(pairing.take(event("a", 2))) == 52


def test_an_event_without_a_frame_has_the_time_of_its_own() -> None:
    found = Pairing(numbered).take(event("radio", 5))
    assert found is not None
    assert (found.pts_ns, found.pixels) == (200_000_000, None)


def test_a_new_run_forgets_the_old_one_and_old_ones_are_ignored() -> None:
    pairing = Pairing(numbered)
    pairing.take(job("a", 0, run=1))
    pairing.take(job("a", 0, run=2))
    assert pairing.waiting == 1
    assert pairing.take(event("a", 0, run=1)) is None
    assert number_of(pairing.take(event("a", 0, run=2))) == 100


def test_a_stream_that_was_taken_out_and_put_back_begins_with_a_lower_run() -> None:
    pairing = Pairing(numbered)
    pairing.take(job("a", 7, run=3))
    pairing.take(opened("a", "latest", run=1))
    pairing.take(job("a", 0, run=1))
    assert number_of(pairing.take(event("a", 0, run=1))) == 50


def test_a_stream_that_has_ended_holds_nothing() -> None:
    pairing = Pairing(numbered)
    pairing.take(job("a", 0))
    pairing.take(StreamClosed(stream="a", run=1))
    assert pairing.waiting == 0


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40), st.booleans()), max_size=200))
def test_whatever_comes_pixels_fit_their_event_and_few_frames_wait(steps: list[tuple[str, int, bool]]) -> None:
    pairing = Pairing(numbered, most_waiting=4)
    for stream, seq, is_event in steps:
        found = pairing.take(event(stream, seq) if is_event else job(stream, seq))
        assert (found is not None) == is_event
        if found is not None:
            assert number_of(found) in (None, 50 + seq)
        assert pairing.waiting <= 8


# ------------------------------------------------------------------------------------ on a real bus


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    place = tmp_path / "s"
    make_private(place)
    return place


@pytest.fixture
def capture(directory: Path) -> Iterator[Mailbox]:
    """The mailbox of a capture at a real broker."""
    broker = Running(directory)
    box = Mailbox(directory, "capture a", 1, Hello(role="capture"))
    assert isinstance(box.receive(PATIENCE_S), Welcome)
    yield box
    box.close()
    broker.stop()


def announced(watcher: Watcher, capture: Mailbox, told: list[Body]) -> None:
    """The stream "a" is open, and the watcher has heard of it: its subscription is up."""
    while not told:
        capture.send(opened("a", "latest"))
        assert watcher.receive(0.1) is None


def offered(ring: Ring, seq: int) -> Job:
    pixels = np.full((4, 6, 3), 10 + seq, np.uint8)
    generation = ring.write(seq % ring.slots, pixels)
    return Job(
        stream="a", run=1, modality="face", seq=seq, pts_ns=seq * 40_000_000, grab_ns=0, ring=ring.name,
        slot=seq % ring.slots, generation=generation, shape=pixels.shape,
    )  # fmt: skip


def test_pixels_are_taken_out_of_their_slot_before_it_is_overwritten(
    directory: Path, tmp_path: Path, capture: Mailbox
) -> None:
    told: list[Body] = []
    watcher = Watcher(directory, tmp_path, told=told.append)
    announced(watcher, capture, told)
    ring = Ring(tmp_path, "a.1.face.0", 2, 72)
    overwritten = offered(ring, 0)
    capture.send(offered(ring, 1))
    offered(ring, 2)  # lies in the slot of frame 0 now
    capture.send(overwritten)
    capture.send(event("a", 0))
    capture.send(event("a", 1))
    found = watcher.receive(PATIENCE_S)
    assert found is not None
    assert (found.seq, number_of(found)) == (0, None)
    offered(ring, 3)  # ours is a copy
    found = watcher.receive(PATIENCE_S)
    assert found is not None
    assert found.pixels is not None
    assert found.pixels.shape == (4, 6, 3)
    assert (found.seq, number_of(found)) == (1, 11)
    watcher.close()


@pytest.mark.parametrize("switch", ["all", "streams"])
def test_no_pixel_is_copied_where_nobody_wants_them(
    directory: Path, tmp_path: Path, capture: Mailbox, switch: str
) -> None:
    told: list[Body] = []
    watcher = Watcher(directory, tmp_path, told=told.append)
    if switch == "all":
        watcher.wants_pixels = False
    else:
        watcher.pixels_of = {"b"}
    announced(watcher, capture, told)
    capture.send(offered(Ring(tmp_path, "a.1.face.0", 2, 72), 0))
    capture.send(event("a", 0))
    found = watcher.receive(PATIENCE_S)
    assert found is not None
    assert found.pixels is None
    watcher.close()


def test_only_the_streams_asked_for_are_watched(directory: Path, tmp_path: Path, capture: Mailbox) -> None:
    told: list[Body] = []
    watcher = Watcher(directory, tmp_path, streams=["a"], told=told.append)
    announced(watcher, capture, told)
    capture.send(opened("ab", "latest"))
    capture.send(event("ab", 0))
    capture.send(event("a", 0))
    found = watcher.receive(PATIENCE_S)
    assert found is not None
    assert found.stream == "a"
    watcher.close()
