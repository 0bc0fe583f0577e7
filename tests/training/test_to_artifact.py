"""Raw files in, artifact out: tiny networks trained for one epoch by the commands that users type."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml
from typer.testing import CliRunner

from bimodal.models.contract import CONTRACT_VERSION, Crop, Metadata
from bimodal.models.emotions import EMOTIONS
from bimodal.models.session import open_artifact
from bimodal.training.commands import train
from bimodal.training.errors import TrainingError
from bimodal.training.evaluate.command import actors_of, evaluate
from bimodal.training.evaluate.conditions import CONDITIONS
from bimodal.training.to_artifact import EXPORTS, fixed_axes, set_metadata, write_artifact, write_card
from tests.artifacts import make_face_static, make_speech
from tests.end_to_end.driving import events_of, run
from tests.media import face_clip
from tests.training.trees import write_fer2013, write_ravdess

runner = CliRunner()

FACE = {
    "name": "tiny-face", "version": "3", "batch": 8, "learning_rate": 0.01, "weight_decay": 0.0, "sizes": [24],
    "widths": [8, 8, 8], "depth": 1, "calibration_every": 3, "crop_scale": 1.4, "crop_shift_y": -0.1,
}  # fmt: skip
SPEECH = {
    "name": "tiny-speech", "version": "2", "batch": 8, "learning_rate": 0.001, "weight_decay": 0.0, "epochs": 1,
    "folds": 2, "channels": 16, "hidden": 8,
}  # fmt: skip

KEYS = {"accuracy", "uar", "f1", "ece", "aurc", "n", "per_class", "confusion", "labels", "model", "seconds"}


def write_config(folder: Path, values: dict[str, object]) -> Path:
    places = {"data": str(folder / "data"), "output": str(folder / "out"), "runs": str(folder / "runs")}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({**values, **places}))
    return path


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("face")
    votes = np.eye(10, dtype=int)[np.arange(48) % 10] * 8
    votes[:, 0] += 2
    write_fer2013(folder / "data", "train", votes.tolist())
    write_fer2013(folder / "data", "valid", votes[:20].tolist(), seed=1)
    result = runner.invoke(train, ["face", "--config", str(write_config(folder, FACE))], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    write_ravdess(folder / "data", [1, 2, 3, 4])
    result = runner.invoke(train, ["speech", "--config", str(write_config(folder, SPEECH))], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return folder


def test_a_trained_face_model_keeps_its_contract(face: Path) -> None:
    artifact = open_artifact(face / "out" / "model.onnx", "face-static", provider="cpu")
    assert artifact.identity == "tiny-face@3"
    assert artifact.metadata.labels == EMOTIONS
    assert artifact.metadata.crop == Crop(scale=1.4, shift_y=-0.1, rotate=True)
    assert artifact.metadata.embedding_space == "tiny-face@3"
    assert (artifact.metadata.metrics or {})["n"] == 14  # six of twenty are contempt, unknown or not a face
    pictures = np.random.default_rng(0).integers(0, 256, (5, 48, 48, 3), dtype=np.uint8)
    together = artifact.run(faces=pictures)
    alone = artifact.run(faces=pictures[2:3])
    assert together["embedding"].shape == (5, 128)
    assert together["embedding"].min() >= 0
    for output, values in together.items():
        assert np.abs(values[2:3] - alone[output]).max() < 1e-5


def test_a_trained_speech_model_keeps_its_contract(speech: Path) -> None:
    path = speech / "out" / "model.onnx"
    artifact = open_artifact(path, "speech", provider="cpu")
    assert artifact.identity == "tiny-speech@2"
    metadata = artifact.metadata
    assert (metadata.sample_rate, metadata.window_s, metadata.minimum_window_s) == (16_000, 3.0, 1.0)
    metrics = metadata.metrics or {}
    assert metrics["n"] == 32
    assert metrics["trained_on"] == [f"ravdess/Actor_{actor:02d}" for actor in (1, 2, 3, 4)]
    for samples in (16_000, 33_333, 48_000):
        sound = np.random.default_rng(samples).normal(0, 0.1, (3, samples)).astype(np.float32)
        together = artifact.run(waveform=sound)["probabilities"]
        assert np.abs(together[1:2] - artifact.run(waveform=sound[1:2])["probabilities"]).max() < 1e-5
        louder = artifact.run(waveform=8 * sound)["probabilities"]
        assert np.abs(together - louder).max() < 1e-3
    assert str(Path(__file__).parents[2]).encode() not in path.read_bytes(), "no path of who trained it"
    assert not {"Loop", "Scan", "STFT"} & {node.op_type for node in onnx.load(str(path)).graph.node}


def test_the_figures_of_a_face_model_are_told_and_written(face: Path) -> None:
    arguments = ["--model", str(face / "out" / "model.onnx"), "--data", str(face / "data")]
    result = runner.invoke(evaluate, ["face", *arguments, "--json", str(face / "figures.json")])
    assert result.exit_code == 0, result.output
    found = json.loads((face / "figures.json").read_text())
    recorded = open_artifact(face / "out" / "model.onnx").metadata.metrics or {}
    assert set(found) == KEYS
    assert found["accuracy"] == pytest.approx(recorded["accuracy"], abs=1e-3)
    assert sum(map(sum, found["confusion"])) == found["n"] == 14
    assert found["model"] == "tiny-face@3"
    assert "ms of one core an answer to 48×48×3 values" in result.output
    for label, row in found["per_class"].items():
        assert recorded["recall_95"][label] == pytest.approx([row["low"], row["high"]], abs=1e-3)
        assert 0 <= row["low"] <= row["recall"] <= row["high"] <= 1
    seen = runner.invoke(evaluate, ["face", *arguments, "--split", "train"])
    assert "no figures to report" in seen.output


def test_a_speech_model_is_measured_on_chosen_actors(speech: Path, tmp_path: Path) -> None:
    arguments = ["speech", "--model", str(speech / "out" / "model.onnx"), "--data", str(speech / "data")]
    result = runner.invoke(evaluate, [*arguments, "--split", "2-3", "--json", str(tmp_path / "figures.json")])
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "figures.json").read_text())
    assert set(found) == KEYS | {"further", "groups"}
    assert found["n"] == 16
    assert "no figures to report" in result.output


def test_a_speech_model_is_heard_under_other_conditions(speech: Path, tmp_path: Path) -> None:
    recorded = (open_artifact(speech / "out" / "model.onnx").metadata.metrics or {})["conditions"]
    assert isinstance(recorded, dict)
    assert list(recorded) == list(CONDITIONS)
    assert all(0 <= value <= 1 for value in recorded.values())
    card = (speech / "out" / "card.md").read_text()
    assert "| UAR of the centre window, heard under | |\n|---|---|\n| gain -20 dB | " in card
    assert "| 95 % interval (Wilson) | " in card
    assert "{" not in card.replace("live: {", "").replace("live_mean: {", "")
    arguments = ["speech", "--model", str(speech / "out" / "model.onnx"), "--data", str(speech / "data")]
    told = runner.invoke(evaluate, [*arguments, "--split", "2", "--conditions", "--json", str(tmp_path / "found.json")])
    assert told.exit_code == 0, told.output
    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found) == KEYS | {"conditions", "further", "under"}
    for name, value in found["conditions"].items():
        (line,) = (line for line in told.output.splitlines() if line.strip().startswith(f"under {name}: "))
        assert f"UAR {value:.4f}" in line
    assert "ms of one core an answer to 19200 values" in told.output


def test_any_model_of_the_kind_can_be_measured(face: Path, speech: Path, tmp_path: Path) -> None:
    brightness = make_face_static(tmp_path / "face.onnx", labels=("neutral", "happy", "contempt"))
    result = runner.invoke(evaluate, ["face", "--model", str(brightness), "--data", str(face / "data")])
    assert result.exit_code == 0, result.output
    loudness = make_speech(tmp_path / "speech.onnx", labels=("calm", "angry"), sample_rate=8_000, window_s=1.0)
    result = runner.invoke(evaluate, ["speech", "--model", str(loudness), "--data", str(speech / "data")])
    assert result.exit_code == 0, result.output
    assert "n = 32" in result.output


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({**FACE, "epoch": 3}, "unknown key 'epoch'"),
        ({**FACE, "sizes": []}, "in 'sizes': must be a list of 1 or more items"),
        ({**FACE, "data_is_missing": 1}, "unknown key 'data_is_missing'"),
        (FACE, "there is no folder"),
    ],
)
def test_errors_are_one_sentence(tmp_path: Path, values: dict[str, object], sentence: str) -> None:
    result = runner.invoke(train, ["face", "--config", str(write_config(tmp_path, values))])
    assert result.exit_code == 1
    assert result.stderr.startswith("bimodal: ")
    assert sentence in result.stderr
    assert "Traceback" not in result.output


def test_an_unknown_model_is_named(tmp_path: Path) -> None:
    result = runner.invoke(evaluate, ["face", "--model", "no-such-model", "--data", str(tmp_path)])
    assert result.exit_code == 1
    assert "'no-such-model' is neither a model file nor the name of a model" in result.stderr


def test_metadata_can_be_written_again_without_training(face: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes((face / "out" / "model.onnx").read_bytes())
    before = open_artifact(path).metadata
    set_metadata(path, type(before)(**{**{f: getattr(before, f) for f in before.__struct_fields__}, "version": "9"}))
    assert open_artifact(path).identity == "tiny-face@9"


@pytest.mark.parametrize(("split", "actors"), [("all", None), ("3", (3,)), ("1-3, 9", (1, 2, 3, 9))])
def test_actors_are_read_from_words(split: str, actors: tuple[int, ...] | None) -> None:
    assert actors_of(split) == actors


@pytest.mark.parametrize("split", ["", "a", "1-", "-3", "1..4"])
def test_words_that_name_no_actors_are_refused(split: str) -> None:
    with pytest.raises(TrainingError):
        actors_of(split)


def test_what_was_trained_runs_in_the_live_pipeline(face: Path, speech: Path, tmp_path: Path) -> None:
    clip = face_clip(tmp_path / "talk.mp4", 2.4)
    models = {"face-static": str(face / "out" / "model.onnx"), "speech": str(speech / "out" / "model.onnx")}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"models": models}))
    code, _, err = run("analyze", clip, "--out", tmp_path / "results", "--config", tmp_path / "config.yaml")
    assert code == 0, err
    events = events_of(tmp_path / "results", "talk")
    assert len(events) == 60
    named = {kind: name for event in events for kind, name in event["models"].items()}
    assert named["face-static"] == "tiny-face@3"
    assert named["speech"] == "tiny-speech@2"
    assert any(event["faces"] for event in events)
    assert any((event["speech"] or {}).get("probabilities") for event in events)


@pytest.mark.parametrize(
    ("uar", "temperature", "words"),
    [
        (0.9, 1.3, []),
        (0.17, 1.3, ["no better than chance"]),
        (0.9, 20.0, ["absurd"]),
        (0.14, 0.05, ["chance", "absurd"]),
    ],
)
def test_a_model_that_is_worth_nothing_is_marked(
    tmp_path: Path, uar: float, temperature: float, words: list[str]
) -> None:
    metadata = Metadata(
        contract=CONTRACT_VERSION,
        kind="face-static",
        name="mine",
        version="1",
        license="mine",
        source="mine",
        labels=EMOTIONS,
        crop=Crop(scale=1.0, shift_y=0.0, rotate=True),
        temperature=temperature,
        metrics={"uar": uar, "protocol": "mine"},
    )
    said: list[str] = []
    write_card(tmp_path, metadata, "bimodal train face", said.append)
    assert len(said) == len(words) == (tmp_path / "card.md").read_text(encoding="utf-8").count("Do not use this model")
    assert all(word in sentence and sentence.startswith("WARNING") for word, sentence in zip(words, said, strict=True))


class Brightness(torch.nn.Module):
    """Faces uint8 [N, 8, 8, 3] → probabilities [N, 7]."""

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        bright = faces.to(torch.float32).mean(dim=(1, 2, 3))
        return torch.softmax(bright[:, None] * torch.linspace(0, 1, 7), dim=1)


@pytest.mark.parametrize("spoilt", [1, EXPORTS])
def test_a_graph_whose_sizes_the_exporter_fixed_is_exported_again_or_refused(
    spoilt: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export, calls = torch.onnx.export, []

    def exporting(*arguments: object, **options: object) -> None:
        calls.append(1)
        export(*arguments, **(options | ({"dynamic_shapes": None} if len(calls) <= spoilt else {})))  # type: ignore[arg-type]

    monkeypatch.setattr(torch.onnx, "export", exporting)
    metadata = Metadata(contract=CONTRACT_VERSION, kind="face-static", name="tiny", version="1", license="none",
                        source="a test", labels=EMOTIONS, crop=Crop())  # fmt: skip
    faces = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    path = tmp_path / "model.onnx"
    if spoilt < EXPORTS:
        write_artifact(Brightness(), metadata, faces[:2], {0: "batch"}, [faces, faces[:1]], path)
        assert fixed_axes(path, {0: "batch"}) == []
    else:
        with pytest.raises(TrainingError, match="a graph for one size of batch only"):
            write_artifact(Brightness(), metadata, faces[:2], {0: "batch"}, [faces, faces[:1]], path)
        assert not path.exists()
    assert len(calls) == 2
