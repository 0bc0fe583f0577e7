"""What is to be done with an input, by what lies in the output folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bimodal.corpus.results import Folder
from bimodal.corpus.resume import Options, decide, set_of_rows
from bimodal.corpus.rows import ClipRow, Item
from bimodal.models.emotions import EMOTIONS, EmotionSet
from bimodal.recordings.identity import sha256_of
from bimodal.recordings.records import ClipRecord, Host, SessionRecord, SourceRecord, StreamRecord, pretty
from tests.corpus.making import item, row_of

NOTHING = Options()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Results of a.mp4."""
    folder = tmp_path / "out"
    folder.mkdir()
    (tmp_path / "a.mp4").write_bytes(b"abc")
    (folder / "a.summary.json").write_text("{}")
    return folder


def made(out: Path, **given: Any) -> tuple[Item, ClipRow]:
    path = out.parent / "a.mp4"
    one = item(path)
    return one, row_of(one, sha256=sha256_of(path), **given)


def test_what_is_complete_stays_unless_asked_or_made_otherwise(out: Path) -> None:
    one, row = made(out)
    assert decide(one, row, Folder(out), "s", NOTHING) == ("done", None)
    assert decide(one, row, Folder(out), "t", NOTHING).verdict == "again"
    assert decide(one, row, Folder(out), "s", Options(again=True)).verdict == "again"
    assert decide(one, None, Folder(out.parent / "none"), "s", NOTHING).verdict == "do"
    carried = msgspec.structs.replace(one, columns={"age": "3"})
    assert decide(carried, row, Folder(out), "s", NOTHING).verdict == "join"
    assert decide(msgspec.structs.replace(one, picture=True), row, Folder(out), "s", NOTHING).verdict == "again"
    gone = msgspec.structs.replace(one, file="/nowhere/a.mp4", bytes=0, mtime_ns=0)
    assert decide(gone, row, Folder(out), "s", NOTHING).verdict == "done"


def test_bytes_are_read_only_where_time_differs_and_decide(out: Path) -> None:
    _one, row = made(out)
    path = out.parent / "a.mp4"
    os.utime(path, ns=(1, 1))
    assert decide(item(path), row, Folder(out), "s", NOTHING).verdict == "done", "touched, not changed"
    path.write_bytes(b"abd")
    verdict = decide(item(path), row, Folder(out), "s", NOTHING)
    assert verdict.verdict == "refused"
    assert "has changed since its results were made" in (verdict.reason or "")
    assert decide(item(path), row, Folder(out), "s", Options(overwrite=True)).verdict == "again"
    other = decide(msgspec.structs.replace(item(path), source="p02/a.mp4"), row, Folder(out), "s", NOTHING)
    assert other.verdict == "refused"
    assert "holds results of another file (a.mp4)" in (other.reason or "")


def test_what_failed_stays_failed_until_asked_or_changed(out: Path) -> None:
    one, row = made(out, status="failed", reason="damaged")
    assert decide(one, row, Folder(out), "s", NOTHING).verdict == "failed"
    assert decide(one, row, Folder(out), "s", Options(retry_failed=True)).verdict == "again"
    assert decide(one, row, Folder(out), "t", NOTHING).verdict == "again"
    (out.parent / "a.mp4").write_bytes(b"whole")
    assert decide(item(out.parent / "a.mp4"), row, Folder(out), "s", NOTHING).verdict == "again"


def test_results_without_a_row_are_taken_over_by_what_they_say(out: Path) -> None:
    one, row = made(out)
    assert decide(one, None, Folder(out), "s", NOTHING).verdict == "refused", "an older version says nothing"
    assert decide(one, None, Folder(out), "s", Options(overwrite=True)).verdict == "again"
    host = Host(name="h", system="s", machine="m", cores=1, python="3")
    session = SessionRecord(
        kind="analysis",
        session="s",
        started="",
        bimodal="1",
        host=host,
        libraries={},
        config={},
        models=[],
        settings="s",
    )
    source = SourceRecord(name="a.mp4", file=one.file, bytes=3, sha256=row.sha256, path="a.mp4", mtime_ns=one.mtime_ns)
    stream = StreamRecord(
        stream="a", policy="every", source=source, has_picture=True, has_sound=False, width=1, height=1, fps=1, hop_s=1
    )
    (out / "a.session.json").write_bytes(pretty(ClipRecord(session=session, stream=stream)))
    assert decide(one, None, Folder(out), "s", NOTHING).verdict == "join"
    assert decide(one, None, Folder(out), "t", NOTHING).verdict == "again"
    (out / "a.summary.json").unlink()
    assert decide(one, None, Folder(out), "s", NOTHING).verdict == "do", "its worker was killed while it renamed"


def test_categories_of_rows_are_columns_even_where_no_record_tells(out: Path) -> None:
    one, row = made(out, kind="picture", other={"contempt": 0.1})
    assert set_of_rows(Folder(out), [row]) == EmotionSet(EMOTIONS, ("contempt",))
    own = EmotionSet(("neutral", "bored"), ("calm",))
    assert set_of_rows(Folder(out), [row], own) == EmotionSet(own.emotions, ("calm", "contempt"))
    assert set_of_rows(Folder(out), [row_of(one)]) is None
