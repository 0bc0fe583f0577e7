"""`transport`: frames in shared memory, announced by a message, against copies of their pixels through ZeroMQ.

Two processes, 30 frames a second, over the same kind of socket file; both ways in turn. Latency is from the time the
sender has the pixels to the time the receiver holds them as an array; CPU time is that of both processes.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec
import numpy as np
import zmq
from numpy.typing import NDArray

from bimodal.bench.figures import BenchError, Curve, Figure, Outcome, figure
from bimodal.bench.latency import percentile
from bimodal.bench.loops import start, stop
from bimodal.bench.plan import Plan
from bimodal.broker.errors import SlotError
from bimodal.broker.frames import Ring, RingCache
from bimodal.broker.messages import MAX_DATA_BYTES, Job, decode, seal
from bimodal.broker.sockets import SHARED_MEMORY, bind, connect
from bimodal.child_process import python_command
from bimodal.errors import BimodalError

# The two ways. Run as `python -m scripts.measure.transport {json}`, this module is the sending process. Both ways send
# the same message, a Job in its envelope, through the same kind of socket; one writes the pixels into a shared slot
# first, the other sends them along.


Way: TypeAlias = Literal["shared", "copied"]

SLOTS = 8
PAUSE_S = 0.2
RING = "pixels"


class Sending(msgspec.Struct, frozen=True, kw_only=True):
    """Order of the sending process: endpoint, way, size, number and rate of the frames."""

    endpoint: str
    slots: str
    way: Way
    width: int
    height: int
    frames: int
    fps: float


class Sender:
    """The sender, by either way."""

    def __init__(self, sending: Sending) -> None:
        """Connect. Raises EndpointError or SlotError."""
        shape = (sending.height, sending.width, 3)
        self._way = sending.way
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = connect(self._context, zmq.PUSH, sending.endpoint)
        # A camera, too, delivers a new buffer each time; one in transit must not change.
        self._pictures = [np.full(shape, 128, np.uint8) for _ in range(SLOTS)]
        self._ring = Ring(Path(sending.slots), RING, SLOTS, int(np.prod(shape))) if self._way == "shared" else None

    def send(self, seq: int) -> None:
        """Send picture `seq`; its first and last value encode its number."""
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
        """Finish sending and close."""
        self._socket.close()
        self._context.term()
        if self._ring is not None:
            self._ring.unlink()


class Receiver:
    """The receiver, by both ways."""

    def __init__(self, endpoint: str, slots: Path) -> None:
        """Bind. Raises EndpointError."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = bind(self._context, zmq.PULL, endpoint, largest=MAX_DATA_BYTES)
        self._slots = slots
        self._cache = RingCache(slots)

    def begin(self) -> None:
        """Prepare for another sender with another ring."""
        self._cache = RingCache(self._slots)

    def receive(self, timeout_s: float) -> tuple[float, bool] | None:
        """Receive the next picture: (latency in ms, whether its content is still intact); None on timeout."""
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
            reader = self._cache.reader(job.ring)
            return _right(reader.view(job), job) and reader.holds(job)
        except SlotError:
            return False

    def close(self) -> None:
        """Close."""
        self._socket.close(linger=0)
        self._context.term()


def _right(picture: NDArray[Any], job: Job) -> bool:
    return bool(picture[0, 0, 0] == picture[-1, -1, -1] == job.seq % 256)


def main(order: str) -> None:
    """Send all frames and print the CPU seconds that took; or print why that fails."""
    try:
        send_all(msgspec.json.decode(order, type=Sending))
    except (BimodalError, OSError) as error:
        print(error, flush=True)


def send_all(sending: Sending) -> None:
    """Send all frames at their rate, print the CPU seconds, and wait until stdin is closed."""
    sender = Sender(sending)
    time.sleep(PAUSE_S)
    spent = time.process_time()
    began = time.monotonic()
    for seq in range(sending.frames):
        time.sleep(max(0.0, began + seq / sending.fps - time.monotonic()))
        sender.send(seq)
    print(time.process_time() - spent, flush=True)
    # Wait until the receiver has everything: a slot must not be removed before it is read.
    sys.stdin.read()
    sender.close()


FPS = 30
SIZES = ((640, 480), (1280, 720), (1920, 1080), (3840, 2160))
WAYS: tuple[Way, ...] = ("shared", "copied")
PERCENTILES = (50, 99)
FEWEST_FRAMES = 3
PATIENCE_S = 120.0
LOOK_EVERY_S = 0.5
WHAT = (
    f"At {FPS} frames a second, p50 and p99 are of the time from pixels at the sender to an array at the receiver; CPU "
    "is the processor time of both processes for 1,000 frames."
)


class Passed(NamedTuple):
    """Results of sending frames one way.

    Attributes:
        latencies: of each frame, in milliseconds.
        cpu: CPU seconds of both processes, per 1,000 frames.
        lost: number of frames overwritten by the sender before they were read.
    """

    latencies: list[float]
    cpu: float
    lost: int


def measure(plan: Plan) -> Outcome:
    """Measure both ways in turn. Raises BenchError if frames don't arrive."""
    found: dict[tuple[str, Way], list[Passed]] = {}
    shared_memory = SHARED_MEMORY if SHARED_MEMORY.is_dir() else plan.folder
    with TemporaryDirectory(prefix="bimodal-bench-", dir=shared_memory) as slots:
        receiver = Receiver(f"ipc://{plan.folder / 'pixels.ipc'}", Path(slots))
        try:
            for repeat in range(1, plan.repeats + 1):
                for width, height in SIZES:
                    plan.progress(f"transport: {width}×{height}, repeat {repeat} of {plan.repeats}")
                    for way in WAYS:
                        passed = _passed(plan, receiver, Path(slots), way, width, height)
                        found.setdefault((f"{width}×{height}", way), []).append(passed)
        finally:
            receiver.close()
    lost = sum(passed.lost for several in found.values() for passed in several)
    late = f"{lost} frames were overwritten before they were read: the machine was busy with something else."
    return Outcome(
        part="transport",
        figures=tuple(_figures(found)),
        curves=tuple(_curves(found)),
        notes=(WHAT, *((late,) if lost else ())),
    )


def _passed(plan: Plan, receiver: Receiver, slots: Path, way: Way, width: int, height: int) -> Passed:
    sending = Sending(
        endpoint=f"ipc://{plan.folder / 'pixels.ipc'}",
        slots=str(slots),
        way=way,
        width=width,
        height=height,
        frames=max(FEWEST_FRAMES, round(plan.seconds * FPS)),
        fps=FPS,
    )
    command = python_command("scripts.measure.transport", msgspec.json.encode(sending).decode())
    receiver.begin()
    process = start(command, what="the sending process", stdout=subprocess.PIPE)
    try:
        return received(receiver, process, sending.frames, slots)
    finally:
        stop(process)
        _unlink_all(slots)


def received(receiver: Receiver, process: subprocess.Popen[bytes], frames: int, slots: Path) -> Passed:
    """Receive all frames of the sending process. Raises BenchError if it ends early."""
    latencies: list[float] = []
    # The first frame includes one-time costs: the connection, and mapping the ring.
    spent = 0.0
    for number in range(frames):
        got = _next(receiver, process, f"{number} of {frames} frames")
        if number == 0:
            # Both sides have mapped it, so it can be unlinked: nothing stays behind if we are killed.
            _unlink_all(slots)
            spent = time.process_time()
        elif got[1]:
            latencies.append(got[0])
    spent = time.process_time() - spent
    assert process.stdout is not None
    line = process.stdout.readline()
    try:
        sent = float(line)
    except ValueError as error:
        raise BenchError(f"the sending process failed: {line.decode(errors='replace').strip()}") from error
    if not latencies:
        raise BenchError("every frame was overwritten before it was read: the machine is too busy to measure")
    return Passed(latencies, 1000 * (sent / frames + spent / (frames - 1)), frames - 1 - len(latencies))


def _next(receiver: Receiver, process: subprocess.Popen[bytes], so_far: str) -> tuple[float, bool]:
    """Receive the next picture. Raises BenchError if the sender has ended or sends nothing more."""
    end = time.monotonic() + PATIENCE_S
    while True:
        ended = process.poll() is not None
        # Try once more after its end: messages sent before may still be ready.
        got = receiver.receive(LOOK_EVERY_S)
        if got is not None:
            return got
        if ended:
            assert process.stdout is not None
            reply = process.stdout.readline().decode(errors="replace").strip()
            raise BenchError(f"the sending process ended after {so_far}: {reply or 'it reply nothing'}")
        if time.monotonic() > end:
            raise BenchError(f"the sending process has sent {so_far} and then nothing more")


def _unlink_all(slots: Path) -> None:
    for ring in slots.iterdir():
        ring.unlink()


# Figures.
def _figures(found: dict[tuple[str, Way], list[Passed]]) -> list[Figure]:
    figures: list[Figure] = []
    for size in dict.fromkeys(size for size, _ in found):
        shared, copied = found[size, "shared"], found[size, "copied"]
        for share in PERCENTILES:
            figures += _pair(size, f"p{share}", _latencies(shared, share), _latencies(copied, share), "ms")
        spent = [passed.cpu for passed in shared], [passed.cpu for passed in copied]
        figures += _pair(size, "CPU of 1,000", *spent, "s")
    return figures


def _latencies(passed: Sequence[Passed], share: float) -> list[float]:
    return [percentile(one.latencies, share) for one in passed]


def _pair(size: str, what: str, shared: Sequence[float], copied: Sequence[float], unit: str) -> list[Figure]:
    yardstick = figure(f"{size} copied: {what}", copied, unit)
    return [yardstick, figure(f"{size} shared: {what}", shared, unit, against=yardstick)]


def _curves(found: dict[tuple[str, Way], list[Passed]]) -> list[Curve]:
    megapixels = tuple(width * height / 1e6 for width, height in SIZES)
    names = [f"{width}×{height}" for width, height in SIZES]
    curves: list[Curve] = []
    for way in WAYS:
        taken = [found[name, way] for name in names]
        latency = tuple(figure(way, _latencies(passed, 50), "ms").value for passed in taken)
        spent = tuple(figure(way, [one.cpu for one in passed], "s").value for passed in taken)
        curves.append(Curve(name=way, x=megapixels, y=latency, x_label="megapixels", y_label="latency p50, ms"))
        curves.append(Curve(name=way, x=megapixels, y=spent, x_label="megapixels", y_label="CPU s of 1,000 frames"))
    return curves


if __name__ == "__main__":
    main(sys.argv[1])
