"""What a frame costs the post office in messages, counted: one more is a wake-up of two processes in every frame."""

from __future__ import annotations

from collections import Counter, deque

from bimodal.broker.events import Emotion, Latency, Verdict
from bimodal.broker.lanes import BUNDLE
from bimodal.broker.messages import Ack, Assignment, Body, Delivery, FaceResult, Hello, Ready
from bimodal.broker.router import Out, Post, PostOffice
from tests.broker.making import job, opened

FRAMES = 64


class Town:
    """A post office and those who answer at once; `posts` counts what is sent to actors, `heard` what they say."""

    def __init__(self) -> None:
        self.office = PostOffice()
        self.posts: Counter[str] = Counter()
        self.published: Counter[str] = Counter()
        self.heard = 0
        self.mail: deque[Body] = deque()
        self.join("capture", Hello(role="capture"))
        self.join("fusion", Hello(role="fusion"))
        self.join("face 1", Hello(role="worker", modality="face"))
        self.say("face 1", Ready())
        self.mail.clear()
        self.posts.clear()

    def join(self, name: str, hello: Hello) -> None:
        _, out = self.office.hello(name, 1, hello, 0)
        self.carry(out)

    def say(self, sender: str, body: Body) -> None:
        self.heard += 1
        self.carry(self.office.handle(sender, body, 0))

    def carry(self, out: list[Out]) -> None:
        for item in out:
            if not isinstance(item, Post):
                self.published[type(item.body).__name__] += 1
                continue
            self.posts[type(item.body).__name__] += 1
            self.mail.append(item.body)

    def work(self) -> None:
        """Everybody answers what lies in front of them, until nothing does."""
        while self.mail:
            self.answer(self.mail.popleft())
            if not self.mail:
                self.carry(self.office.tick(0))

    def answer(self, body: Body) -> None:
        if isinstance(body, Assignment):
            found = FaceResult(
                number=body.number, stream=body.job.stream, run=1, seq=body.job.seq, pts_ns=0, grab_ns=0, faces=(),
                queue_ns=0, inference_ns=0,
            )  # fmt: skip
            self.say("face 1", found)
        elif isinstance(body, Delivery):
            self.say("fusion", Ack(number=body.number))
            if isinstance(body.message, FaceResult):
                self.say("fusion", event(body.message.stream, body.message.seq))


def event(stream: str, seq: int) -> Emotion:
    verdict = Verdict(label=None, confidence=None, because="no face")
    return Emotion(
        stream=stream, run=1, seq=seq, t=0.0, faces=(), speech=None, emotion=verdict, models={},
        latency_ms=Latency(queue=0, inference=0, total=0),
    )  # fmt: skip


def test_a_live_frame_is_one_assignment_one_result_and_one_event() -> None:
    town = Town()
    town.say("capture", opened("desk", "latest", has_sound=False))
    town.work()
    town.posts.clear()
    town.published.clear()
    town.heard = 0
    for seq in range(FRAMES):
        town.say("capture", job("desk", seq))
        town.work()
    assert town.posts == {"Assignment": FRAMES, "Delivery": FRAMES}
    assert town.published == {"Job": FRAMES, "Emotion": FRAMES}
    assert town.heard == 4 * FRAMES, "the job, the worker's answer, fusion's acknowledgement and its event"


def test_frames_of_a_file_give_their_slots_back_in_bundles() -> None:
    town = Town()
    town.say("capture", opened("film", "every", has_sound=False))
    town.posts.clear()
    for seq in range(FRAMES):
        town.say("capture", job("film", seq))
    town.work()
    assert town.posts["Assignment"] == town.posts["Delivery"] == FRAMES
    # Near the end, where few frames wait, nobody is kept waiting for a bundle.
    assert town.posts["Release"] <= FRAMES / BUNDLE + 2 * BUNDLE
    assert town.published["Emotion"] == FRAMES
