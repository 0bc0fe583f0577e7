"""The seed's program in torch, and ResNet-50 to compare it with."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from bimodal.bench.figures import BenchError
from bimodal.config import Config
from bimodal.models.catalog import resolve
from tests.bench.planning import short_plan

torch = pytest.importorskip("torch")

from scripts.measure import resnet  # noqa: E402
from scripts.measure.resnet import NAME, demo_frames, resnet_artifacts, with_static, write_faces  # noqa: E402


def test_each_frame_with_a_face_gives_a_mixed_probability(tmp_path: Path) -> None:
    from scripts.measure.torch_loop import SeedOrder, SeedProgram

    torch.set_num_threads(1)
    np.save(tmp_path / "frames.npy", demo_frames()[:2])
    order = SeedOrder(
        frames=str(tmp_path / "frames.npy"),
        fps=4.0,
        hop_s=0.5,
        detector=str(resolve("blazeface-short")),
        landmarks=str(resolve("facemesh-468")),
        times=1,
    )
    program = SeedProgram(order)
    assert [program.step() for _ in range(3)] == [1, 1, 1]
    mixed = program.mixed.numpy()
    assert np.isfinite(mixed).all()
    # Of 0.3, what speech has for an eighth class is left out.
    assert 0.7 < mixed.sum() < 1.0


def test_faces_to_calibrate_on_are_cut_out_of_the_clip(tmp_path: Path) -> None:
    write_faces(demo_frames()[:40], tmp_path / "faces")
    pictures = [cv2.imread(str(path)) for path in sorted((tmp_path / "faces").glob("*.png"))]
    assert len(pictures) >= 8
    assert {picture.shape for picture in pictures if picture is not None} == {(224, 224, 3)}


def test_frames_without_faces_calibrate_nothing(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="too few faces"):
        write_faces(np.zeros((4, 90, 160, 3), np.uint8), tmp_path / "faces")


def test_artifacts_that_are_there_are_not_made_again(tmp_path: Path) -> None:
    there = [tmp_path / name / "model.onnx" for name in (NAME, f"{NAME}-int8")]
    for path in there:
        path.parent.mkdir()
        path.write_bytes(b"as it was")
    assert resnet_artifacts(tmp_path) == tuple(there)
    assert {path.read_bytes() for path in there} == {b"as it was"}


def test_the_pipeline_runs_with_that_static_model_alone() -> None:
    config = with_static(Config(), Path("/somewhere/model.onnx"))
    assert config.models.face_static == ("/somewhere/model.onnx",)
    assert config.models.face_dynamic == "none"
    assert config.models.speech == ("speech-keras",), "of the same form as the loop's"


def test_what_can_not_be_made_costs_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_torch(_folder: Path) -> tuple[Path, Path]:
        raise BenchError("there is no torch")

    monkeypatch.setattr(resnet, "resnet_artifacts", no_torch)
    with pytest.raises(BenchError, match="no torch"):
        resnet.measure(short_plan(tmp_path))
