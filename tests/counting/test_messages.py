"""Messages of the router per frame, counted: one more is a wake-up of two processes in every frame."""

from __future__ import annotations

from collections import Counter, deque

from bimodal.broker.events import Emotion, Latency, Verdict
from bimodal.broker.lanes import BUNDLE
from bimodal.broker.messages import Ack, Assignment, Body, Delivery, FaceResult, Hello, Ready
from bimodal.broker.router import Out, Router, Send
from tests.broker.making import job, opened

FRAMES = 64


class System:
    """A router and actors that answer at once; `sent` counts messages to actors, `received` those from them."""

    def __init__(self) -> None:
        self.router = Router()
        self.sent: Counter[str] = Counter()
        self.published: Counter[str] = Counter()
        self.received = 0
        self.inbox: deque[Body] = deque()
        self.join("capture", Hello(role="capture"))
        self.join("fusion", Hello(role="fusion"))
        self.join("face 1", Hello(role="worker", modality="face"))
        self.receive("face 1", Ready())
        self.inbox.clear()
        self.sent.clear()

    def join(self, name: str, hello: Hello) -> None:
        _, out = self.router.hello(name, 1, hello, 0)
        self.deliver(out)

    def receive(self, sender: str, body: Body) -> None:
        self.received += 1
        self.deliver(self.router.handle(sender, body, 0))

    def deliver(self, out: list[Out]) -> None:
        for item in out:
            if not isinstance(item, Send):
                self.published[type(item.body).__name__] += 1
                continue
            self.sent[type(item.body).__name__] += 1
            self.inbox.append(item.body)

    def work(self) -> None:
        """Answer all messages, until there are none."""
        while self.inbox:
            self.answer(self.inbox.popleft())
            if not self.inbox:
                self.deliver(self.router.tick(0))

    def answer(self, body: Body) -> None:
        if isinstance(body, Assignment):
            found = FaceResult(
                number=body.number, stream=body.job.stream, run=1, seq=body.job.seq, pts_ns=body.job.pts_ns,
                grab_ns=0, faces=(), queue_ns=0, inference_ns=0,
            )  # fmt: skip
            self.receive("face 1", found)
        elif isinstance(body, Delivery):
            self.receive("fusion", Ack(number=body.number))
            if isinstance(body.message, FaceResult):
                self.receive("fusion", event(body.message.stream, body.message.seq))


def event(stream: str, seq: int) -> Emotion:
    verdict = Verdict(label=None, confidence=None, because="no face")
    return Emotion(
        stream=stream, run=1, seq=seq, t=0.0, faces=(), speech=None, emotion=verdict, models={},
        latency_ms=Latency(queue=0, inference=0, total=0),
    )  # fmt: skip


def test_a_live_frame_is_one_assignment_one_result_and_one_event() -> None:
    system = System()
    system.receive("capture", opened("desk", "latest", has_sound=False))
    system.work()
    system.sent.clear()
    system.published.clear()
    system.received = 0
    for seq in range(FRAMES):
        system.receive("capture", job("desk", seq))
        system.work()
    assert system.sent == {"Assignment": FRAMES, "Delivery": FRAMES}
    assert system.published == {"Job": FRAMES, "Emotion": FRAMES}
    assert system.received == 4 * FRAMES, "the job, the worker's answer, fusion's acknowledgement and its event"


def test_frames_of_a_file_give_their_slots_back_in_bundles() -> None:
    system = System()
    system.receive("capture", opened("film", "every", has_sound=False))
    system.sent.clear()
    for seq in range(FRAMES):
        system.receive("capture", job("film", seq))
    system.work()
    assert system.sent["Assignment"] == system.sent["Delivery"] == FRAMES
    # Near the end, where few frames wait, nobody is kept waiting for a bundle.
    assert system.sent["Release"] <= FRAMES / BUNDLE + 2 * BUNDLE
    assert system.published["Emotion"] == FRAMES
