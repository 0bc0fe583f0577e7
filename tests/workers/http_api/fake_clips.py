"""A worker for clips without models: what it does is what the clip says."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path

import msgspec

from bimodal.broker.events import Emotion, Latency, Verdict
from bimodal.workers.framing import LENGTH, framed
from bimodal.workers.http_api.worker_messages import (
    End,
    Failed,
    Item,
    Opened,
    Ready,
    Refused,
    Start,
    Task,
)

STEP_S = 0.02


def read(line: socket.socket) -> bytes | None:
    """The next message; None at the end."""
    head = line.recv(LENGTH.size, socket.MSG_WAITALL)
    return line.recv(LENGTH.unpack(head)[0], socket.MSG_WAITALL) if head else None


def main(descriptor: int) -> None:
    """Answer tasks until the other side closes."""
    line = socket.socket(fileno=descriptor)
    start = msgspec.msgpack.decode(read(line) or b"", type=Start)
    if start.config.get("bad"):
        line.sendall(framed(Refused("this config names no model")))
        return
    line.sendall(framed(Ready({"face-static": f"fake@{os.getpid()}"})))
    while (data := read(line)) is not None:
        answer(msgspec.msgpack.decode(data, type=Task), line)


def answer(task: Task, line: socket.socket) -> None:
    """Do what the clip says: `crash`, `hang`, `grow`, `fail`, `late` (after it was opened), or that many frames."""
    word = Path(task.file).read_text(errors="replace").strip()
    if word == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if word == "hang":
        time.sleep(600)
    if word == "grow":
        held = bytearray(b"x" * (600 * 2**20))
        time.sleep(600)
        del held
    if not (word == "late" or (word.isascii() and word.isdecimal() and len(word) < 5)):
        line.sendall(framed(Failed(f"{task.name} is no media file")))
        return
    line.sendall(framed(Opened(has_picture=True, has_sound=False, duration_s=None)))
    if word == "late":
        os.kill(os.getpid(), signal.SIGKILL)
    for seq in range(int(word)):
        time.sleep(STEP_S)
        event = Emotion(
            stream=task.name, seq=seq, t=seq * 0.04, faces=(), speech=None, models={},
            emotion=Verdict(label=None, confidence=None, because="no face"),
            latency_ms=Latency(queue=1, inference=10, total=20),
        )  # fmt: skip
        line.sendall(framed(Item("emotion", msgspec.json.encode(event))))
    line.sendall(framed(End(frames=int(word), hops=0, segments=0)))


if __name__ == "__main__":
    main(int(sys.argv[1]))
