"""A process that hangs is found out, tells where it hangs, and is started again."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from bimodal.broker.events import Emotion
from bimodal.broker.messages import Heartbeat
from tests.end_to_end.driving import PATIENCE_S
from tests.end_to_end.living import Living, static_model


def wait_for_line(log: Path, line: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while line not in log.read_text():
        assert time.monotonic() < end, f"the log never said '{line}'"


def test_stacks_of_a_hung_process_are_in_the_log_and_it_comes_back(tmp_path: Path) -> None:
    living, session = Living(tmp_path), "test-hung"
    with living.up(session) as driven:
        driven.wait_for(lambda body: static_model(body) is not None)
        worker = driven.children()["face 1"]
        worker.suspend()
        wait_for_line(tmp_path / "log", "face 1 does not answer")
        # It goes on just to say where it stands: what was sent to it waits since it was stopped.
        worker.send_signal(signal.SIGCONT)
        back = driven.wait_for(
            lambda body: (
                isinstance(body, Heartbeat) and (body.name, body.state, body.incarnation) == ("face 1", "ready", 2)
            )
        )
        assert isinstance(back, Heartbeat)
        assert back.figures["restarts"] == 1
        driven.wait_for(lambda body: isinstance(body, Emotion))
    assert "most recent call first" in (tmp_path / "log").read_text()
