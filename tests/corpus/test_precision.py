"""A corpus keeps the variant of its first clip."""

from __future__ import annotations

from pathlib import Path

import pytest

from bimodal.config import check_config
from bimodal.corpus.journal import JournalWriter
from bimodal.corpus.precision import FILE, keep, kept
from bimodal.corpus.rows import ClipRow
from bimodal.corpus.run import CorpusRequest, Run


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "journal").mkdir()
    return tmp_path


def row(clip: str, static: str, status: str = "done") -> ClipRow:
    return ClipRow(clip=clip, source=clip, file=clip, kind="clip", status=status, models={"face-static": static})  # type: ignore[arg-type]


def test_the_first_run_decides_and_the_others_follow(corpus: Path) -> None:
    assert kept(corpus) is None
    assert keep(corpus, "int8", replace=False) == "int8"
    assert keep(corpus, "fp32", replace=False) == "int8"
    assert kept(corpus) == "int8"
    assert [path.name for path in corpus.iterdir() if path.is_file()] == [FILE]


def test_what_config_names_replaces_it(corpus: Path) -> None:
    keep(corpus, "int8", replace=False)
    assert keep(corpus, "fp32", replace=True) == "fp32"
    assert kept(corpus) == "fp32"


@pytest.mark.parametrize(("static", "precision"), [("face-robust-int8@1", "int8"), ("face-robust@1", "fp32")])
def test_without_a_file_the_first_clip_that_is_done_tells(corpus: Path, static: str, precision: str) -> None:
    journal = JournalWriter(corpus)
    journal.append([row("a", "face-robust-int8@1", "failed"), row("b", static), row("c", "face-robust-int8@1")])
    journal.close()
    assert kept(corpus) == precision


def test_a_file_that_says_something_else_is_as_none(corpus: Path) -> None:
    (corpus / FILE).write_text("int4\n")
    assert kept(corpus) is None


def run_into(out: Path, precision: str) -> Run:
    values = {"models": {"face-static": "face-compact"}, "runtime": {"precision": precision}}
    return Run(CorpusRequest(given=(str(out),), out=str(out)), check_config(values, "the test"))


def test_runs_on_other_processors_follow_the_first(tmp_path: Path) -> None:
    """Settings, and with them the identity of results, are those of the variant that counts, whoever was faster."""
    settings = {}
    for precision in ("fp32", "int8"):
        run = run_into(tmp_path / precision, precision)
        settings[precision] = run.settings
        run.close()
    assert settings["fp32"] != settings["int8"]
    late = run_into(tmp_path / "shared", "auto")
    other = "int8" if late.settings == settings["fp32"] else "fp32"
    (tmp_path / "shared/corpus").mkdir(parents=True)
    keep(tmp_path / "shared/corpus", other, replace=False)  # type: ignore[arg-type]
    told = late.worker_settings()
    assert late.settings == settings[other]
    assert told.config["runtime"]["precision"] == other  # type: ignore[index]
    late.close()
    next_one = run_into(tmp_path / "shared", "auto")
    assert next_one.settings == settings[other]
    next_one.close()
