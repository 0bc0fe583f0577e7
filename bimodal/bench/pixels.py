"""How pixels get from one process to another: as a name in shared memory, or as a copy through a socket.

Run as `python -m bench.pixels {json}` it is the sending process of bench/transport.py. Both ways send the same message,
a Job in its envelope, through the same kind of socket; one puts the pixels into a shared slot before, the other sends
them along.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np
import zmq
from numpy.typing import NDArray

from bimodal.broker.errors import SlotError
from bimodal.broker.frames import Ring, RingShelf
from bimodal.broker.messages import MAX_DATA_BYTES, Job, decode, seal
from bimodal.broker.sockets import bind, connect
from bimodal.errors import BimodalError

Way: TypeAlias = Literal["shared", "copied"]

SLOTS = 8
PAUSE_S = 0.2
RING = "pixels"


class Sending(msgspec.Struct, frozen=True, kw_only=True):
    """What the sending process is told: where to, how, how many frames of which size, how many a second."""

    endpoint: str
    slots: str
    way: Way
    width: int
    height: int
    frames: int
    fps: float


class Sender:
    """The sending side of a way."""

    def __init__(self, sending: Sending) -> None:
        """Connect; raises EndpointError or SlotError where that can't be."""
        shape = (sending.height, sending.width, 3)
        self._way = sending.way
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = connect(self._context, zmq.PUSH, sending.endpoint)
        # A camera gives another buffer each time too; one that is still on its way must not change.
        self._pictures = [np.full(shape, 128, np.uint8) for _ in range(SLOTS)]
        self._ring = Ring(Path(sending.slots), RING, SLOTS, int(np.prod(shape))) if self._way == "shared" else None

    def send(self, seq: int) -> None:
        """Send picture `seq`; its first and its last value tell its number."""
        picture = self._pictures[seq % SLOTS]
        picture[0, 0, 0] = picture[-1, -1, -1] = seq % 256
        grab_ns = time.monotonic_ns()
        generation = self._ring.write(seq % SLOTS, picture) if self._ring is not None else 0
        job = Job(
            stream="bench", run=0, modality="face", seq=seq, pts_ns=0, grab_ns=grab_ns,
            ring=RING, slot=seq % SLOTS, generation=generation, shape=picture.shape,
        )  # fmt: skip
        letter = seal(job, epoch=0, sender="bench", incarnation=0)
        if self._way == "shared":
            self._socket.send(letter)
        else:
            self._socket.send(letter, zmq.SNDMORE)
            self._socket.send(picture.data, copy=False)

    def close(self) -> None:
        """Send what is under way, and let go."""
        self._socket.close()
        self._context.term()
        if self._ring is not None:
            self._ring.unlink()


class Receiver:
    """The receiving side of both ways."""

    def __init__(self, endpoint: str, slots: Path) -> None:
        """Bind; raises EndpointError where that can't be."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = bind(self._context, zmq.PULL, endpoint, largest=MAX_DATA_BYTES)
        self._slots = slots
        self._shelf = RingShelf(slots)

    def begin(self) -> None:
        """Another sender, and with it another ring, will come."""
        self._shelf = RingShelf(self._slots)

    def receive(self, timeout_s: float) -> tuple[float, bool] | None:
        """The next picture: milliseconds since it was there at the sender, and whether it is still that picture; None
        where none comes in time."""
        if not self._socket.poll(int(timeout_s * 1000)):
            return None
        frames = self._socket.recv_multipart(copy=False)
        job = decode(frames[0].bytes).body
        assert isinstance(job, Job)
        if len(frames) == 1:
            right = self._read(job)
        else:
            picture = np.frombuffer(frames[1].buffer, np.uint8).reshape(job.shape)
            right = _right(picture, job)
        return (time.monotonic_ns() - job.grab_ns) / 1e6, right

    def _read(self, job: Job) -> bool:
        try:
            reader = self._shelf.reader(job.ring)
            return _right(reader.view(job), job) and reader.holds(job)
        except SlotError:
            return False

    def close(self) -> None:
        """Let go."""
        self._socket.close(linger=0)
        self._context.term()


def _right(picture: NDArray[Any], job: Job) -> bool:
    return bool(picture[0, 0, 0] == picture[-1, -1, -1] == job.seq % 256)


def main(told: str) -> None:
    """Send all frames, and say how many seconds of processor time that took; or why that can't be."""
    try:
        send_all(msgspec.json.decode(told, type=Sending))
    except (BimodalError, OSError) as error:
        print(error, flush=True)


def send_all(sending: Sending) -> None:
    """Send all frames at their pace, say what that took, and stay until stdin is closed."""
    sender = Sender(sending)
    time.sleep(PAUSE_S)
    spent = time.process_time()
    began = time.monotonic()
    for seq in range(sending.frames):
        time.sleep(max(0.0, began + seq / sending.fps - time.monotonic()))
        sender.send(seq)
    print(time.process_time() - spent, flush=True)
    # Until the other side has all of it: a slot must not be gone before it is read.
    sys.stdin.read()
    sender.close()


if __name__ == "__main__":
    main(sys.argv[1])
