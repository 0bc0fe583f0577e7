"""Fusion of emotions of one's own: learnt, measured, and configured or refused as it runs live."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from bimodal.config import check_config
from bimodal.models.contract import CONTRACT_VERSION, Metadata, Tensor, check
from bimodal.models.emotions import EMOTIONS, SEVEN, EmotionSet, own_names
from bimodal.models.errors import ArtifactError
from bimodal.models.session import open_artifact
from bimodal.supervisor.emotions import set_of_config
from bimodal.training.commands import train
from bimodal.training.errors import DatasetError
from bimodal.training.evaluate.command import evaluate
from bimodal.training.fusion.pairs import Pairs, emotions_of_pairs, read_pairs, write_pairs
from bimodal.workers.fusion.combine import Opinion, average, learned_fusion
from tests.artifacts import make_face_static, make_speech
from tests.training.trees import write_films, write_picture, write_ravdess

OWN = EmotionSet(("neutral", "bored", "engaged"))
runner = CliRunner()


def write_config(path: Path, **values: object) -> Path:
    fixed = {"name": "own-fusion", "version": "1", "batch": 16, "learning_rate": 0.01, "weight_decay": 0.0}
    given = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
    path.write_text(yaml.safe_dump({**fixed, "output": str(path.parent / "out"), **given}))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fusion model learnt from recordings with three emotions: films/, face.onnx, speech.onnx, runs/, out/ and
    run.yaml, which runs it."""
    folder = tmp_path_factory.mktemp("fusion")
    own = own_names(OWN.emotions)
    face = make_face_static(folder / "face.onnx", labels=OWN.emotions, categories=own)
    speech = make_speech(folder / "speech.onnx", labels=OWN.emotions, categories=own)
    config = write_config(
        folder / "train.yaml", data=write_films(folder / "films", OWN), face=face, speech=speech, epochs=2, hidden=4,
        runs=folder / "runs", emotions=list(OWN.emotions),
    )  # fmt: skip
    result = runner.invoke(train, ["fusion", "--config", str(config)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    models = {"face-static": str(face), "speech": str(speech), "fusion": str(folder / "out" / "model.onnx")}
    running = {"models": models, "emotions": list(OWN.emotions), "fusion": {"strategy": "learned"}}
    (folder / "run.yaml").write_text(yaml.safe_dump(running))
    return folder


def test_it_fuses_live_what_it_learnt(folder: Path) -> None:
    artifact = open_artifact(folder / "out" / "model.onnx", "fusion", provider="cpu")
    assert artifact.metadata.labels == OWN.emotions
    assert artifact.metadata.categories == ("bored", "engaged")
    combine = learned_fusion(artifact, OWN).combine
    bored = {"neutral": 0.05, "bored": 0.9, "engaged": 0.05}
    fused = combine([Opinion("video", bored, 0.7), Opinion("speech", bored, 0.3)], OWN.emotions)
    assert tuple(fused) == OWN.emotions
    assert max(fused, key=lambda name: fused[name]) == "bored"
    some = [Opinion("video", bored, 0.7), Opinion("speech", {"bored": 1.0}, 0.3)]
    assert combine(some, OWN.emotions) == average(some, OWN.emotions)


def test_a_config_with_it_is_taken_and_one_of_other_emotions_refused_before_it_starts(folder: Path) -> None:
    running = yaml.safe_load((folder / "run.yaml").read_text())
    assert set_of_config(check_config(running, "test")) == OWN
    with pytest.raises(ArtifactError, match="its labels must be neutral, engaged, in any order, but are neutral, bor"):
        set_of_config(check_config({**running, "emotions": ["neutral", "engaged"]}, "test"))
    other = {**running, "emotions": ["neutral", "engaged"], "fusion": {"strategy": "worth"}}
    assert set_of_config(check_config(other, "test")).emotions == ("neutral", "engaged"), "not used, so not asked"


def measured(*words: object) -> dict[str, object]:
    path = Path(str(words[-1]))
    result = runner.invoke(evaluate, ["fusion", *map(str, words[:-1]), "--json", str(path)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found = json.loads(path.read_text())
    assert isinstance(found, dict)
    return found


def test_it_is_measured_on_pairs_and_on_recordings_as_the_config_runs_it(folder: Path, tmp_path: Path) -> None:
    pairs = folder / "runs" / "own-fusion" / "pairs"
    model = folder / "out" / "model.onnx"
    found = measured("--model", model, "--data", pairs, tmp_path / "1.json")
    assert found["labels"] == list(OWN.emotions)
    assert found["model"] == "own-fusion@1"
    for data, split in ((pairs, "test"), (folder / "films", "valid")):
        again = measured("--config", folder / "run.yaml", "--data", data, "--split", split, tmp_path / "2.json")
        assert (again["accuracy"], again["n"]) == (found["accuracy"], found["n"])
    turned = EmotionSet(("engaged", "neutral", "bored"))
    order = [OWN.emotions.index(name) for name in turned.emotions]
    test = read_pairs(pairs, "test", OWN)
    sides = (side[:, [*order, 3]] for side in (test.video, test.speech))
    write_pairs(tmp_path, {"test": Pairs(*sides, np.array([order.index(at) for at in test.labels]))}, turned)
    again = measured("--model", model, "--data", tmp_path, tmp_path / "3.json")
    assert again["accuracy"] == found["accuracy"], "columns are taken by their names"


def test_pairs_of_other_emotions_are_refused_in_words(folder: Path, tmp_path: Path) -> None:
    pairs = folder / "runs" / "own-fusion" / "pairs"
    result = runner.invoke(evaluate, ["fusion", "--model", "fusion-learned", "--data", str(pairs)])
    assert result.exit_code == 1
    assert "fusion-learned/model.onnx can't fuse: its labels must be neutral, bored, engaged" in result.stderr
    config = tmp_path / "config.yaml"
    for text, said in (
        ("emotions: [happy, sad]", "is of the emotions neutral, bored, engaged, and the config of the emotions happy"),
        ("fusion: {strategy: sum}", "in 'fusion.strategy': must be one of worth, average, product, learned, not 'sum'"),
        ("fusion: {video_weight: 0, speech_weight: 0}", "must be 0 or more, and not both 0"),
        ("fusion: {strategy: learned}", "name one in 'models.fusion'"),
    ):
        config.write_text(text)
        result = runner.invoke(evaluate, ["fusion", "--data", str(pairs), "--config", str(config)])
        assert result.exit_code == 1
        assert said in result.stderr


def test_a_table_of_pairs_says_its_emotions(folder: Path, tmp_path: Path) -> None:
    assert emotions_of_pairs(folder / "runs" / "own-fusion" / "pairs") == OWN
    write_pairs(tmp_path, {"test": Pairs(np.ones((1, 8), np.float32), np.ones((1, 8), np.float32), np.zeros(1, int))})
    assert emotions_of_pairs(tmp_path) == SEVEN
    more = EmotionSet((*EMOTIONS, "contempt"))
    pairs = Pairs(np.ones((1, 9), np.float32), np.ones((1, 9), np.float32), np.full(1, 7))
    write_pairs(tmp_path, {"test": pairs}, more)
    assert emotions_of_pairs(tmp_path) == more
    assert read_pairs(tmp_path, "test", more).labels.tolist() == [7]
    (tmp_path / "pairs.csv").write_text("label,split,video_happy,video_worth\n")
    with pytest.raises(DatasetError, match="a set has 2 to 32 emotions, not 1"):
        emotions_of_pairs(tmp_path)


def test_models_that_do_not_know_all_the_emotions_are_refused(folder: Path, tmp_path: Path) -> None:
    some = make_face_static(tmp_path / "some.onnx", labels=("neutral", "bored"), categories=("bored",))
    config = write_config(tmp_path / "train.yaml", data=folder / "films", face=some, emotions=list(OWN.emotions))
    result = runner.invoke(train, ["fusion", "--config", str(config)])
    assert result.exit_code == 1
    assert "does not know engaged, and live a fusion model is asked only where face and voice know all" in result.stderr


def test_pairs_are_composed_of_emotions_of_ones_own(tmp_path: Path) -> None:
    calm = ("calm", "happy", "anger")
    for place, name in enumerate(calm):
        for number in range(10):
            write_picture(tmp_path / "faces" / "valid" / name / f"{number}.png", 40 + 80 * place + number)
    write_ravdess(tmp_path / "sounds", [1, 2, 3, 4])
    speech = write_config(tmp_path / "speech.yaml", data="x", output="x", epochs=1, folds=2, channels=16, hidden=8)
    config = write_config(
        tmp_path / "train.yaml", data=tmp_path / "faces", sounds=tmp_path / "sounds", speech_config=speech, pairs=60,
        face=make_face_static(tmp_path / "face.onnx", labels=calm, categories=("calm",)), epochs=1, hidden=4,
        runs=tmp_path / "runs", emotions=list(calm),
    )  # fmt: skip
    result = runner.invoke(train, ["fusion", "--config", str(config)])
    assert result.exit_code == 1
    assert "learns the seven emotions, and this config the emotions calm, happy, anger" in result.stderr
    speech.write_text(speech.read_text() + "emotions: [calm, happy, anger]\n")
    result = runner.invoke(train, ["fusion", "--config", str(config)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found = read_pairs(tmp_path / "runs" / "own-fusion" / "pairs", "train", EmotionSet(calm))
    assert set(found.labels.tolist()) == {0, 1, 2}
    assert found.video.shape[1] == found.speech.shape[1] == 4


def test_the_contract_asks_for_a_place_for_each_label_and_the_reliability() -> None:
    metadata = Metadata(
        contract=CONTRACT_VERSION, kind="fusion", name="x", version="1", license="", source="", labels=EMOTIONS
    )
    answer = [Tensor("probabilities", "tensor(float)", ("N", 7))]
    sides = [Tensor(name, "tensor(float)", ("N", 8)) for name in ("video", "speech")]
    check(metadata, sides, answer, "x.onnx")
    with pytest.raises(ArtifactError, match=r"'speech' must have shape \[any, 8\].*but has 7 columns"):
        check(metadata, [sides[0], Tensor("speech", "tensor(float)", ("N", 7))], answer, "x.onnx")
