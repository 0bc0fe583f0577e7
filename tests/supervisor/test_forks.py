"""Processes that are forked from the command before it has threads or a config."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bimodal.cli import starts_system
from bimodal.supervisor import forks
from bimodal.supervisor.processes import TABLE

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks are made on Linux only")

BEGIN = """
import fcntl, os, signal, subprocess, sys, threading, time
from pathlib import Path
from bimodal.supervisor import forks
NOWHERE = subprocess.DEVNULL
def until(true):
    end = time.monotonic() + 120
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)
"""


def run(code: str, *arguments: str) -> str:
    """Run code in a fresh interpreter, which has one thread; returns what it prints."""
    command = [sys.executable, "-c", BEGIN + code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_forked_first_is_in_the_table() -> None:
    assert set(forks.FIRST) <= {kind.entry for kind in TABLE.values()}


@pytest.mark.parametrize(
    ("arguments", "starts"),
    [
        (("up",), True),
        (("up", "--config", "x.yaml"), True),
        (("up", "--help"), False),
        (("status",), False),
        ((), False),
    ],
)
def test_only_a_system_that_starts_is_forked(arguments: tuple[str, ...], starts: bool) -> None:
    assert starts_system(arguments) is starts


def test_a_fork_ends_without_settings_and_is_known_to_have_ended() -> None:
    printed = run(
        """
forks.begin(["broker:main"])
one = forks.take("broker:main", NOWHERE)
assert forks.take("broker:main", NOWHERE) is None and one.poll() is None
try:
    one.wait(0.01)
except subprocess.TimeoutExpired:
    print("waits")
os.close(one._pipe)
print(one.wait(), one.poll())
forks.begin(["broker:main", "broker:main"])
two = forks.take("broker:main", NOWHERE)
two.send_signal(signal.SIGTERM)
print(two.wait())
forks.discard_all()
assert forks.take("broker:main", NOWHERE) is None
"""
    )
    assert printed.split() == ["waits", "0", "0", "-15"]


def test_there_is_one_for_each_that_is_needed_and_none_for_another_output() -> None:
    printed = run(
        """
forks.begin(["broker:main", "face.actor:FaceActor"])
forks.provide(["broker:main", "mqtt:MqttActor", "mqtt:MqttActor"], NOWHERE)
for entry, output in [("broker:main", 2), ("face.actor:FaceActor", NOWHERE), *[("mqtt:MqttActor", NOWHERE)] * 3]:
    print(forks.take(entry, output) is not None)
forks.discard_all()
"""
    )
    assert printed.split() == ["False", "False", "True", "True", "False"]


def test_a_process_with_threads_or_that_did_not_begin_is_not_forked() -> None:
    printed = run(
        """
forks.provide(["broker:main"], NOWHERE)
print(forks.take("broker:main", NOWHERE))
threading.Thread(target=threading.Event().wait, daemon=True).start()
forks.begin(["broker:main"])
print(forks.take("broker:main", NOWHERE))
"""
    )
    assert printed.split() == ["None", "None"]


def test_a_fork_keeps_no_lock_no_signal_handler_and_no_file_of_its_parent(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    printed = run(
        """
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
signal.signal(signal.SIGTERM, lambda *_: None)
forks.begin([])
forks.provide(["broker:main"], NOWHERE)
one = forks.take("broker:main", NOWHERE)
there = Path(f"/proc/{one.pid}")
until(lambda: b"bimodal: broker" in (there / "cmdline").read_bytes())
until(lambda: not any(os.readlink(link) == sys.argv[1] for link in (there / "fd").iterdir()))
lock.close()
fcntl.flock(open(sys.argv[1], "w"), fcntl.LOCK_EX | fcntl.LOCK_NB)
one.send_signal(signal.SIGTERM)
print(one.wait())
""",
        str(lock),
    )
    assert printed.split() == ["-15"]


def test_one_that_can_t_load_its_library_refuses_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    printed = run(
        """
import msgspec
from bimodal.workers.actor import ActorSettings
forks.begin(["none_such:Actor"])
one = forks.take("none_such:Actor", NOWHERE)
settings = ActorSettings(name="none", incarnation=1, role="observer", directory=sys.argv[1], slots=sys.argv[1],
                         log=sys.argv[2], parent=os.getpid(), log_level="INFO")
one.tell(msgspec.json.encode(settings))
print(one.wait(120))
""",
        str(tmp_path),
        str(log),
    )
    assert printed.split() == ["1"]
    assert "a library that it needs can't be loaded" in log.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_a_fork_that_runs_a_function_has_a_line_to_its_parent_and_temporary_names_of_its_own() -> None:
    printed = run(
        """
import socket
from bimodal.recordings.parts import tag
ours, theirs = socket.socketpair()
def work():
    socket.socket(fileno=0).sendall(tag().encode())
    return 7
one = forks.Forked("worker", work, theirs.fileno(), NOWHERE)
theirs.close()
print(one.wait(60), ours.recv(100).startswith(b"%d-" % one.pid), tag().startswith(f"{os.getpid()}-"))
"""
    )
    assert printed.split() == ["7", "True", "True"]
