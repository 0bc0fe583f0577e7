"""The directories of a running system."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bimodal.broker import sockets
from bimodal.broker.errors import ControlError, EndpointError
from bimodal.supervisor.session import Session, find_session, lock_path, running_sessions, sweep_abandoned


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
    session._lock.release()


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
    assert list(session.directory.iterdir()) == []
    session.close()


def test_sessions_that_were_killed_are_swept_by_the_next_start_and_running_ones_are_not() -> None:
    killed, running = Session("analyze-1"), Session("running")
    abandon(killed)
    for session in (killed, running):
        os.utime(lock_path(session.slots), (0, 0))
    Session("analyze-2").close()
    assert not killed.directory.exists()
    assert not killed.slots.exists()
    assert running.directory.exists()
    assert running.slots.exists()
    running.close()


def test_a_session_that_is_just_being_made_is_left_alone() -> None:
    young = Session("young")
    abandon(young)
    made = lock_path(young.slots).stat().st_mtime
    sweep_abandoned(made + 1.0)
    assert young.directory.exists()
    sweep_abandoned(made + 100.0)
    assert not young.directory.exists()
    assert not young.slots.exists()
    assert not lock_path(young.slots).exists()


def test_a_session_has_one_owner_whatever_its_runtime_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    session = Session("a")
    (session.slots / "ring").write_bytes(b"pixels")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(session.directory.parents[1] / "of-cron"))
    with pytest.raises(EndpointError, match=rf"already runs as session 'a' \(process {os.getpid()} on .*sockets in"):
        Session("a")
    assert (session.slots / "ring").read_bytes() == b"pixels"
    assert running_sessions() == ["a"]
    assert find_session("a") == session.directory, "it is found from elsewhere"
    session.close()
    with pytest.raises(ControlError, match=r"no bimodal runs as session 'a'; none runs \(looked for as user .*shm"):
        find_session("a")


def test_two_analyses_of_one_process_number_are_two_sessions() -> None:
    first, second = Session("analyze-1", unique=True), Session("analyze-1", unique=True)
    assert first.name == "analyze-1"
    assert second.name.startswith("analyze-1-")
    assert first.slots.exists()
    assert second.slots.exists()
    second.close()
    first.close()


def test_a_start_while_the_last_one_ends_waits_for_it() -> None:
    for _ in range(50):
        old = Session("a")
        old.ending()
        ended = threading.Thread(target=lambda old=old: (time.sleep(0.6), old.close()))  # type: ignore[misc]
        if _:
            ended = threading.Thread(target=old.close)
        ended.start()
        new = Session("a")
        ended.join()
        assert new.slots.is_dir()
        assert new.directory.is_dir()
        assert not new._lock.lost
        new.close()


def test_folders_and_lock_that_were_swept_are_made_again() -> None:
    session = Session("a")
    shutil.rmtree(session.slots)
    shutil.rmtree(session.directory)
    lock_path(session.slots).unlink()
    assert session.repair() == [session.slots, session.directory]
    assert session.trouble is None
    assert session.repair() == []
    with pytest.raises(EndpointError, match="already runs"):
        Session("a")
    session.close()


def test_who_lost_the_session_to_another_says_so_and_removes_nothing() -> None:
    lost = Session("a")
    lock_path(lost.slots).unlink()
    taken = Session("a")
    with pytest.raises(EndpointError, match="another bimodal has taken the session: process"):
        lost.repair()
    lost.close()
    assert taken.slots.is_dir()
    assert taken.directory.is_dir()
    taken.close()


def test_a_folder_that_cannot_be_made_again_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session("a")
    runtime = session.directory.parents[1]
    shutil.rmtree(runtime)
    runtime.touch()
    assert session.repair() == []
    assert session.trouble is not None
    assert "was removed and can't be made again" in session.trouble
    runtime.unlink()
    assert session.repair() == [session.directory]
    session.close()


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(EndpointError, match="can't name a session"):
        Session(name)
