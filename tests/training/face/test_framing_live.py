"""Pictures and clips cut out as live, by the project's own detector and mesh, and other crops beside the learnt one."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from bimodal.models.contract import Crop
from bimodal.models.emotions import EmotionSet
from bimodal.models.session import open_artifact
from bimodal.training.datasets.video import FaceCutter, FaceFinder
from bimodal.training.errors import DatasetError, TrainingError
from bimodal.training.evaluate.command import evaluate, scales_of
from bimodal.training.face.framing import (
    GRID_CLIPS,
    NAMED_CLIPS,
    answers,
    compare_crops,
    crops_to_compare,
    enlarge,
    group_clips,
)
from tests.artifacts import make_face_static
from tests.media import face_clip, scene
from tests.training.trees import write_picture

runner = CliRunner()
LEARNT = Crop(scale=1.1, shift_y=-0.05, rotate=True)


def face_picture() -> np.ndarray:
    """Grey uint8 [48, 48], framed as FER2013 frames its faces."""
    part = scene(1)[70:310, 200:440]
    return np.asarray(cv2.cvtColor(cv2.resize(part, (48, 48), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three faces and a plain wall, in FER2013's form without votes."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "valid").mkdir()
    face = face_picture()
    shown = [face, face[:, ::-1], cv2.convertScaleAbs(face, alpha=0.8), np.full((48, 48), 120, np.uint8)]
    with (folder / "valid.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "fer2013"])
        for place, picture in enumerate(shown):
            cv2.imwrite(str(folder / "valid" / f"{place}.png"), picture)
            table.writerow([f"{place}.png", "neutral"])
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_face_static(tmp_path_factory.mktemp("model") / "model.onnx", crop=LEARNT)


def test_one_thing_is_changed_at_a_time() -> None:
    assert crops_to_compare(LEARNT, (1.1, 1.6)) == [
        LEARNT, Crop(1.1, -0.05, False), Crop(1.1, 0.0, True), Crop(1.6, -0.05, True)
    ]  # fmt: skip
    assert crops_to_compare(Crop(1.2, 0.0, False), ()) == [Crop(1.2, 0.0, False), Crop(1.2, 0.0, True)]


def test_a_face_is_cut_as_the_live_worker_cuts_it(model: Path) -> None:
    artifact = open_artifact(model, "face-static", provider="cpu")
    wall = np.full((360, 640, 3), 190, np.uint8)
    seen = answers(artifact, [wall, scene(1)], [LEARNT, Crop(scale=2.5)], FaceFinder())
    assert seen.found.tolist() == [False, True]
    assert seen.probabilities.shape == (2, 1, 7)
    cut = FaceCutter(artifact)(scene(1))
    assert cut is not None
    assert np.allclose(seen.probabilities[0, 0], artifact.run(faces=cut[None])["probabilities"][0], atol=1e-6)
    assert np.abs(seen.probabilities[0] - seen.probabilities[1]).max() > 1e-3  # the mean value of another crop
    with pytest.raises(DatasetError, match="no face was found"):
        answers(artifact, [wall], [LEARNT], FaceFinder())


def test_pictures_without_a_face_are_counted_and_left_out(pictures: Path, model: Path, tmp_path: Path) -> None:
    places = ["--model", str(model), "--data", str(pictures), "--json", str(tmp_path / "found.json")]
    result = runner.invoke(evaluate, ["face", "--cut-live", *places])
    assert result.exit_code == 0, result.output
    assert "a face is found in 75.0% of 4 pictures" in result.output
    assert "the same pictures uncut (n = 3)" in result.output
    assert json.loads((tmp_path / "found.json").read_text())["n"] == 3


def test_emotions_of_ones_own_are_cut_live_and_their_crops_compared(tmp_path: Path) -> None:
    path = tmp_path / "data" / "valid" / "bored" / "1.png"
    write_picture(path)
    cv2.imwrite(str(path), face_picture())
    model = make_face_static(tmp_path / "model.onnx", labels=("bored", "engaged"), categories=("bored", "engaged"))
    config = tmp_path / "own.yaml"
    config.write_text(f"emotions: [engaged, bored]\nmodels: {{face-static: {model}}}\n")
    places = ["--config", str(config), "--data", str(tmp_path / "data")]
    result = runner.invoke(evaluate, ["face", "--cut-live", *places, "--json", str(tmp_path / "found.json")])
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["labels"], found["n"]) == (["engaged", "bored"], 1)
    result = runner.invoke(evaluate, ["crop", *places, "--crop-scale", "1.1"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("tiny-face-static@1 on data/valid")
    assert group_clips(None, EmotionSet(("bored", "engaged"))) == {}


def test_crops_are_compared_on_pictures_and_clips(pictures: Path, model: Path, tmp_path: Path) -> None:
    face_clip(tmp_path / "mead_M001_happy.mp4", 0.8)
    face_clip(tmp_path / "grid_bbaf2n.mp4", 0.4)
    arguments = ["--data", str(pictures), "--clips", str(tmp_path), "--crop-scale", "1.1,2"]
    result = runner.invoke(evaluate, ["crop", "--model", str(model), *arguments])
    assert result.exit_code == 0, result.output
    told, head, _, *rows = result.output.splitlines()
    assert "a face is found in 75.0% of the pictures" in told
    assert f"{NAMED_CLIPS}: frames right (n = 5)" in head
    assert f"{GRID_CLIPS}: frames right (n = 3)" in head
    first = [row.split(" | ")[0] for row in rows]
    asked = "| as the model asks: 1.1 × the mesh's box, moved by -0.05, eyes level"
    assert first == [asked, "| not turned", "| moved by 0", "| 2 × the mesh's box"]
    learnt = compare_crops(model, pictures, "valid", "auto", None, ()).rows[0]
    assert f"{100 * learnt.accuracy:.1f} %" in rows[0]


def test_clips_are_grouped_by_their_names(tmp_path: Path) -> None:
    for name in ("mead_M003_happy.mp4", "grid_lbbc2a.mpg", "holiday.mp4"):
        (tmp_path / name).write_bytes(b"not looked at")
    groups = group_clips(tmp_path)
    assert {name: [path.name for path, _ in clips] for name, clips in groups.items()} == {
        GRID_CLIPS: ["grid_lbbc2a.mpg"],
        NAMED_CLIPS: ["mead_M003_happy.mp4"],
    }
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="whose name says its emotion"):
        group_clips(tmp_path / "empty")


def test_large_pictures_keep_their_pixels() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    large = enlarge(picture)
    assert large.shape == (448, 448, 3)
    assert np.array_equal(large[112:336, 112:336], picture)


@pytest.mark.parametrize("words", ["", "1.0,", "wide", "0", "-1", "nan", "inf"])
def test_scales_that_are_none_are_refused(words: str) -> None:
    with pytest.raises(TrainingError, match="--crop-scale"):
        scales_of(words)
