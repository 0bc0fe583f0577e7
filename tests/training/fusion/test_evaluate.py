"""Fusion is measured as a config runs it: lists of models, strategies, and data that was seen in training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from bimodal.models.emotions import EMOTIONS
from bimodal.models.session import open_artifact
from bimodal.training.evaluate.command import evaluate
from bimodal.training.fusion.pairs import Pairs, write_pairs
from bimodal.training.to_artifact import set_metadata
from tests.artifacts import make_face_static, make_speech
from tests.training.trees import write_films

SIX = tuple(name for name in EMOTIONS if name != "surprise")
runner = CliRunner()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """films/, whose faces are sharp, pairs/pairs.csv, and models: two of faces and two of speech."""
    folder = tmp_path_factory.mktemp("fusion")
    write_films(folder / "films")
    grain = np.random.default_rng(1).integers(-20, 21, (48, 48, 1))
    for path in (folder / "films").rglob("*.png"):
        cv2.imwrite(str(path), np.clip(np.asarray(cv2.imread(str(path)), np.int64) + grain, 0, 255).astype(np.uint8))
    make_face_static(folder / "face.onnx", name="face")
    make_face_static(folder / "turned.onnx", name="turned", labels=EMOTIONS[::-1], size=32)
    make_speech(folder / "voice.onnx", name="voice")
    make_speech(folder / "six.onnx", name="six", labels=SIX, window_s=1.0)
    random = np.random.default_rng(0)
    sides = [random.dirichlet(np.full(7, 0.5), 40) for _ in range(2)]
    video, speech = (np.hstack([side, random.uniform(0.1, 1, (40, 1))]).astype(np.float32) for side in sides)
    write_pairs(folder / "pairs", {"test": Pairs(video, speech, np.arange(40) % 7)})
    return folder


def measured(folder: Path, *words: str, **config: object) -> dict[str, Any]:
    """The figures of the command, with a config."""
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    given = ["fusion", "--config", str(folder / "run.yaml"), "--json", str(folder / "found.json"), *words]
    result = runner.invoke(evaluate, given, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return {**json.loads((folder / "found.json").read_text()), "said": result.output}


def test_lists_of_models_are_joined_by_rule_and_weights(folder: Path) -> None:
    films = ("--data", str(folder / "films"), "--split", "valid")
    faces, voices = [str(folder / name) for name in ("face.onnx", "turned.onnx")], str(folder / "voice.onnx")
    found = measured(folder, *films, models={"face-static": faces, "speech": voices})
    assert "by face@1+turned@1 and voice@1" in found["said"]
    alone, other = (measured(folder, *films, models={"face-static": face, "speech": voices}) for face in faces)
    assert alone["further"]["video alone"]["accuracy"] > other["further"]["video alone"]["accuracy"]
    sure = measured(
        folder, *films, models={"face-static": faces, "speech": voices, "weights": {faces[0]: 9}, "ensemble": "product"}
    )
    assert sure["further"]["video alone"]["accuracy"] == alone["further"]["video alone"]["accuracy"]
    assert sure["further"]["video alone"]["ece"] != alone["further"]["video alone"]["ece"]
    named = measured(folder, *films, "--face", ",".join(faces), "--speech", voices)
    assert named["further"] == found["further"]
    both = measured(folder, *films, models={"face-static": faces[0], "speech": [voices, str(folder / "six.onnx")]})
    assert both["further"]["speech alone"] != alone["further"]["speech alone"]


def test_each_strategy_of_a_config_is_measured_on_recordings_and_on_a_table(folder: Path) -> None:
    models = {"face-static": str(folder / "face.onnx"), "speech": str(folder / "voice.onnx")}
    for data, split in (("films", "valid"), ("pairs", "test")):
        errors = {}
        for strategy in ("worth", "average", "product"):
            found = measured(
                folder, "--data", str(folder / data), "--split", split, models=models, fusion={"strategy": strategy}
            )
            assert found["model"] == strategy
            assert found["further"][strategy]["ece"] == found["ece"]
            errors[strategy] = found["ece"]
        assert len(set(errors.values())) == 3


def test_without_a_config_it_is_the_default_one(folder: Path) -> None:
    result = runner.invoke(evaluate, ["fusion", "--data", str(folder / "pairs")], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("worth on pairs/test, n = 40")


def test_a_fusion_model_is_not_asked_where_a_side_does_not_know_all(folder: Path) -> None:
    models = {"face-static": str(folder / "face.onnx"), "speech": str(folder / "six.onnx"), "fusion": "fusion-learned"}
    given = ("--data", str(folder / "films"), "--split", "valid")
    found = measured(folder, *given, models=models, fusion={"strategy": "learned"})
    assert found["ece"] == found["further"]["average"]["ece"], "as live"
    found = measured(
        folder, *given, models={**models, "speech": str(folder / "voice.onnx")}, fusion={"strategy": "learned"}
    )
    assert found["ece"] != found["further"]["average"]["ece"]


@pytest.mark.parametrize(
    ("kind", "seen"),
    [("face-static", "films/valid"), ("speech", "films/s3"), ("speech", "films, speakers of the folds")],
)
def test_data_that_one_of_the_models_learnt_from_are_no_figures(folder: Path, kind: str, seen: str) -> None:
    models = {"face-static": [str(folder / "face.onnx")], "speech": [str(folder / "voice.onnx")]}
    given = ("--data", str(folder / "films"), "--split", "valid")
    assert "trained on some of this data" not in measured(folder, *given, models=models)["said"]
    path = folder / f"learnt-{kind}.onnx"
    (make_speech if kind == "speech" else make_face_static)(path, name="learnt")
    known = open_artifact(path, provider="cpu").metadata
    set_metadata(path, msgspec.structs.replace(known, metrics={"trained_on": [seen]}))
    models[kind].append(str(path))
    assert "the model was trained on some of this data" in measured(folder, *given, models=models)["said"]


def test_a_folder_without_pairs_and_videos_is_told(tmp_path: Path) -> None:
    for data, said in (
        (tmp_path / "gone", "there is no folder"),
        (tmp_path, "holds neither pairs.csv nor manifest.csv"),
    ):
        done = runner.invoke(evaluate, ["fusion", "--data", str(data)])
        assert done.exit_code == 1
        assert said in done.stderr
