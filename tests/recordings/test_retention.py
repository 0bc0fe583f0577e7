"""Old sessions go, and nothing else does."""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from bimodal.config import Config
from bimodal.recordings.records import SESSION_FILE, STREAM_FILE, pretty
from bimodal.recordings.retention import DAY_S, Retention, delete_session, expired
from bimodal.supervisor.provenance import describe_session

NOW = time.time()
PARTS = ("jsonl", "csv", "parquet", "summary.json", "mp4", "html")


def session(parent: Path, name: str, age_days: float, *, ended: bool = True, kind: str = "live") -> Path:
    """A session folder as recorder, films and reports leave it, last written so many days ago."""
    when = datetime.fromtimestamp(NOW - age_days * DAY_S).astimezone()
    record = describe_session(Config(), "live", "test", when)
    record.kind = kind  # type: ignore[assignment]
    record.ended = when.isoformat() if ended else None
    folder = parent / name
    (folder / "desk").mkdir(parents=True)
    (folder / SESSION_FILE).write_bytes(pretty(record))
    for number in (1, 2):
        for suffix in PARTS:
            (folder / "desk" / f"1000-000{number}.{suffix}").write_text("x")
    (folder / "desk" / "1000-0001-2.mp4").write_text("x")
    (folder / "desk" / ".1000-0002.csv.part").write_text("x")
    (folder / "desk" / STREAM_FILE).write_text("{}")
    (folder / "desk" / "report.html").write_text("x")
    age(folder, age_days)
    return folder


def age(folder: Path, days: float) -> None:
    for path in folder.rglob("*"):
        if not path.is_symlink():
            os.utime(path, (NOW - days * DAY_S,) * 2)


def test_only_what_is_older_goes(tmp_path: Path) -> None:
    session(tmp_path, "young", 2.9)
    old = session(tmp_path, "old", 3.1)
    assert expired(tmp_path, 3.0, NOW) == [old]
    assert expired(tmp_path, 4.0, NOW) == []
    assert expired(tmp_path / "nowhere", 3.0, NOW) == []


def test_a_session_that_was_written_to_lately_stays_however_old_its_start_is(tmp_path: Path) -> None:
    folder = session(tmp_path, "long", 30.0)
    os.utime(folder / "desk" / "1000-0002.jsonl", (NOW - 60, NOW - 60))
    assert expired(tmp_path, 1.0, NOW) == []


def test_one_without_an_end_may_still_run_and_stays_for_a_day_at_least(tmp_path: Path) -> None:
    folder = session(tmp_path, "running", 0.5, ended=False)
    assert expired(tmp_path, 0.1, NOW) == []
    age(folder, 1.5)
    (folder / SESSION_FILE).write_bytes((folder / SESSION_FILE).read_bytes())
    os.utime(folder / SESSION_FILE, (NOW - 1.5 * DAY_S,) * 2)
    record = msgspec.json.decode((folder / SESSION_FILE).read_bytes())
    record["started"] = datetime.fromtimestamp(NOW - 1.5 * DAY_S).astimezone().isoformat()
    (folder / SESSION_FILE).write_bytes(msgspec.json.encode(record))
    os.utime(folder / SESSION_FILE, (NOW - 1.5 * DAY_S,) * 2)
    assert expired(tmp_path, 0.1, NOW) == [folder]


def test_deleting_leaves_nothing_of_a_session(tmp_path: Path) -> None:
    assert delete_session(session(tmp_path, "old", 9.0))
    assert list(tmp_path.iterdir()) == []


def test_nothing_of_anybody_else_is_ever_expired(tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "1000-0001.mp4").write_text("mine")
    (tmp_path / "other json").mkdir()
    (tmp_path / "other json" / SESSION_FILE).write_text('{"session": "somebody else\'s"}')
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / SESSION_FILE).write_text("{")
    session(tmp_path, "analysed", 9.0, kind="analysis")
    (tmp_path / SESSION_FILE).write_text("a file in the parent")
    elsewhere = session(tmp_path / "elsewhere", "old", 9.0)
    (tmp_path / "link").symlink_to(elsewhere, target_is_directory=True)
    (tmp_path / "linked json").mkdir()
    (tmp_path / "linked json" / SESSION_FILE).symlink_to(elsewhere / SESSION_FILE)
    assert expired(tmp_path, 1.0, NOW + 9 * DAY_S) == []


def test_what_somebody_put_into_a_session_stays(tmp_path: Path) -> None:
    folder = session(tmp_path, "old", 9.0)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "1000-0001.mp4").write_text("mine")
    (outside / STREAM_FILE).write_text("{}")
    kept = [folder / "notes.txt", folder / "desk" / "best moments.mp4", folder / "figures" / "a.png"]
    (folder / "figures").mkdir()
    for path in kept:
        path.write_text("mine")
    (folder / "link").symlink_to(outside, target_is_directory=True)
    (folder / "desk" / "1000-0003.mp4").symlink_to(outside / "1000-0001.mp4")
    assert not delete_session(folder)
    assert all(path.read_text() == "mine" for path in kept)
    assert (outside / "1000-0001.mp4").read_text() == "mine"
    assert not (folder / "desk" / "1000-0001.mp4").exists()
    assert (folder / SESSION_FILE).exists()


def test_the_recorders_look_deletes_the_old_and_keeps_its_own(tmp_path: Path) -> None:
    session(tmp_path, "old", 9.0)
    current = session(tmp_path, "current", 9.0)
    retention = Retention(tmp_path, 1.0, current)
    retention.poll()
    assert retention._thread is not None
    retention._thread.join(60)
    assert [path.name for path in tmp_path.iterdir()] == ["current"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may delete everything")
def test_what_may_not_be_deleted_is_no_error(tmp_path: Path) -> None:
    folder = session(tmp_path, "old", 9.0)
    (folder / "desk").chmod(0o500)
    assert not delete_session(folder)
    (folder / "desk").chmod(0o700)
