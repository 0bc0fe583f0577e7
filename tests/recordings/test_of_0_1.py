"""Results and recordings of version 0.1 are read, reported and compared by this one."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from bimodal.recordings.reading import clips
from bimodal.recordings.tables import COLUMNS, csv_header, csv_lines, event_line, rows
from tests.end_to_end.driving import run

FILES = Path(__file__).parent / "of_0_1"
SESSION = "default-2026-11-29T14-06-14"


def assert_holds(now: Any, then: Any) -> None:
    """Everything that `then` says, `now` says too."""
    if isinstance(then, dict):
        for key, value in then.items():
            assert_holds(now[key], value)
    elif isinstance(then, list):
        for one, was in zip(now, then, strict=True):
            assert_holds(one, was)
    else:
        assert now == then


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy, whose clip lies where its results say."""
    shutil.copytree(FILES, tmp_path, dirs_exist_ok=True)
    beside = tmp_path / "results" / "smile.session.json"
    beside.write_text(beside.read_text(encoding="utf-8").replace("/clips", str(tmp_path)), encoding="utf-8")
    return tmp_path


def test_results_of_a_file_are_read() -> None:
    (clip,) = clips(FILES / "results")
    events = [event for event, _ in clip.events()]
    assert clip.session is not None
    assert clip.session.bimodal == "0.1.0"
    assert [event.seq for event in events] == list(range(35))
    assert {event.emotion.label for event in events} == {"happy"}
    assert {event.speech.label for event in events if event.speech is not None} == {None, "happy"}


def test_a_live_recording_is_read() -> None:
    (clip,) = clips(FILES / SESSION)
    assert clip.live
    assert clip.name == "desk"
    assert len(list(clip.events())) == 14


def test_what_0_1_wrote_of_an_event_is_still_written() -> None:
    """Keys and columns may be added; those of 0.1 keep their names and values."""
    (clip,) = clips(FILES / "results")
    events = [event for event, _ in clip.events()]
    lines = (FILES / "results" / "smile.jsonl").read_bytes().splitlines()
    for event, line in zip(events, lines, strict=True):
        assert_holds(json.loads(event_line(event)), json.loads(line))
    now = csv.DictReader(
        io.StringIO((csv_header() + csv_lines(row for event in events for row in rows(event))).decode())
    )
    then = csv.DictReader(io.StringIO((FILES / "results" / "smile.csv").read_text(encoding="utf-8")))
    for row, old_row in zip(now, then, strict=True):
        assert_holds(row, old_row)
    assert set(pq.read_schema(FILES / "results" / "smile.parquet").names) <= {column.name for column in COLUMNS}


def test_report_writes_their_pages(old: Path) -> None:
    for place, page in (("results", "smile.html"), (SESSION, "desk/report.html")):
        code, _, err = run("report", old / place)
        assert code == 0, err
        assert "happy" in (old / place / page).read_text(encoding="utf-8")


def test_diff_compares_the_clip_with_what_was_said_of_it(old: Path) -> None:
    code, out, err = run("diff", old / "results", "--model", "face-static=face-compact", "--json")
    assert code == 0, err
    (found,) = json.loads(out)
    comparison = found["comparison"]
    assert (comparison["frames"], comparison["unmatched"]) == (35, 0)
    assert comparison["was"]["models"]["face-static"] == "face-compact@1"
