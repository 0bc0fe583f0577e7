"""Journals: every line once, torn ones not at all, and rows only where their results are."""

from __future__ import annotations

from pathlib import Path

import pytest

from bimodal.corpus.journal import JournalReader, JournalWriter, counts, merge_journals
from bimodal.corpus.results import Folder
from bimodal.corpus.run import merge
from bimodal.workers.errors import ConfigError
from tests.corpus.making import item, row_of


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    (folder / "journal").mkdir(parents=True)
    return folder


def test_lines_are_read_once_and_torn_ones_later(corpus: Path, tmp_path: Path) -> None:
    writer, reader = JournalWriter(corpus), JournalReader(corpus)
    rows = [row_of(item(tmp_path / f"{n}.mp4")) for n in range(3)]
    assert list(reader.new_rows()) == []
    writer.append(rows[:2])
    assert list(reader.new_rows()) == rows[:2]
    assert list(reader.new_rows()) == []
    (path,) = (corpus / "journal").glob("*.jsonl")
    with path.open("ab") as file:
        file.write(b'{"clip":"torn')
    writer.append([])
    assert list(reader.new_rows()) == []
    with path.open("ab") as file:
        file.write(b"\n")
    writer.append(rows[2:])
    assert list(reader.new_rows()) == rows[2:]
    writer.close()


def test_damaged_lines_are_told_and_put_aside(corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer = JournalWriter(corpus)
    writer.append([row_of(item(tmp_path / "a.mp4"))])
    writer.close()
    (path,) = (corpus / "journal").glob("*.jsonl")
    whole = path.read_bytes()
    path.write_bytes(b"{junk\n" + whole + b"{more\n")
    reader = JournalReader(corpus)
    rows = list(reader.new_rows())
    assert [row.clip for row in rows] == ["a"]
    assert reader.damaged == {path.name}
    assert caplog.text.count("has lines that can't be read") == 1
    merge_journals(corpus, iter(rows), reader.damaged)
    merged = corpus / "journal/merged.jsonl"
    assert set(merged.parent.iterdir()) == {merged, path.with_name(f"{path.name}.damaged")}
    merged.write_bytes(b"{junk\n")
    with pytest.raises(ConfigError, match=r"no line of .*journal can be read, so the tables stay as they are"):
        merge(tmp_path)
    reader = JournalReader(corpus)
    merge_journals(corpus, iter([*reader.new_rows(), *rows]), reader.damaged)
    assert list(JournalReader(corpus).new_rows()) == rows
    assert (merged.parent / "merged.jsonl.damaged").read_bytes() == b"{junk\n"


def test_journals_of_the_dead_become_one(corpus: Path, tmp_path: Path) -> None:
    rows = [row_of(item(tmp_path / f"{n}.mp4")) for n in range(3)]
    writer = JournalWriter(corpus)
    writer.append(rows)
    merge_journals(corpus, iter(rows))
    assert len(list((corpus / "journal").iterdir())) == 2, "its writer lives, so its journal stays"
    writer.close()
    merge_journals(corpus, iter(rows[1:]))
    assert [path.name for path in (corpus / "journal").iterdir()] == ["merged.jsonl"]
    assert list(JournalReader(corpus).new_rows()) == rows[1:]


def test_a_row_counts_only_where_its_results_are(corpus: Path, tmp_path: Path) -> None:
    clip = row_of(item(tmp_path / "a.mp4"))
    assert not counts(Folder(tmp_path), clip)
    (tmp_path / "a.summary.json").write_text("{}")
    assert counts(Folder(tmp_path), clip)
    picture = row_of(item(tmp_path / "b.png", picture=True), table="frames/pictures/1.parquet")
    assert not counts(Folder(tmp_path), picture)
    (corpus / "frames/pictures").mkdir(parents=True)
    (corpus / "frames/pictures/1.parquet").write_bytes(b"")
    assert counts(Folder(tmp_path), picture)
    assert counts(Folder(tmp_path), row_of(item(tmp_path / "c.mp4"), status="failed"))
