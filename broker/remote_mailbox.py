"""The mailbox of a worker on another machine: each assignment comes with its data instead of a shared slot."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import zmq
from numpy.typing import NDArray

from bimodal.broker.errors import MessageError, SlotError
from bimodal.broker.mailbox import HELLO_EVERY_S, Beats, Mailbox
from bimodal.broker.messages import (
    SETTINGS,
    Assignment,
    Body,
    Encoding,
    Envelope,
    FilePiece,
    Heartbeat,
    Hello,
    Instruct,
    Job,
    ModelFile,
    decode,
)
from bimodal.broker.model_files import ModelFilesError, ModelReceiver
from bimodal.broker.sockets import Login, connect

# One job is worked on, one more is assigned in advance; older ones were given up. Workers with a capacity of several
# jobs raise this (ReceivedData.most).
MOST_HELD = 4
MOST_WAITING = 64
READY_EVERY_S = 0.25


class ReceivedData:
    """The data of the newest assignments; a remote worker uses it in place of a RingCache.

    Attributes:
        most: the number of assignments whose data is kept.
    """

    def __init__(self) -> None:
        self.most = MOST_HELD
        self._held: OrderedDict[tuple[str, int, int], tuple[bytes, Encoding]] = OrderedDict()

    def put(self, job: Job, data: bytes, encoding: Encoding = "raw") -> None:
        """Keep a job's data, and discard the oldest beyond `most`."""
        self._held[job.ring, job.slot, job.generation] = data, encoding
        while len(self._held) > self.most:
            self._held.popitem(last=False)

    def reader(self, _ring: str) -> ReceivedData:
        """Return itself: there are no rings here."""
        return self

    def view(self, job: Job) -> NDArray[Any]:
        """The job's array, read-only: uint8 pixels of a face job, float32 samples of speech.

        Raises SlotError if the data is missing, damaged, or has another size than the job says.
        """
        data, encoding = self._held.get((job.ring, job.slot, job.generation), (None, "raw"))
        if data is not None and encoding != "raw":
            # Imports OpenCV, which only workers of faces need.
            from bimodal.broker.pixels import decode as decode_picture

            return decode_picture(data, job.shape)
        dtype = np.dtype(np.uint8 if job.modality == "face" else np.float32)
        if data is None or min(job.shape, default=0) < 1 or len(data) != prod(job.shape) * dtype.itemsize:
            raise SlotError(f"the data of job {job.seq} did not come along")
        return np.frombuffer(data, dtype=dtype).reshape(job.shape)

    def holds(self, job: Job) -> bool:
        """True while the job's data is kept."""
        return (job.ring, job.slot, job.generation) in self._held


class RemoteBeats(Beats):
    """Heartbeats to the broker of another machine, which publishes them on the bus."""

    def send(self, heartbeat: Heartbeat) -> None:
        """Send a heartbeat, once the broker has answered."""
        assert isinstance(self._mailbox, RemoteMailbox)
        if heartbeat.state == "failed":
            self._mailbox.failed_reason = heartbeat.because
        if self._mailbox.epoch:
            super().send(heartbeat)


class RemoteMailbox(Mailbox):
    """A Mailbox over TCP with CURVE keys.

    Attributes:
        data: the data of assigned jobs.
        failed_reason: `because` of a heartbeat of state "failed", else None.
        refused: why the other machine gives no jobs, else None.
        tell: called with that sentence whenever it changes.
        receiver: takes over the models of the other machine; None where this one works with its own.
    """

    def __init__(
        self,
        endpoint: str,
        login: Login,
        name: str,
        incarnation: int,
        hello: Hello,
        receiver: ModelReceiver | None = None,
    ) -> None:
        """Connect to the broker of another machine, which need not run yet; raises EndpointError."""
        self._endpoint, self._login = endpoint, login
        self.receiver = receiver
        self.data = ReceivedData()
        self.failed_reason: str | None = None
        self.refused: str | None = None
        self.tell: Callable[[str], None] = lambda _sentence: None
        super().__init__(Path(), name, incarnation, msgspec.structs.replace(hello, takes=receiver is not None))

    def _to_broker(self) -> zmq.Socket[bytes]:
        return connect(self._context, zmq.DEALER, self._endpoint, most=MOST_WAITING, login=self._login)

    def _to_supervisor(self) -> zmq.Socket[bytes] | None:
        return None

    def _connections(self) -> None:
        return None

    def _next_hello(self, now: float) -> float:
        """Always soon: the broker forgets a worker elsewhere that was silent for 5 s, and the line may be lost."""
        return now + HELLO_EVERY_S

    def quiet_s(self, now: float) -> float:  # noqa: ARG002
        """Seconds between two Ready of a worker without work: one that was lost with the line is repeated soon."""
        return READY_EVERY_S

    def on_refused(self, reason: str | None) -> None:
        """Keep the sentence, and tell it once."""
        if reason != self.refused:
            self.refused = reason
            self.tell(f"{self._endpoint} gives no jobs: {reason}" if reason else f"{self._endpoint} gives jobs again")

    def introduce(
        self,
        product: str,
        models: dict[str, str],
        settings: dict[str, object] | None = None,  # noqa: ARG002 - told among processes of one machine only
        files: tuple[ModelFile, ...] = (),  # noqa: ARG002
    ) -> None:
        """Say with which version and models this worker works; with which thresholds, only where it takes others."""
        if self.receiver is None:
            models = {kind: found for kind, found in models.items() if kind != SETTINGS}
        super().introduce(product, models)

    @property
    def reload(self) -> bool:
        """True once models of the other machine are here, to begin again with."""
        return self.receiver is not None and self.receiver.settings is not None

    def _read(self) -> Body | None:
        body = super()._read()
        if not isinstance(body, Instruct | FilePiece):
            return body
        if self.receiver is not None:
            take = self.receiver.on_instruct if isinstance(body, Instruct) else self.receiver.on_piece
            try:
                wanted = take(body)  # type: ignore[arg-type]
            except ModelFilesError as error:
                self.on_refused(str(error))
            else:
                if wanted is not None:
                    self.send_soon(wanted)
        return None

    def beats(self) -> Beats:
        """Create a second connection to the broker, for heartbeats only."""
        return RemoteBeats(self, self._to_broker())

    def _receive_envelope(self) -> Envelope:
        frames = self._broker.recv_multipart()
        envelope = decode(frames[0])
        if isinstance(envelope.body, Assignment):
            if len(frames) != 2:
                raise MessageError("an assignment without its data")
            self.data.put(envelope.body.job, frames[1], envelope.body.encoding)
        return envelope

    def flush(self) -> None:
        """Send all queued messages, one by one; they are discarded while the other machine is unreachable."""
        for message in self._outgoing:
            if self._broker.poll(0, zmq.POLLOUT):
                self._broker.send(message)
        self._outgoing = []
