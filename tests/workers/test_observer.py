"""An output is one class with `on_event`; frames and events come together, in order, and nothing waits for ever."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.broker.events import Emotion, Latency, Verdict
from bimodal.broker.frames import Ring
from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Body, Hello, Job, Status, StreamClosed, StreamOpened, Welcome
from bimodal.broker.sockets import make_private
from bimodal.workers.actor import ActorSettings
from bimodal.workers.observer import FramedEvent, FrameObserver, Observer, Pairing, Pixels
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


def number_of(framed: FramedEvent | None) -> int | None:
    assert framed is not None
    return None if framed.pixels is None else int(framed.pixels[0, 0, 0])


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


class Labels(Observer):
    """The least that an output needs."""

    read_s = 0.1

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        super().__init__(settings, mailbox)
        self.seen: list[int] = []

    def on_event(self, event: Emotion) -> None:
        self.seen.append(event.seq)


class Pictures(FrameObserver):
    """An output with pictures, and messages of one more topic."""

    topics = (*FrameObserver.topics, "status")
    read_s = 0.1

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        super().__init__(settings, mailbox)
        self.seen: list[FramedEvent] = []
        self.told: list[Body] = []
        self.wanted = True

    def wants_pixels(self, stream: str) -> bool:
        return self.wanted and stream == "a"

    def on_frame(self, framed: FramedEvent) -> None:
        self.seen.append(framed)

    def on_message(self, body: Body) -> None:
        self.told.append(body)


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


@pytest.fixture
def mailbox(directory: Path) -> Iterator[Mailbox]:
    box = Mailbox(directory, "output", 1, Hello(role="observer"))
    yield box
    box.close()


@pytest.fixture
def settings(directory: Path, tmp_path: Path) -> ActorSettings:
    return ActorSettings(name="output", incarnation=1, role="observer", directory=str(directory), slots=str(tmp_path))


def until(observer: Observer, done: Callable[[], object], again: Callable[[], None] = lambda: None) -> None:
    """Turn the loop of an observer until something has come; `again` is done before each turn."""
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end, "it does not come"
        again()
        observer.on_idle()


@pytest.fixture
def pictures(settings: ActorSettings, mailbox: Mailbox, capture: Mailbox) -> Iterator[Pictures]:
    """An observer that has heard of the stream "a": its subscription is up."""
    observer = Pictures(settings, mailbox)
    until(observer, lambda: observer.told, lambda: capture.send(opened("a", "latest")))
    yield observer
    observer.close()


def offered(ring: Ring, seq: int) -> Job:
    pixels = np.full((4, 6, 3), 10 + seq, np.uint8)
    generation = ring.write(seq % ring.slots, pixels)
    return Job(
        stream="a", run=1, modality="face", seq=seq, pts_ns=seq * 40_000_000, grab_ns=0, ring=ring.name,
        slot=seq % ring.slots, generation=generation, shape=pixels.shape,
    )  # fmt: skip


def test_an_output_is_one_class_with_on_event(settings: ActorSettings, mailbox: Mailbox, capture: Mailbox) -> None:
    output = Labels(settings, mailbox)
    capture.send(opened("a", "latest"))
    until(output, lambda: output.seen, lambda: capture.send(event("a", 0)))
    before = len(output.seen)
    for seq in range(1, 6):
        capture.send(event("a", seq))
    until(output, lambda: output.seen[-1] == 5)
    assert output.seen[before:][-5:] == [1, 2, 3, 4, 5]
    assert output.figures() == {"events": len(output.seen)}
    assert (output.degraded_reason(), output.finished(), output.models) == (None, None, {})
    output.on_connected()
    output.close()


def test_a_flood_does_not_keep_an_output_from_its_loop(
    settings: ActorSettings, mailbox: Mailbox, capture: Mailbox
) -> None:
    class Slow(Labels):
        def on_event(self, event: Emotion) -> None:
            super().on_event(event)
            time.sleep(0.02)

    output = Slow(settings, mailbox)
    capture.send(opened("a", "latest"))
    until(output, lambda: output.seen, lambda: capture.send(event("a", 0)))
    for seq in range(1, 101):
        capture.send(event("a", seq))
    begun = len(output.seen)
    time.sleep(0.2)
    output.on_idle()
    assert 0 < len(output.seen) - begun <= 20, "heartbeats and a stop are due between turns"
    output.close()


def test_pixels_are_taken_out_of_their_slot_before_it_is_overwritten(
    pictures: Pictures, tmp_path: Path, capture: Mailbox
) -> None:
    ring = Ring(tmp_path, "a.1.face.0", 2, 72)
    overwritten = offered(ring, 0)
    capture.send(offered(ring, 1))
    offered(ring, 2)  # lies in the slot of frame 0 now
    capture.send(overwritten)
    capture.send(event("a", 0))
    until(pictures, lambda: pictures.seen)
    offered(ring, 3)  # ours is a copy
    capture.send(event("a", 1))
    until(pictures, lambda: len(pictures.seen) == 2)
    first, second = pictures.seen
    assert (first.seq, number_of(first)) == (0, None)
    assert second.pixels is not None
    assert second.pixels.shape == (4, 6, 3)
    assert (second.seq, number_of(second)) == (1, 11)


def test_no_pixel_is_copied_where_nobody_wants_them(pictures: Pictures, tmp_path: Path, capture: Mailbox) -> None:
    pictures.wanted = False
    capture.send(offered(Ring(tmp_path, "a.1.face.0", 2, 72), 0))
    capture.send(event("a", 0))
    until(pictures, lambda: pictures.seen)
    assert pictures.seen[0].pixels is None
    assert pictures.seen[0].size == (6, 4)


def test_other_topics_go_to_on_message(pictures: Pictures, capture: Mailbox) -> None:
    capture.send(event("a", 0))
    until(pictures, lambda: pictures.seen and any(isinstance(body, Status) for body in pictures.told))
    assert {type(body) for body in pictures.told} == {StreamOpened, Status}
