"""The engine `ray` on a local cluster: an actor killed mid-clip, the driver killed, a poison, two drivers at once."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path

import pytest

import bimodal
from tests.corpus.corpora import differences, left_behind, make_tree, poisoned
from tests.corpus.test_run import kill_after, rows
from tests.end_to_end.driving import Driven, run

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray (the extra 'ray')")

CLIPS, PICTURES = 6, 8


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("ray") / "study", CLIPS, PICTURES)


def test_whatever_dies_each_clip_is_done_once(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with poisoned(study):
        kill_after(out, 2, study, "--engine", "ray", "--workers", "1")
        code, said, errors = run("analyze", study, "--out", out, "--engine", "ray", "--workers", "1")
    assert code == 1, errors
    assert "done before" in said
    found = rows(out)
    assert found["p01/poison"]["reason"] == "p01/poison.mp4 ended its worker 3 times: its Ray actor died"
    assert sum(row["status"] == "done" for row in found.values()) == CLIPS + 2 + PICTURES
    assert {row["engine"] for row in found.values() if row["status"] == "done"} == {"ray"}
    assert left_behind(out) == []
    with bimodal.Detector() as detector:
        assert differences(study, out, detector) == []


def test_a_ray_driver_and_a_local_run_share_one_output(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ray = ("--engine", "ray", "--workers", "1")
    with Driven("analyze", study / "p00", "--out", out, *ray) as one:
        time.sleep(3.0)
        with Driven("analyze", study / "p00", "--out", out) as two:
            first, second = one.finish(), two.finish()
    assert (first[0], second[0]) == (0, 0), (first, second)
    assert len(rows(out)) == CLIPS // 3 + 1
    assert left_behind(out) == []


def test_a_cluster_that_is_not_there_is_said(study: Path, tmp_path: Path) -> None:
    arguments = ("analyze", study, "--out", tmp_path / "out", "--engine", "ray", "--address", "127.0.0.1:9")
    code, _, errors = run(*arguments)
    assert code == 1
    assert "Ray can't be reached at 127.0.0.1:9" in errors
    assert "Traceback" not in errors
