"""`bimodal convert` and `report` of results that are damaged in part."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from bimodal.commands.convert import convert
from bimodal.commands.report import report
from bimodal.recordings.tables import event_line
from tests.recordings.events import event


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A clip that is well, one whose lines are no events, and one whose record is damaged."""
    for name in ("a", "c"):
        (tmp_path / f"{name}.jsonl").write_bytes(event_line(event(0)))
        (tmp_path / f"{name}.summary.json").write_text("{}")
    (tmp_path / "b.jsonl").write_text("{broken\n")
    (tmp_path / "c.session.json").write_text('{"session": 3}')
    return tmp_path


def test_a_clip_that_can_not_be_read_costs_the_others_nothing(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (results / "a.summary.json").write_text('{"frames": 2}')
    with pytest.raises(typer.Exit) as ended:
        convert(results, "eaf")
    assert ended.value.exit_code == 1
    assert sorted(path.name for path in results.glob("*.eaf")) == ["a.eaf", "c.eaf"]
    err = capsys.readouterr().err
    assert "b.jsonl is no event" in err
    assert f"bimodal: {results}/a.jsonl is damaged: 1 of its 2 events can be read\n" in err


def test_a_report_says_what_it_could_not_read(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results / "a.summary.json").write_text('{"frames": 2}')
    with pytest.raises(typer.Exit):
        report(results)
    err = capsys.readouterr().err
    assert f"{results}/c.session.json can't be read, so what it says of c is not known" in err
    assert f"{results}/a.jsonl is damaged: 1 of its 2 events can be read" in err
    assert "b.jsonl is no event" in err
    assert (results / "c.html").is_file()


NAME = "a\x1b[2J\u202e\xa0\nb"


def test_names_of_files_do_not_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (tmp_path / NAME, tmp_path / "caf\udce9"):
        folder.mkdir()
        (folder / f"{NAME}.jsonl").write_bytes(event_line(event(0)))
        (folder / f"{NAME}.summary.json").write_text("{}")
        convert(folder, "eaf")
        report(folder)
    out = capsys.readouterr().out
    assert out.count(r"a\x1b[2J\u202e\xa0\nb.eaf") == 2
    assert all(char.isprintable() or char == "\n" for char in out)
    assert all(line.startswith(str(tmp_path)) for line in out.splitlines())
    assert "caf%E9" in out
