"""Loops in processes of their own: they say what they did, or why they can't."""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest

from bimodal.api.detector import Detector
from bimodal.bench.figures import BenchError, in_turn
from bimodal.bench.loops import Loop, LoopRun, module_loop, turn
from bimodal.bench.system import write_config
from bimodal.config import Config
from bimodal.models.catalog import resolve
from bimodal.workers.demo import DEMO
from scripts.measure.mediapipe import FaceMesh, MeshOrder, compare, measure
from scripts.measure.single import Order, prepare
from tests.bench.dynamic import WITH_DYNAMIC, counted_runs
from tests.bench.planning import short_plan

FRAMES, FPS, RATE = 20, 25.0, 16_000


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty frames with a face."""
    path = tmp_path_factory.mktemp("frames") / "frames.npy"
    with av.open(str(DEMO)) as clip:
        decoded = zip(range(FRAMES), clip.decode(video=0), strict=False)
        np.save(path, np.stack([frame.to_ndarray(format="rgb24") for _, frame in decoded]))
    return path


def mesh_order(frames: Path, *, each_anew: bool = True) -> MeshOrder:
    detector, landmarks = (str(resolve(name)) for name in ("blazeface-short", "facemesh-468"))
    return MeshOrder(frames=str(frames), detector=detector, landmarks=landmarks, each_anew=each_anew)


def test_a_turn_looks_at_one_frame_at_least_and_counts_faces() -> None:
    run = turn(lambda: 2, 0.0)
    assert len(run.latency_ms) == 1
    assert run.faces == 2
    run = turn(lambda: 1, 0.01)
    assert run.faces == len(run.latency_ms) >= 1
    assert sum(run.latency_ms) == pytest.approx(1e3 * run.seconds, rel=1e-6)
    assert run.frames_per_s > 0
    assert run.cpu_ms >= 0


def test_a_loop_whose_command_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="MediaPipe can't be run: No such file"):
        Loop([str(tmp_path / "python")], {}, what="MediaPipe", log=None)


def test_what_is_compared_is_measured_in_turn() -> None:
    told: list[str] = []
    numbers = itertools.count(1)
    measured = {"a": lambda: next(numbers), "b": lambda: next(numbers)}
    assert in_turn(measured, 2, told.append) == {"a": [1, 3], "b": [2, 4]}
    assert told == ["a (1 of 2)", "b (1 of 2)", "a (2 of 2)", "b (2 of 2)"]


@pytest.mark.parametrize("each_anew", [True, False])
def test_the_mesh_loop_finds_the_face_of_each_frame(frames: Path, each_anew: bool) -> None:
    mesh = FaceMesh(mesh_order(frames, each_anew=each_anew))
    assert [mesh.step() for _ in range(FRAMES + 2)] == [1] * (FRAMES + 2)


def test_a_face_that_is_lost_is_looked_for_again(tmp_path: Path, frames: Path) -> None:
    with_face = np.load(frames)
    np.save(tmp_path / "gap.npy", np.stack([with_face[0], np.zeros_like(with_face[0]), with_face[1]]))
    mesh = FaceMesh(mesh_order(tmp_path / "gap.npy", each_anew=False))
    assert [mesh.step() for _ in range(3)] == [1, 0, 1]


def test_a_loop_in_its_process_says_what_it_did(frames: Path) -> None:
    with module_loop("scripts.measure.mediapipe", mesh_order(frames), what="the mesh", log=None) as loop:
        runs = [loop.run(0.05), loop.run(0.05)]
    for run in runs:
        assert isinstance(run, LoopRun)
        assert run.faces == len(run.latency_ms) > 0
        assert math.isfinite(run.median_ms)


def test_a_loop_without_its_model_says_which(frames: Path) -> None:
    order = msgspec.structs.replace(mesh_order(frames), detector="/nowhere/model.onnx")
    with pytest.raises(BenchError, match=r"the mesh can't be run: there is no model file /nowhere/model\.onnx"):
        module_loop("scripts.measure.mediapipe", order, what="the mesh", log=None)


def test_frames_without_a_face_measure_nothing(tmp_path: Path) -> None:
    np.save(tmp_path / "dark.npy", np.zeros((2, 90, 160, 3), np.uint8))
    with (
        module_loop("scripts.measure.mediapipe", mesh_order(tmp_path / "dark.npy"), what="the mesh", log=None) as loop,
        pytest.raises(BenchError, match="found no face"),
    ):
        loop.run(0.01)


def test_a_python_without_mediapipe_is_named(frames: Path) -> None:
    with pytest.raises(BenchError, match=r"has no mediapipe 0\.10\.14"):
        compare(Path(sys.executable), mesh_order(frames), repeats=1, seconds=0.1, log=None)


def test_everything_in_one_loop_gives_an_event_a_frame(frames: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * RATE).astype(np.float32)
    np.save(tmp_path / "sound.npy", noise)
    write_config(Config(), tmp_path / "config.yaml")
    order = Order(
        config=str(tmp_path / "config.yaml"),
        frames=str(frames),
        fps=FPS,
        sound=str(tmp_path / "sound.npy"),
        rate=RATE,
        opencv_threads=1,
    )
    look = prepare(order)
    assert sum(look() for _ in range(2 * FRAMES)) == 2 * FRAMES


def test_one_loop_runs_the_dynamic_model_of_the_config(frames: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = counted_runs(monkeypatch, "bimodal.api.detector")
    with Detector(WITH_DYNAMIC) as detector:
        # Few frames a second: a window of the model is soon full.
        assert list(detector.events(np.load(frames), fps=4.0))
    assert runs


@pytest.mark.parametrize(("python", "sentence"), [("", "must name the Python"), (sys.executable, "has no mediapipe 0")])
def test_mediapipe_is_measured_with_the_python_that_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str, sentence: str
) -> None:
    monkeypatch.setenv("BIMODAL_MEDIAPIPE", python)
    with pytest.raises(BenchError, match=sentence):
        measure(short_plan(tmp_path))
