"""A terminal that was stopped, or a pipe that nobody reads, holds nobody up who watches over the others."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from bimodal.broker.messages import Heartbeat
from tests.end_to_end.living import Living, static_model


def fill(pipe: int) -> None:
    """Write until it takes no more, through an open file of our own: the other writers go on waiting for room."""
    ours = os.open(f"/proc/self/fd/{pipe}", os.O_WRONLY | os.O_NONBLOCK)
    try:
        while True:
            os.write(ours, b"." * 512)
    except BlockingIOError:
        pass
    finally:
        os.close(ours)


def test_a_pipe_that_nobody_reads_stops_no_supervision(tmp_path: Path) -> None:
    living = Living(tmp_path)
    nobody_reads, pipe = os.pipe()
    try:
        with living.up("test-stuck-output", said=pipe) as driven:
            driven.wait_for(lambda body: static_model(body) is not None)
            fill(pipe)
            driven.kill("face 1", signal.SIGKILL)
            driven.wait_for(
                lambda body: (
                    isinstance(body, Heartbeat) and (body.name, body.incarnation, body.state) == ("face 1", 2, "ready")
                )
            )
            driven.interrupt()
            code, _, err = driven.finish()
            assert (code, driven.left_behind()) == (0, []), err
        assert b"session 'test-stuck-output'" in os.read(nobody_reads, 65536)
    finally:
        os.close(nobody_reads)
        os.close(pipe)
