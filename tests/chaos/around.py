"""Blows to what is around the processes of a system: a rogue worker, a flood, starvation, a bursty source."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import av

from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Assignment, FaceResult, Hello, Ready, Welcome
from bimodal.broker.sockets import events_endpoint
from tests.http_server import Server

FLOOD = """
import sys, time, zmq
context = zmq.Context()
socket = context.socket(zmq.SUB)
socket.setsockopt(zmq.SNDHWM, 0)
socket.connect(sys.argv[1])
for number in range(int(sys.argv[2])):
    socket.setsockopt(zmq.SUBSCRIBE, b"emotion.%d" % number)
print("subscribed", flush=True)
time.sleep(600)
"""
BURST_S = 1.0
LONGEST_S = 60.0


@contextlib.contextmanager
def flooding(directory: Path, subscriptions: int) -> Iterator[None]:
    """A reader with so many subscriptions, while the context lasts."""
    command = [sys.executable, "-c", FLOOD, events_endpoint(directory), str(subscriptions)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as flood:
        try:
            assert flood.stdout is not None
            assert flood.stdout.readline() == "subscribed\n"
            yield
        finally:
            flood.kill()


@contextlib.contextmanager
def starving(processes: int) -> Iterator[None]:
    """So many processes that take all the time they get, while the context lasts, a minute at most."""
    spin = f"import time; end = time.monotonic() + {LONGEST_S}\nwhile time.monotonic() < end: pass"
    spinning = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def answer_wrongly(directory: Path, seconds: float) -> None:
    """Be a face worker that answers each job with another's number, until it is let go or so much time has passed."""
    mailbox = Mailbox(directory, "rogue", time.monotonic_ns(), Hello(role="worker", modality="face"))
    end, last = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        body = mailbox.receive(0.1)
        if isinstance(body, Assignment):
            job, last = body.job, body.number
            wrong = FaceResult(
                number=body.number, stream=job.stream, run=job.run, seq=job.seq + 1000, pts_ns=job.pts_ns,
                grab_ns=job.grab_ns, faces=(), queue_ns=0, inference_ns=0,
            )  # fmt: skip
            mailbox.send(wrong)
        elif body is None or isinstance(body, Welcome):
            mailbox.send(Ready(last=last))
    mailbox.close()
    assert last, "it was given no job"


class Bursts:
    """An HTTP server that sends a clip over and over, a second at once."""

    def __init__(self, clip: Path) -> None:
        self._data = _transport_stream(clip)
        with av.open(str(clip)) as source:
            assert source.duration is not None
            self._seconds = source.duration / av.time_base
        self._calls = 0
        self._server = Server(self._serve)
        self.address = f"http://127.0.0.1:{self._server.port}/"

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "video/mp2t")
        handler.end_headers()
        call, self._calls = self._calls, self._calls
        size = round(len(self._data) / self._seconds * BURST_S)
        while call == self._calls and not self._server.closing.is_set():
            for start in range(0, len(self._data), size):
                handler.wfile.write(self._data[start : start + size])
                handler.wfile.flush()
                time.sleep(BURST_S)
                if call != self._calls:
                    return

    def hang_up(self) -> None:
        """Close the connections; the next ones are served."""
        self._calls += 1

    def close(self) -> None:
        """Stop serving."""
        self._calls += 1
        self._server.close()


def _transport_stream(clip: Path) -> bytes:
    target = clip.with_suffix(".ts")
    with av.open(str(clip)) as source, av.open(str(target), "w", format="mpegts") as copy:
        video = source.streams.video[0]
        stream = copy.add_stream_from_template(video)
        for packet in source.demux(video):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    return target.read_bytes()


__all__ = ["Bursts", "answer_wrongly", "flooding", "starving"]
