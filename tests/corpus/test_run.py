"""A whole corpus: killed twice, finished, each clip once, and its events are the detector's."""

from __future__ import annotations

import csv
import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import typer

import bimodal
from bimodal.commands.corpus import run_corpus
from bimodal.config import Config
from bimodal.corpus.run import CorpusRequest
from tests.corpus.corpora import POISON, differences, left_behind, make_tree, poisoned
from tests.end_to_end.driving import PATIENCE_S, Driven, run

CLIPS, PICTURES = 9, 24


def rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / "corpus" / "clips.csv").open() as file:
        return {row["clip"]: row for row in csv.DictReader(file)}


def journaled(out: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in (out / "corpus" / "journal").glob("*.jsonl"))


def kill_after(out: Path, count: int, *arguments: str | Path) -> None:
    """Start a run and kill it once its journals hold `count` lines."""
    with Driven("analyze", *arguments, "--out", out) as driven:
        end = time.monotonic() + PATIENCE_S
        while journaled(out) < count and driven.process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.02)
        driven.process.kill()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("corpus") / "study", CLIPS, PICTURES)


@pytest.fixture(scope="module")
def finished(study: Path) -> tuple[Path, int, str, str, dict[Path, int]]:
    """A run that was killed twice and then finished: folder, exit code, stdout, stderr, and times before it."""
    return finish(study, study.with_name("out"))


def finish(study: Path, out: Path, first: int = 2, second: int = 6) -> tuple[Path, int, str, str, dict[Path, int]]:
    with poisoned(study):
        kill_after(out, first, study)
        kill_after(out, second, study)
        before = {path: path.stat().st_mtime_ns for path in out.rglob("*.summary.json")}
        code, said, errors = run("analyze", study, "--out", out)
    return out, code, said, errors, before


def check(study: Path, out: Path, clips: int, pictures: int) -> None:
    """Every clip once, in all tables; nothing left behind; events as the detector's."""
    found = rows(out)
    counted = Counter((row["kind"], row["status"]) for row in found.values())
    assert counted == {("clip", "done"): clips + 2, ("clip", "failed"): 4, ("picture", "done"): pictures}
    assert found["p01/poison"]["reason"].startswith(f"p01/{POISON} ended its worker 3 times: its worker was ended by")
    assert {"p00/voice", "p01/voice"} <= found.keys()
    frames = ds.dataset(out / "corpus" / "frames", format="parquet").to_table(columns=["clip", "seq", "track"])
    keys = list(zip(*(frames[name].to_pylist() for name in ("clip", "seq", "track")), strict=True))
    assert len(keys) == len(set(keys)), "no row twice"
    done = {clip for clip, row in found.items() if row["status"] == "done"}
    assert {clip for clip, _, _ in keys} == done
    assert pq.read_table(out / "corpus" / "clips.parquet").num_rows == len(found)
    assert left_behind(out) == []
    with bimodal.Detector() as detector:
        assert differences(study, out, detector) == []


def test_killed_twice_and_finished_each_clip_is_done_once(
    study: Path, finished: tuple[Path, int, str, str, dict[Path, int]]
) -> None:
    out, code, said, errors, before = finished
    assert code == 1
    assert "Traceback" not in errors
    assert "done before" in said
    assert "4 failed" in said
    assert "no media" not in said
    for path, mtime in before.items():
        assert path.stat().st_mtime_ns == mtime, "what was complete stays untouched"
    check(study, out, CLIPS, PICTURES)


def test_again_there_is_nothing_to_do_and_what_failed_is_told(
    study: Path, finished: tuple[Path, int, str, str, dict[Path, int]]
) -> None:
    out = finished[0]
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.suffix in (".jsonl", ".html")}
    code, said, errors = run("analyze", study, "--out", out)
    done = CLIPS + 2 + PICTURES
    assert (code, said) == (1, f"{done} done before, 4 failed → {out}/\n")
    assert "--retry-failed" in errors
    assert all(path.stat().st_mtime_ns == mtime for path, mtime in before.items() if "corpus" not in path.parts)
    code, said, _ = run("analyze", study, "--out", out, "--dry-run")
    assert code == 0
    assert said.endswith(f"{done + 4} inputs: 0 to do, {done} done before, 4 failed before, 0 refused\n")
    failures = list(csv.DictReader((out / "corpus" / "failures.csv").open()))
    assert [row["clip"] for row in failures] == ["broken/cut", "broken/empty", "broken/noise", "p01/poison"]
    assert all(row["reason"] for row in failures)


def test_a_list_carries_its_columns_and_joins_what_is_there(
    study: Path, finished: tuple[Path, int, str, str, dict[Path, int]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (tmp_path / "list.csv").write_text(
        f"path,participant\n{study}/p00/take0.mp4,P1\n{study}/p00/voice.wav,P2\n{study}/faces/0001.png,P3\n"
    )
    code, said, _ = run("analyze", f"@{tmp_path / 'list.csv'}", "--out", out, "--json")
    assert code == 0
    lines = [json.loads(line) for line in said.splitlines()]
    assert lines[-1]["type"] == "end"
    assert lines[-1]["done"] == 3
    assert {line["columns"]["participant"] for line in lines if line["type"] == "clip"} == {"P1", "P2", "P3"}
    frames = ds.dataset(out / "corpus" / "frames", format="parquet").to_table(columns=["clip", "participant"])
    assert set(zip(frames["clip"].to_pylist(), frames["participant"].to_pylist(), strict=True)) == {
        ("take0", "P1"),
        ("voice", "P2"),
        ("0001", "P3"),
    }
    mtime = (out / "take0.jsonl").stat().st_mtime_ns
    (tmp_path / "list.csv").write_text(f"path,group\n{study}/p00/take0.mp4,control\n")
    code, said, _ = run("analyze", f"@{tmp_path / 'list.csv'}", "--out", out)
    assert code == 0
    assert said.startswith("1 done now")
    assert (out / "take0.jsonl").stat().st_mtime_ns == mtime
    assert rows(out)["take0"]["group"] == "control"
    assert rows(out)["voice"]["participant"] == "P2"


def test_a_source_that_changed_is_refused_until_asked(study: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "study", tmp_path / "out"
    folder.mkdir()
    (folder / "a.wav").write_bytes((study / "p00" / "voice.wav").read_bytes())
    result = bimodal.analyze_corpus([folder, folder / "a.wav"], out=out)
    assert (result.count.total, result.count.done) == (1, 1), "what is named twice is done once"
    data = bytearray((folder / "a.wav").read_bytes())
    data[-1] ^= 1
    (folder / "a.wav").write_bytes(data)
    code, _, errors = run("analyze", folder, "--out", out)
    assert code == 1
    assert "has changed since its results were made; --overwrite replaces them" in errors
    assert rows(out)["a"]["status"] == "failed"
    result = bimodal.analyze_corpus(folder, out=out, overwrite=True)
    assert (result.count.done, result.count.again, result.failures.num_rows) == (1, 1, 0)
    assert result.speech.count_rows() == result.clips["hops"].to_pylist()[0] > 0


def test_a_folder_that_may_not_be_read_is_refused_and_the_rest_done(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "study", tmp_path / "out"
    (folder / "closed").mkdir(parents=True)
    for name in ("closed.wav", "closed/b.wav"):
        (folder / name).write_bytes((study / "p00" / "voice.wav").read_bytes())
    scandir = os.scandir

    def refused(path: Any = ".") -> Any:
        if path == folder / "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refused)
        request = CorpusRequest(given=(str(folder),), out=str(out))
        with pytest.raises(typer.Exit) as ended:
            run_corpus(request, Config(), tmp_path / "log")
    assert ended.value.exit_code == 1
    said = capsys.readouterr()
    assert said.out.startswith("1 done now, 1 refused; ")
    assert f"the folder {folder}/closed can't be read: Permission denied" in said.err
    assert {clip: row["status"] for clip, row in rows(out).items()} == {"closed": "done", "closed/": "failed"}
    code, said_now, _ = run("analyze", folder, "--out", out)
    assert (code, said_now.split(";")[0]) == (0, "1 done before, 1 done now"), "once it can be read"
    assert {clip: row["status"] for clip, row in rows(out).items()} == {"closed": "done", "closed/b": "done"}


def test_shards_do_all_of_it_together_and_are_merged(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for number in (1, 2):
        code, _, _ = run("analyze", study / "faces", "--out", out, "--shard", f"{number}/2")
        assert code == 0
        assert (out / "corpus" / f"shard-{number}-of-2.clips.csv").exists()
    code, said, _ = run("corpus", "merge", out)
    assert (code, said) == (0, f"{PICTURES} clips, 0 failed → {out / 'corpus'}/\n")
    assert len(rows(out)) == PICTURES
    again = bimodal.analyze_corpus(study / "faces", out=out)
    assert (again.count.before, again.count.done) == (PICTURES, 0)


def test_two_runs_at_once_share_the_work(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with Driven("analyze", study / "p00", "--out", out) as one, Driven("analyze", study / "p00", "--out", out) as two:
        first, second = one.finish(), two.finish()
    assert (first[0], second[0]) == (0, 0), (first, second)
    assert len(rows(out)) == CLIPS // 3 + 1
    assert left_behind(out) == []
    frames = ds.dataset(out / "corpus" / "frames", format="parquet").to_table(columns=["clip", "seq"])
    assert frames.num_rows == len(set(zip(frames["clip"].to_pylist(), frames["seq"].to_pylist(), strict=True)))


def test_what_can_not_be_said_of_a_corpus_is_refused(study: Path, tmp_path: Path) -> None:
    for arguments, sentence in (
        ((study, "--annotate"), "go with files that are named, not with a corpus"),
        ((study, "--shard", "3/2"), "--shard is I/N"),
        ((study, "--address", "auto"), "--address goes with --engine ray"),
        ((study / "p00" / "*.avi",), "matches no media file"),
    ):
        code, _, errors = run("analyze", *arguments, "--out", tmp_path / "out")
        assert code != 0
        assert sentence in " ".join(errors.replace("│", " ").split())
    code, _, errors = run("corpus", "merge", tmp_path)
    assert code == 1
    assert "holds no corpus" in errors


@pytest.mark.slow
def test_a_hundred_and_twenty_clips_killed_twice(tmp_path: Path) -> None:
    study = make_tree(tmp_path / "study", 114, 200)
    out, code, _, errors, _ = finish(study, tmp_path / "out", 20, 150)
    assert code == 1, errors
    check(study, out, 114, 200)
