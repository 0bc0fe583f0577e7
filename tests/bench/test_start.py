"""`start`: one real start; the memory of few processes; and what is made of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bimodal
from bimodal import bench, broker, models, workers
from bimodal.bench import start
from bimodal.bench.figures import BenchError
from bimodal.bench.machine import pss_mib, together_mib
from bimodal.bench.media import at_pace
from bimodal.bench.start import bare, bare_memory, first_event, memory_of, models_of
from bimodal.bench.system import measured
from bimodal.config import Config
from bimodal.workers.capture.files import probe
from bimodal.workers.capture.settings import StreamSettings
from tests.bench.planning import short_plan


def test_a_start_and_the_memory_of_one_and_two_workers(tmp_path: Path) -> None:
    plan = short_plan(tmp_path)
    config = measured(
        plan, {"clip": StreamSettings(file=str(at_pace(tmp_path / "clip.mp4", 30, sound=False)), loop=True)}
    )
    started = first_event(plan, config)
    assert 0 < started.bus < started.event
    assert all(0 < seconds <= started.event for seconds in started.ready.values())
    whole, processes = memory_of(plan, config, (1, 2))
    assert {"supervisor", "broker", "face 1", "fusion", "capture clip"} == set(processes)
    assert all(mib > 0 for mib in processes.values())
    assert 0 < whole[0] < whole[1]


def test_memory_of_one_and_of_two_bare_processes_with_the_models() -> None:
    one, two = bare_memory(models_of(Config()), 2)
    assert 0 < one < two


def test_a_bare_process_that_can_not_open_its_model_is_one_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(BenchError, match=r"bare process can.t open the models: .*none\.onnx"),
        bare([tmp_path / "none.onnx"]),
    ):
        pass


def test_memory_of_a_process_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="can't be read"):
        pss_mib(1, tmp_path)
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "smaps_rollup").write_text("00400000-7fff ---p 00000000 00:00 0 [rollup]\nRss: 9 kB\n")
    with pytest.raises(BenchError, match="does not say"):
        pss_mib(7, tmp_path)
    (tmp_path / "7" / "smaps_rollup").write_text("[rollup]\nRss: 9000 kB\nPss:            2048 kB\n")
    assert pss_mib(7, tmp_path) == 2.0
    assert together_mib([]) == 0.0


def test_memory_of_several_leaves_out_only_what_has_ended(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as ended:
        ended.wait()
    assert together_mib([ended.pid]) == 0.0
    with pytest.raises(BenchError, match="can't be read"):
        together_mib([ended.pid, os.getpid()], tmp_path)


def test_what_a_start_reads_is_found_and_can_be_let_go(tmp_path: Path) -> None:
    model, library = tmp_path / "deeper" / "model.onnx", tmp_path / "lib.so.3"
    model.parent.mkdir()
    for file in (model, library, tmp_path / "notes.txt"):
        file.write_bytes(b"0" * 2**20)
    files = sorted(start.files_of(tmp_path))
    assert files == [model, library]
    assert start.drop_cache([*files, tmp_path / "none.so"]) is hasattr(os, "posix_fadvise")
    share = start.cached_share(files)
    assert share is None or 0 <= share <= 1


def test_a_start_reads_all_of_the_program() -> None:
    files = start.installed_files([])
    for module in (bench, bimodal, broker, models, workers):
        assert module.__file__ is not None
        assert Path(module.__file__) in files


@pytest.mark.parametrize(("fps", "sound"), [(30, True), (60, False)])
def test_the_clip_at_another_pace(tmp_path: Path, fps: int, sound: bool) -> None:
    info = probe(at_pace(tmp_path / "clip.mp4", fps, sound=sound))
    assert info.fps == pytest.approx(fps, rel=1e-3)
    assert info.has_sound is sound
    assert info.duration_ns is not None
    assert info.duration_ns >= 10e9
    assert info.frames_estimate == pytest.approx(fps * info.duration_ns / 1e9, abs=1)
