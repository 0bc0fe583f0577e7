"""One worker process of a corpus: `python -m bimodal.corpus.worker FD`, tasks in and answers out over a socket."""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import sys
from types import FrameType

import msgspec
import setproctitle

from bimodal.corpus.clip import ClipWorker
from bimodal.corpus.messages import Progress, Ready, Refused, WorkerSettings
from bimodal.corpus.rows import Task
from bimodal.corpus.store import StoreError
from bimodal.errors import BimodalError
from bimodal.workers.actor import BROKEN, DONE, REFUSED, WORKER_NICENESS, die_with_parent, start_log
from bimodal.workers.framing import framed, read_frame

_tasks = msgspec.msgpack.Decoder(Task)


def main(descriptor: int) -> int:
    """Load the models, do tasks until the other side closes, and return the exit code."""
    line = socket.socket(fileno=descriptor)
    settings = msgspec.msgpack.decode(read_frame(line) or b"", type=WorkerSettings)
    setproctitle.setproctitle("bimodal: clip worker")
    die_with_parent(settings.parent)
    start_log(settings.log, "clip worker")
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the run itself ends its workers
    signal.signal(signal.SIGTERM, _stop)
    os.nice(WORKER_NICENESS)
    try:
        worker = ClipWorker(settings)
    except BimodalError as error:
        line.sendall(framed(Refused(str(error))))
        return REFUSED
    line.sendall(framed(Ready(worker.models)))

    def on_progress(progress: Progress) -> None:
        line.sendall(framed(progress))

    try:
        while (data := read_frame(line)) is not None:
            try:
                done = worker.run(_tasks.decode(data), on_progress)
            except OSError as error:
                where = error.filename or settings.out
                line.sendall(framed(Refused(f"the results can't be written: {where}: {error.strerror}")))
                return REFUSED
            except StoreError as error:
                line.sendall(framed(Refused(str(error))))
                return REFUSED
            line.sendall(framed(done))
    except BrokenPipeError:
        return BROKEN
    finally:
        worker.close()
    return DONE


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(DONE)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
