"""A process that analyses clips for the HTTP API: `python -m bimodal.api.clip_server FD`, tasks in, events out."""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import sys
from pathlib import Path

import msgspec
import setproctitle

from bimodal.api.detector import Detector
from bimodal.api.sources import choice_of
from bimodal.broker.events import Emotion, Hop
from bimodal.errors import BimodalError
from bimodal.recordings.segments import segments, stretch
from bimodal.workers.actor import BROKEN, DONE, REFUSED, die_with_parent, start_log
from bimodal.workers.capture.uploads import check_upload
from bimodal.workers.errors import SourceError
from bimodal.workers.framing import framed, read_frame
from bimodal.workers.http_api.worker_messages import (
    MOST_BYTES,
    End,
    Failed,
    Item,
    Opened,
    Ready,
    Refused,
    Start,
    Task,
)

# Live streams go first.
NICENESS = 10
_json = msgspec.json.Encoder()


def main(descriptor: int) -> int:
    """Load the models, do tasks until the other side closes, and return the exit code."""
    line = socket.socket(fileno=descriptor)
    start = msgspec.msgpack.decode(read_frame(line, MOST_BYTES) or b"", type=Start)
    setproctitle.setproctitle("bimodal: clips")
    die_with_parent(start.parent)
    start_log(start.log, "clips")
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    try:
        detector = Detector(start.config)
    except BimodalError as error:
        line.sendall(framed(Refused(str(error))))
        return REFUSED
    with detector:
        line.sendall(framed(Ready(detector.models)))
        try:
            while (data := read_frame(line, MOST_BYTES)) is not None:
                analyse(detector, msgspec.msgpack.decode(data, type=Task), line)
        except (BrokenPipeError, ConnectionResetError):
            return BROKEN
    return DONE


def analyse(detector: Detector, task: Task, line: socket.socket) -> None:
    """Do one task; what is wrong with a clip is its answer."""
    try:
        check_upload(Path(task.file))
        choice = choice_of(task.video_track, task.audio_track, task.channel)  # type: ignore[arg-type]
        reading = detector.read(task.file, name=task.name, choice=choice)
        duration_ns = reading.opened.duration_ns
        line.sendall(
            framed(
                Opened(
                    has_picture=reading.opened.has_picture,
                    has_sound=reading.opened.has_sound,
                    duration_s=None if duration_ns is None else duration_ns / 1e9,
                )
            )
        )
        events: list[Emotion] = []
        hops: list[Hop] = []
        for event in reading.events:
            kept: list[Emotion] | list[Hop] = events if isinstance(event, Emotion) else hops
            kept.append(event)  # type: ignore[arg-type]
            line.sendall(framed(Item("emotion" if isinstance(event, Emotion) else "hop", _json.encode(event))))
        found = segments(events, hops)
        for segment in found:
            line.sendall(framed(Item("segment", _json.encode(stretch(task.name, reading.opened.run, segment)))))
        note = reading.problems.text()
    except (BimodalError, OSError) as error:
        line.sendall(framed(Failed(_sentence(error, task))))
        return
    line.sendall(framed(End(frames=len(events), hops=len(hops), segments=len(found), note=note)))


def _sentence(error: Exception, task: Task) -> str:
    """Say what is wrong with the clip, by its name and not by where it lies here."""
    said = str(error) if isinstance(error, SourceError) else f"{task.name}: {error}"
    return said.replace(task.file, task.name).replace(Path(task.file).name, task.name)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
