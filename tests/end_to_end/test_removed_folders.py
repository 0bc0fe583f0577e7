"""Slots and runtime folder of a running system are removed under it: it makes them again, and results come out."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from bimodal.broker.sockets import events_endpoint, session_directory, slots_directory
from bimodal.supervisor.session import lock_path
from tests.end_to_end.driving import PATIENCE_S, Driven, events_of, run, summary_of
from tests.end_to_end.living import Living, static_model, status, until
from tests.media import face_clip


def wait_until_exists(*places: Path) -> None:
    end = time.monotonic() + PATIENCE_S
    while not all(place.exists() for place in places):
        assert time.monotonic() < end, f"{places} were not made again"
        time.sleep(0.05)


def restarted(session: str, *names: str) -> None:
    until(
        session,
        lambda found: all(
            process["state"] == "ready" and process["figures"]["restarts"] >= 1
            for process in found["processes"]
            if process["name"] in names
        ),
    )


def test_a_live_system_whose_slots_were_removed_goes_on_with_new_processes(tmp_path: Path) -> None:
    living, session = Living(tmp_path), "test-no-slots"
    with living.up(session) as driven:
        driven.wait_for(lambda body: static_model(body) is not None)
        slots = slots_directory(session)
        shutil.rmtree(slots)
        driven.kill("face 1")
        driven.kill("capture clip")
        restarted(session, "face 1", "capture clip")
        wait_until_exists(slots)
        seen = [driven.wait_for(lambda body: static_model(body) is not None) for _ in range(30)]
        assert len(seen) == 30
        until(session, lambda found: status(session)[0] == 0)


def test_a_live_system_whose_runtime_folder_was_removed_starts_its_processes_again(tmp_path: Path) -> None:
    living, session = Living(tmp_path), "test-no-runtime"
    with living.up(session) as driven:
        driven.wait_for(lambda body: static_model(body) is not None)
        directory = session_directory(session)
        shutil.rmtree(directory)
        lock_path(slots_directory(session)).unlink()
        wait_until_exists(directory, directory / "mailbox.ipc", directory / "events.ipc", directory / "control.ipc")
        driven.kill("face 1")
        restarted(session, "face 1")
        with Driven("subscribe", "--session", session, "--count", "3") as reader:
            assert reader.finish()[0] == 0
        code, out, _ = run("up", "--config", living.path, "--session", session)
        assert code == 1, out


def test_a_file_whose_slots_were_removed_loses_no_frame(tmp_path: Path) -> None:
    clip = face_clip(tmp_path / "clip.mp4", 20.0)
    with Driven("analyze", clip, "--out", tmp_path / "out", "--face-workers", "1") as driven:
        slots = slots_directory(driven.session)
        driven.wait_for(lambda body: static_model(body) is not None)
        shutil.rmtree(slots)
        driven.kill("face 1")
        code, out, err = driven.finish()
    assert code == 0, (out, err)
    assert summary_of(tmp_path / "out", "clip").get("failed_frames", 0) == 0
    assert len(events_of(tmp_path / "out", "clip")) >= 500


def test_status_from_elsewhere_finds_the_session_and_the_second_owner_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    living, session = Living(tmp_path), "test-one-owner"
    with living.up(session) as driven:
        driven.wait_for(lambda body: static_model(body) is not None)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "r"))
        until(session, lambda found: found["streams"] != [])
        code, _, err = run("up", "--config", living.path, "--session", session)
        assert code == 1
        assert f"already runs as session '{session}' (process {driven.process.pid} on" in err
        assert slots_directory(session).exists()
        monkeypatch.undo()
        driven.wait_for(lambda body: static_model(body) is not None)
        os.kill(driven.process.pid, signal.SIGINT)
        assert driven.finish()[0] == 0
        code, _, err = run("status", "--session", session)
        assert code == 1
        assert "looked for as user" in err
    assert events_endpoint(session_directory(session)).startswith("ipc://")
