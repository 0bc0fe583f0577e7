"""`bimodal top` of a running system: into a pipe, and in a terminal with keys."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from bimodal.broker.events import Emotion
from tests.end_to_end.driving import PATIENCE_S, Driven, run
from tests.media import face_clip

ROWS, COLUMNS = 14, 70


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        command = [sys.executable, "-m", "bimodal", *arguments]
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(COLUMNS), "LINES": str(ROWS)}
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)
        self.shown = b""

    def wait_for(self, *words: bytes) -> None:
        """Read on until all of these were shown since the last time."""
        self.shown = b""
        end = time.monotonic() + PATIENCE_S
        while not all(word in self.shown for word in words):
            assert time.monotonic() < end, self.shown
            if select.select([self.master], [], [], 0.2)[0]:
                self.shown += os.read(self.master, 65536)

    def press(self, key: bytes) -> None:
        os.write(self.master, key)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)


@pytest.fixture
def session(tmp_path: Path) -> object:
    """A running system."""
    clip = face_clip(tmp_path / "clip.mp4", 3.0)
    config = tmp_path / "config.yaml"
    config.write_text(
        f"streams: {{clip: {{file: '{clip}', loop: true}}}}\nworkers: {{face: {{count: 1}}}}\n"
        f"outputs: {{view: false}}\nlog: {{file: '{tmp_path / 'log'}'}}\n"
    )
    with Driven("up", "--config", config, "--session", "test-top", session="test-top") as driven:
        driven.wait_for(lambda body: isinstance(body, Emotion))
        yield "test-top"


def test_into_a_pipe_it_prints_one_plain_table_and_in_a_terminal_it_obeys_keys(session: str) -> None:
    code, out, err = run("top", "--session", session)
    assert code == 0, err
    lines = out.splitlines()
    names = {line.split("  ")[0] for line in lines}
    assert {"process", "broker", "face 1", "audio 1", "fusion", "capture clip", "supervisor", "stream", "clip"} <= names
    assert "\x1b" not in out
    terminal = Terminal("top", "--session", session)
    try:
        terminal.wait_for(b"broker", b"by cpu")
        terminal.press(b"n")
        terminal.wait_for(b"by name")
        terminal.press(b"q")
        assert terminal.process.wait(PATIENCE_S) == 0
    finally:
        terminal.close()


def test_it_ends_with_its_terminal(session: str) -> None:
    terminal = Terminal("top", "--session", session)
    try:
        terminal.wait_for(b"broker", b"by cpu")
    finally:
        os.close(terminal.master)
        try:
            assert terminal.process.wait(PATIENCE_S) == 0
        finally:
            terminal.process.kill()


def test_where_nothing_runs_it_says_so() -> None:
    code, _, err = run("top", "--session", "test-top-nobody")
    assert code == 1
    assert "no bimodal is running as session 'test-top-nobody'" in err
