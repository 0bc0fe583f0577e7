"""The end of all processes, in order and in time."""

from __future__ import annotations

import contextlib
import logging
import signal
import subprocess
import time
from collections.abc import Sequence

from bimodal.workers.supervision.child import Child

log = logging.getLogger(__name__)

STOP_WITHIN_S = 2.5
BROKER_END_S = 0.4


def stop_all(children: Sequence[Child]) -> None:
    """Stop all processes: TERM, and KILL after 2.5 s."""
    deadline = time.monotonic() + STOP_WITHIN_S
    running = [child for child in children if child.process is not None]
    # Sources and recorders first: what is recorded is closed in order; the broker carries it until the end.
    for last in (False, True):
        group = [child for child in running if (child.spec.role == "broker") is last]
        for child in group:
            child.signal(signal.SIGTERM)
        # The broker goes when nobody needs it any more; a child that had to be killed must not cost it its end.
        _await(group, max(deadline, time.monotonic() + BROKER_END_S))


def _await(group: Sequence[Child], deadline: float) -> None:
    for child in group:
        process = child.process
        assert process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
        if process.poll() is None:
            log.warning("%s had to be killed", child.spec.name)
            process.kill()
            process.wait()
        child.process = None
