"""The directories of a running system."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bimodal.broker import sockets
from bimodal.broker.errors import EndpointError
from bimodal.supervisor.session import LOCK, Session, sweep_abandoned


@pytest.fixture(autouse=True)
def own_places(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sessions of these tests lie apart from all others, under a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="b-") as short:
        (Path(short) / "shm").mkdir()
        monkeypatch.setattr(sockets, "SHARED_MEMORY", Path(short) / "shm")
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(Path(short) / "run"))
        yield


def abandon(session: Session) -> None:
    """Do as kill -9: the lock goes, the files stay."""
    (session.slots / "ring").write_bytes(b"pixels")
    (session.directory / "mailbox.ipc").touch()
    os.close(session._lock)


def test_a_session_is_private_and_leaves_nothing() -> None:
    session = Session("a")
    assert session.directory.stat().st_mode & 0o777 == 0o700
    assert session.slots.stat().st_mode & 0o777 == 0o700
    session.close()
    assert not session.directory.exists()
    assert not session.slots.exists()


def test_a_session_that_runs_is_not_taken() -> None:
    session = Session("a")
    with pytest.raises(EndpointError, match="already runs as session 'a'"):
        Session("a")
    other = Session("b")
    other.close()
    session.close()


def test_the_same_session_finds_a_clean_place() -> None:
    abandon(Session("a"))
    session = Session("a")
    assert list(session.slots.iterdir()) == []
    assert [path.name for path in session.directory.iterdir()] == [LOCK]
    session.close()


def test_sessions_that_were_killed_are_swept_by_the_next_start_and_running_ones_are_not() -> None:
    killed, running = Session("analyze-1"), Session("running")
    abandon(killed)
    for session in (killed, running):
        os.utime(session.directory / LOCK, (0, 0))
    Session("analyze-2").close()
    assert not killed.directory.exists()
    assert not killed.slots.exists()
    assert running.directory.exists()
    assert running.slots.exists()
    running.close()


def test_a_session_that_is_just_being_made_is_left_alone(tmp_path: Path) -> None:
    young = tmp_path / "run" / "bimodal" / "young"
    young.mkdir(parents=True)
    (young / LOCK).touch()
    sweep_abandoned(young.parent, (young / LOCK).stat().st_mtime + 1.0)
    assert young.exists()
    sweep_abandoned(young.parent, (young / LOCK).stat().st_mtime + 100.0)
    assert not young.exists()


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(EndpointError, match="can't name a session"):
        Session(name)
