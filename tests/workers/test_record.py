"""The recorder's actor: what a failing disk costs a file, and what it costs a live stream."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import msgspec
import pytest

from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Body, StreamClosed
from bimodal.recordings.reading import clips
from bimodal.workers import record as actor
from bimodal.workers.actor import ActorSettings
from bimodal.workers.record import RecordActor
from bimodal.workers.settings import RecordActorSettings, RecordSettings
from tests.recordings.disk import fill_disk
from tests.recordings.events import event, face, opened


class Post:
    """Stands at the other end: keeps what was sent."""

    def __init__(self) -> None:
        self.sent: list[Body] = []

    def send(self, body: Body) -> None:
        self.sent.append(body)


@pytest.fixture(autouse=True)
def own_umask() -> Iterator[None]:
    """A recorder of live streams changes that of its process."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def recorder(folder: Path, post: Post, **settings: object) -> RecordActor:
    own = RecordActorSettings(record=RecordSettings(folder=str(folder)), **settings)  # type: ignore[arg-type]
    told = ActorSettings(
        name="record", incarnation=1, role="recorder", directory="", slots="", own=msgspec.to_builtins(own)
    )
    return RecordActor(told, cast("Mailbox", post))


def live(**changes: object) -> object:
    return opened(policy="latest", stream="desk", **changes)


def felt(seq: int, run: int = 3) -> object:
    return msgspec.structs.replace(event(seq, faces=[face()]), stream="desk", run=run)


def test_a_file_is_kept_and_said_to_be(tmp_path: Path) -> None:
    post = Post()
    found = recorder(tmp_path, post)
    found.receive(opened())
    for seq in range(5):
        found.receive(event(seq))
    found.receive(StreamClosed(stream="clip", run=3, frames=5))
    assert post.sent == [StreamClosed(stream="clip", run=3, frames=5)]
    assert (tmp_path / "clip.summary.json").is_file()
    assert found.figures() == {"kept": 5.0}


def test_events_of_another_run_are_not_kept(tmp_path: Path) -> None:
    found = recorder(tmp_path, Post())
    found.receive(live(run=3))  # type: ignore[arg-type]
    found.receive(felt(0, run=2))  # type: ignore[arg-type]
    found.receive(felt(0, run=3))  # type: ignore[arg-type]
    found.close()
    (clip,) = clips(tmp_path / "desk")
    assert [one.seq for one, _ in clip.events()] == [0]


def test_a_new_run_of_a_live_stream_leaves_the_old_one_complete(tmp_path: Path) -> None:
    found = recorder(tmp_path, Post())
    for run in (1000, 2000):
        found.receive(live(run=run))  # type: ignore[arg-type]
        for seq in range(3):
            found.receive(felt(seq, run))  # type: ignore[arg-type]
    found.close()
    assert {path.name for path in (tmp_path / "desk").glob("*.summary.json")} == {
        "1000-0001.summary.json",
        "2000-0001.summary.json",
    }


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_fails_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_disk(monkeypatch, "clip.csv")
    post = Post()
    found = recorder(tmp_path, post)
    found.receive(opened())
    found.receive(event(0))
    found.receive(StreamClosed(stream="clip", run=3, frames=1))
    (closed,) = post.sent
    assert isinstance(closed, StreamClosed)
    assert "the disk is full" in (closed.because or "")
    assert found.degraded_reason() is None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_costs_a_live_stream_its_recording_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_disk(monkeypatch, "0003-0001.csv")
    monkeypatch.setattr(actor, "FLUSH_EVERY_S", 0.0)
    post = Post()
    found = recorder(tmp_path, post)
    found.receive(live())  # type: ignore[arg-type]
    found.receive(felt(0))  # type: ignore[arg-type]
    assert "desk is not being recorded: the disk is full" in (found.degraded_reason() or "")
    found.receive(felt(1))  # type: ignore[arg-type]
    assert post.sent == [], "the stream itself goes on"
    monkeypatch.setattr(actor, "RETRY_AFTER_S", 0.0)
    found.receive(live(run=4))  # type: ignore[arg-type]
    for seq in range(3):
        found.receive(felt(seq, 4))  # type: ignore[arg-type]
    assert found.degraded_reason() is None
    found.receive(StreamClosed(stream="desk", run=4, frames=3))
    assert post.sent == [StreamClosed(stream="desk", run=4, frames=3)]
    (clip,) = clips(tmp_path / "desk")
    assert [(one.run, one.seq) for one, _ in clip.events()] == [(3, 0), (4, 0), (4, 1), (4, 2)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_live_stream_is_tried_again_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_disk(monkeypatch, "0003-0001.csv")
    monkeypatch.setattr(actor, "FLUSH_EVERY_S", 0.0)
    monkeypatch.setattr(actor, "RETRY_AFTER_S", 0.0)
    found = recorder(tmp_path, Post())
    found.receive(live())  # type: ignore[arg-type]
    found.receive(felt(0))  # type: ignore[arg-type]
    assert found.degraded_reason() is not None
    for seq in (1, 2):
        found.receive(felt(seq))  # type: ignore[arg-type]
    assert found.degraded_reason() is None
    found.close()
    (clip,) = clips(tmp_path / "desk")
    assert [one.seq for one, _ in clip.events()] == [0, 1, 2]


def test_a_live_recording_is_private(tmp_path: Path) -> None:
    found = recorder(tmp_path, Post())
    found.receive(live(run=3))  # type: ignore[arg-type]
    found.receive(felt(0))  # type: ignore[arg-type]
    found.close()
    made = [path for path in tmp_path.rglob("*") if path != tmp_path]
    assert made
    assert {path.stat().st_mode & 0o077 for path in made} == {0}


def test_results_of_files_follow_the_umask(tmp_path: Path) -> None:
    own = RecordActorSettings(record=RecordSettings(folder=str(tmp_path), private=False))
    told = ActorSettings(
        name="record", incarnation=1, role="recorder", directory="", slots="", own=msgspec.to_builtins(own)
    )
    found = RecordActor(told, cast("Mailbox", Post()))
    found.receive(opened())
    found.receive(event(0))
    found.receive(StreamClosed(stream="clip", run=3, frames=1))
    assert (tmp_path / "clip.jsonl").stat().st_mode & 0o777 == 0o644
