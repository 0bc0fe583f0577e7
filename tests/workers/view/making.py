"""Events and heartbeats that the page's tests are made of, and a page that is really served."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bimodal.broker.events import Emotion, Latency, TrackedFace, Verdict
from bimodal.broker.frames import Ring
from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Body, Heartbeat, Hello, Job, State, Welcome
from bimodal.workers.actor import ActorSettings
from bimodal.workers.view.actor import ViewActor
from tests.broker.making import opened
from tests.broker.test_process import Running

PATIENCE_S = 30.0
HAPPY = {"neutral": 0.1, "happy": 0.8, "sad": 0.1}


def face(track: int = 1, side: int = 40, speech: float = 0.0) -> TrackedFace:
    """A happy face; `speech` is what the voice is worth in it."""
    return TrackedFace(
        track=track, box=(10, 10, side, side), score=0.9, static=HAPPY, dynamic=None, video=HAPPY, fused=HAPPY,
        label="happy", confidence=0.8, weights={"video": 1 - speech, "speech": speech},
    )  # fmt: skip


def event(stream: str, seq: int, *faces: TrackedFace, run: int = 1) -> Emotion:
    """An event, happy where there is a face."""
    verdict = (
        Verdict(label="happy", confidence=0.8) if faces else Verdict(label=None, confidence=None, because="no face")
    )
    return Emotion(
        stream=stream, seq=seq, run=run, t=seq * 0.04, faces=faces, speech=None, emotion=verdict,
        latency_ms=Latency(queue=1, inference=10, total=20), models={},
    )  # fmt: skip


def beat(name: str, state: State = "ready", because: str | None = None, **more: object) -> Heartbeat:
    """A heartbeat."""
    return Heartbeat(name=name, incarnation=1, state=state, pid=0 if state == "stopped" else 7, because=because, **more)  # type: ignore[arg-type]


class Page:
    """A real broker, a capture, and the actor of the page, in threads of this process."""

    def __init__(
        self, folder: Path, *, streams: tuple[str, ...] = ("desk",), size: tuple[int, int] = (48, 64), **how: object
    ) -> None:
        self.broker = Running(folder)
        settings = ActorSettings(
            name="view", incarnation=1, role="observer", directory=str(folder), slots=str(folder),
            own={"port": 0, **how},
        )  # fmt: skip
        self._mailbox = Mailbox(folder, "view", 1, Hello(role="observer"))
        self.actor = ViewActor(settings, self._mailbox)
        self.actor.read_s = 0.1
        self.address, self.view, self.server = self.actor.address, self.actor.view, self.actor.server
        self._heard = threading.Condition()
        self._bodies: list[Body] = []
        self.view.listeners.append(self._hear)
        self._stopped = threading.Event()
        self._reading = threading.Thread(target=self._read)
        self._reading.start()
        self.capture = Mailbox(folder, "capture", 1, Hello(role="capture"))
        assert isinstance(self.capture.receive(PATIENCE_S), Welcome)
        self._rings = {name: Ring(folder, f"{name}.1.face.0", 4, size[0] * size[1] * 3) for name in streams}
        self._size = size
        for name in streams:
            self.announce(name)

    def _read(self) -> None:
        while not self._stopped.is_set():
            self.actor.on_idle()

    def _hear(self, body: Body) -> None:
        with self._heard:
            self._bodies.append(body)
            self._heard.notify_all()

    def heard(self, wanted: Callable[[Body], bool], timeout_s: float = PATIENCE_S) -> bool:
        """Whether such a message has come to the page's own thread, or does within the time."""
        with self._heard:
            return self._heard.wait_for(lambda: any(wanted(body) for body in self._bodies), timeout_s)

    def announce(self, stream: str) -> None:
        """Open a stream, and again until the page has heard: then its subscription is up."""
        while not self.heard(lambda body: getattr(body, "stream", None) == stream, 0.1):
            self.capture.send(opened(stream, "latest"))

    def frame(self, stream: str, seq: int, pixels: np.ndarray | None = None) -> None:
        """A frame and its event, over the broker, as soon as a page that looks at the stream can take one."""
        viewers, end = self.view.viewers, time.monotonic() + PATIENCE_S
        while stream in viewers.shown and stream not in viewers.awaiting:
            assert time.monotonic() < end, "no page takes its frame"
            time.sleep(0.001)
        ring = self._rings[stream]
        if pixels is None:
            pixels = np.full((*self._size, 3), seq % 200, np.uint8)
        generation = ring.write(seq % ring.slots, pixels)
        self.capture.send(
            Job(
                stream=stream, run=1, modality="face", seq=seq, pts_ns=seq * 40_000_000, grab_ns=0, ring=ring.name,
                slot=seq % ring.slots, generation=generation, shape=pixels.shape,
            )
        )  # fmt: skip
        self.capture.send(event(stream, seq, face()))

    def came(self, stream: str, seq: int) -> bool:
        """Whether the event has come to the page's own thread."""
        return self.heard(lambda body: isinstance(body, Emotion) and (body.stream, body.seq) == (stream, seq))

    def close(self) -> None:
        """End all of it."""
        self._stopped.set()
        self._reading.join()
        self.actor.close()
        self._mailbox.close()
        self.capture.close()
        self.broker.stop()
