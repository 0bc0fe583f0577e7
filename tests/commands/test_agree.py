"""`bimodal agree` on a corpus: by clip, by stretch, by column, and against another run."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from bimodal.cli import app
from bimodal.corpus.tables import write_tables
from tests.corpus.making import item, row_of
from tests.recordings.events import event


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Four clips, of which one failed; a third of `a` is another emotion."""
    folder = tmp_path / "out"
    (folder / "corpus").mkdir(parents=True)
    rows = [
        row_of(item(tmp_path / f"{name}.mp4", columns={"speaker": speaker}), emotion=label)
        for name, speaker, label in (("a", "S1", "happy"), ("b", "S1", "sad"), ("c", "S2", "fear"))
    ]
    rows.append(row_of(item(tmp_path / "d.mp4"), status="failed"))
    write_tables(folder / "corpus", rows, ["speaker"])
    return folder


def agree(*arguments: str | Path) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["agree", *map(str, arguments)])
    return found.exit_code, found.output


def test_clips_by_speaker_and_against_another_run(out: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("clip,label\na,happy\nb,sad\nc.mp4,disgust\nd,sad\n")
    code, said = agree(out, labels, "--by", "speaker", "--against", out, "--png", tmp_path / "matrix.png")
    assert code == 0, said
    assert "accuracy         0.667" in said
    assert "speaker S1: accuracy 1.000" in said
    assert "speaker S2: accuracy 0.000" in said
    assert "McNemar's exact p = 1" in said
    assert "1 of 4 labels are of clips without results" in said
    assert (tmp_path / "matrix.png").read_bytes().startswith(b"\x89PNG")
    code, said = agree(out, labels, "--json")
    found = msgspec.json.decode(said.splitlines()[0])
    assert (found["units"], found["missing"], found["labels"]) == (3, 1, ["happy", "sad", "fear", "disgust"])


def test_what_is_damaged_or_can_not_be_told_is_said(out: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("clip,label\na,happy\n")
    code, said = agree(out, labels)
    assert code == 0
    assert said.startswith("1 unit of 1 clip, 1 rater")
    assert "Cohen's κ        – [–, –]" in said
    code, said = agree(out, labels, "--png", tmp_path / "matrix.nothing")
    assert (code, "matrix.nothing can't be written: Format 'nothing' is not supported" in said) == (1, True)
    (out / "corpus/clips.parquet").write_bytes(b"junk")
    code, said = agree(out, labels)
    assert code == 1
    assert "clips.parquet is damaged, or no table of clips; 'bimodal corpus merge" in said


def test_stretches_take_the_most_frequent_label_of_their_frames(out: Path, tmp_path: Path) -> None:
    lines = []
    for seq in range(30):
        made = event(seq)
        verdict = msgspec.structs.replace(made.emotion, label="happy" if seq < 20 else "sad")
        lines.append(msgspec.json.encode(msgspec.structs.replace(made, emotion=verdict)) + b"\n")
    (out / "a.jsonl").write_bytes(b"".join(lines))
    labels = tmp_path / "labels.csv"
    labels.write_text("clip,start,end,label,rater\na,0,0.8,happy,X\na,0,0.8,happy,Y\na,0.76,1.2,sad,X\na,9,10,sad,X\n")
    code, said = agree(out, labels, "--json")
    assert code == 0, said
    found = msgspec.json.decode(said.splitlines()[0])
    assert (found["units"], found["accuracy"][0]) == (3, 1.0)
    (out / "a.summary.json").write_text('{"frames": 31}')
    assert "a.jsonl is damaged: 30 of its 31 events can be read" in agree(out, labels)[1]


@pytest.mark.parametrize(
    ("text", "arguments", "sentence"),
    [
        ("clip,label\nz,happy\n", (), "no clip of"),
        ("clip,label\na,happy\n", ("--by", "age"), "the corpus has no column 'age'"),
        ("clip,label\na,happy\n", ("--against", "nowhere"), "nowhere holds no corpus"),
    ],
)
def test_what_can_not_be_compared_is_said(
    out: Path, tmp_path: Path, text: str, arguments: tuple[str, ...], sentence: str
) -> None:
    (tmp_path / "labels.csv").write_text(text)
    code, said = agree(out, tmp_path / "labels.csv", *arguments)
    assert code == 1
    assert sentence in said
