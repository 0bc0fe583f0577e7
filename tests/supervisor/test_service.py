"""What a service manager is told, over a socket as systemd's."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bimodal.child_process import child_environment
from bimodal.supervisor.service import FRAMES, SILENT_S, STATUS_EVERY_S, Results, Service, status_line
from bimodal.workers.system_state import SystemState


class Manager:
    """The socket of a service manager, at a path or in the abstract namespace."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.socket.setblocking(False)

    def said(self) -> list[str]:
        """All messages since the last call."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return found


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    abstract = f"@bimodal-test-{os.getpid()}-{os.urandom(4).hex()}"
    found = Manager(abstract if request.param == "abstract" else str(tmp_path / "notify"))
    yield found
    found.socket.close()


def service(manager: Manager, **more: str) -> Service:
    return Service({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "60000000", **more})


def test_ready_is_said_once_and_the_watchdog_is_fed_while_results_come_out(manager: Manager) -> None:
    it = service(manager)
    it.update(ready=False, trouble=None, status="starting", now=0.0)
    assert manager.said() == ["STATUS=starting"]
    it.update(ready=True, trouble=None, status="1 stream", now=1.0)
    assert manager.said() == ["READY=1", "WATCHDOG=1"]
    it.update(ready=True, trouble=None, status="1 stream", now=2.0)
    assert manager.said() == [], "neither more often than it must be"
    it.update(ready=True, trouble=None, status="1 stream", now=STATUS_EVERY_S + 1)
    assert manager.said() == ["STATUS=1 stream"]
    it.update(ready=True, trouble=None, status="1 stream", now=17.0)
    assert manager.said() == ["WATCHDOG=1"], "four times in the time that it allows"
    it.update(ready=True, trouble="no worker answers", status="1 stream", now=18.0)
    assert manager.said() == ["STATUS=no worker answers"]
    it.update(ready=True, trouble="no worker answers", status="1 stream", now=90.0)
    assert manager.said() == [], "the service manager's watchdog bites now"
    it.update(ready=True, trouble=None, status="1 stream", now=91.0)
    assert manager.said() == ["STATUS=1 stream", "WATCHDOG=1"]
    it.stopping()
    assert manager.said() == ["STOPPING=1\nSTATUS=stopping"]


def test_a_status_is_one_line_without_passwords(manager: Manager) -> None:
    service(manager).update(ready=False, trouble=None, status="rtsp://u:secret@cam/1\nREADY=1", now=0.0)
    (said,) = manager.said()
    assert "secret" not in said
    assert "\n" not in said


def test_a_watchdog_of_another_process_is_not_fed(manager: Manager) -> None:
    assert service(manager, WATCHDOG_PID=str(os.getpid())).watchdog_s == 60.0
    assert service(manager, WATCHDOG_PID="1").watchdog_s is None
    assert service(manager, WATCHDOG_USEC="0").watchdog_s is None
    assert service(manager, WATCHDOG_USEC="soon").watchdog_s is None


def test_without_a_service_manager_nothing_happens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    it = Service({})
    it.update(ready=True, trouble=None, status="", now=0.0)
    it.stopping()
    assert caplog.messages == []
    gone = Service({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    gone.update(ready=True, trouble=None, status="a", now=0.0)
    gone.stopping()
    assert len(caplog.messages) == 1, "said once"
    assert "can't be told" in caplog.messages[0]


def test_processes_below_do_not_speak_for_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.setenv(name, "1")
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & set(child_environment())


def test_events_must_follow_analysed_frames() -> None:
    results = Results()
    assert results.missing(0, 0.0) is None
    results.on_event(1.0)
    assert results.missing(10, 1.1) is None
    assert results.missing(10 + FRAMES, 2.0) is None, "a moment is no trouble"
    assert results.missing(10 + FRAMES, 2.0 + SILENT_S) == "20 frames were analysed, and no event came for 21 s"
    results.on_event(30.0)
    assert results.missing(1000, 31.0) is None
    assert results.missing(1000, 300.0) is None, "without frames there are no events"
    assert results.missing(0, 301.0) is None, "another broker counts from 0"


def test_the_status_tells_nothing_of_the_people() -> None:
    assert status_line(SystemState(), None, 0.0) == "0 streams, 0.0 events/s, 0.0 jobs/s dropped"
    assert status_line(SystemState(), "face 1 failed", 0.0).endswith("; degraded: face 1 failed")
