"""The mailbox of a worker on another machine: what lies in slots there comes along with each assignment."""

from __future__ import annotations

from collections import OrderedDict
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from bimodal.broker.errors import MessageError, SlotError
from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Assignment, Envelope, Heartbeat, Hello, Job, decode
from bimodal.broker.sockets import Login, connect

# One job is worked on, one more is given in advance; anything older was given up. A worker that does several at a time
# raises it (Delivered.most).
MOST_HELD = 4
MOST_WAITING = 64


class Delivered:
    """The data of the newest assignments; to a worker it is what RingShelf is at home.

    Attributes:
        most: how many of them are kept.
    """

    def __init__(self) -> None:
        self.most = MOST_HELD
        self._held: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()

    def put(self, job: Job, data: bytes) -> None:
        """Keep a job's data; the oldest makes room."""
        self._held[job.ring, job.slot, job.generation] = data
        while len(self._held) > self.most:
            self._held.popitem(last=False)

    def reader(self, _ring: str) -> Delivered:
        """Itself: nothing lies in rings here."""
        return self

    def view(self, job: Job) -> NDArray[Any]:
        """The job's array, read-only: uint8 pixels of a face job, float32 samples of speech.

        Raises SlotError where the data did not come, or is not what the job says.
        """
        data = self._held.get((job.ring, job.slot, job.generation))
        dtype = np.dtype(np.uint8 if job.modality == "face" else np.float32)
        if data is None or min(job.shape, default=0) < 1 or len(data) != prod(job.shape) * dtype.itemsize:
            raise SlotError(f"the data of job {job.seq} did not come along")
        return np.frombuffer(data, dtype=dtype).reshape(job.shape)

    def holds(self, job: Job) -> bool:
        """Whether the job's data is here."""
        return (job.ring, job.slot, job.generation) in self._held


class RemoteMailbox(Mailbox):
    """As Mailbox, over TCP with keys. Heartbeats go to the broker, which puts them on the bus.

    Attributes:
        delivered: the data of jobs.
        because: the sentence of a heartbeat that said "failed".
    """

    def __init__(self, endpoint: str, login: Login, name: str, incarnation: int, hello: Hello) -> None:
        """Connect to the broker of another machine; it need not be there yet. Raises EndpointError."""
        self._endpoint, self._login = endpoint, login
        self.delivered = Delivered()
        self.because: str | None = None
        super().__init__(Path(), name, incarnation, hello)

    def _to_broker(self) -> zmq.Socket[bytes]:
        return connect(self._context, zmq.DEALER, self._endpoint, most=MOST_WAITING, login=self._login)

    def _to_supervisor(self) -> zmq.Socket[bytes] | None:
        return None

    def beat(self, heartbeat: Heartbeat) -> None:
        """Tell the broker."""
        if heartbeat.state == "failed":
            self.because = heartbeat.because
        if self.epoch:
            self.send(heartbeat)

    def _take(self) -> Envelope:
        frames = self._broker.recv_multipart()
        envelope = decode(frames[0])
        if isinstance(envelope.body, Assignment):
            if len(frames) != 2:
                raise MessageError("an assignment without its data")
            self.delivered.put(envelope.body.job, frames[1])
        return envelope

    def flush(self) -> None:
        """Put messages on their way, each alone; what waits for a machine that is away is not worth keeping."""
        for letter in self._outgoing:
            if self._broker.poll(0, zmq.POLLOUT):
                self._broker.send(letter)
        self._outgoing = []
