"""`bimodal export keras` on Keras files made here, each format once, and on the three real ones where they are."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
import typer
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from typer.testing import CliRunner

from bimodal.export.commands import keras as command
from bimodal.export.errors import ParityError, SourceModelError
from bimodal.export.frontends.layout import Stretch
from bimodal.export.frontends.levels import Fit
from bimodal.export.frontends.pixels import Pixels
from bimodal.export.frontends.spectrum import Mel, Mfcc
from bimodal.export.keras.convert import export_keras, join
from bimodal.export.keras.file import read_architecture
from bimodal.export.keras.process import Conversion, convert
from bimodal.export.keras.recipe import FaceFrontend, read_preset, read_recipe
from bimodal.export.scores import Treatment
from bimodal.models.contract import CONTRACT_VERSION, Metadata
from bimodal.models.session import open_artifact

for package in ("tensorflow", "tf2onnx", "librosa"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}", allow_module_level=True)

LSTM = """
input: [20, 8]
layers:
  - LSTM: {units: 4, return_sequences: true}
  - Bidirectional: {of: {LSTM: {units: 3}}}
  - Dense: {units: 3, activation: softmax}
"""

SHORT = """
kind: speech
sample_rate: 8000
window_s: 1.0
minimum_window_s: 0.5
labels: [happy, sad, neutral]
license: MIT
steps:
  - {step: fit, samples: 3040}
  - {step: mfcc, coefficients: 8, mel: {rate: 8000, fft: 256, hop: 160, bands: 20}}
  - {step: standardise}
"""


LONGER = (Fit(4_000), Mfcc(Mel(rate=8_000, fft=256, hop=160, bands=20), coefficients=8))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras")
    program = Path(__file__).parents[1] / "keras_files.py"
    subprocess.run([sys.executable, str(program), str(folder)], check=True, capture_output=True)
    (folder / "lstm.yaml").write_text(LSTM)
    (folder / "short.yaml").write_text(SHORT)
    return folder


def run(*words: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.output


def test_weights_with_their_layers_described(files: Path, tmp_path: Path) -> None:
    words = [str(files / "lstm.weights.h5"), "--name", "mine", "--frontend", str(files / "short.yaml")]
    status, said = run(*words, "--out", str(tmp_path), "--architecture", str(files / "lstm.yaml"))
    assert status == 0, said
    artifact = open_artifact(tmp_path / "mine/model.onnx", "speech", provider="cpu")
    assert artifact.metadata.labels == ("happy", "sad", "neutral")
    assert (artifact.metadata.sample_rate, artifact.metadata.window_s) == (8_000, 1.0)
    assert artifact.metadata.metrics is not None
    assert artifact.metadata.metrics["agreement_random"] == 1.0
    answer = artifact.run(waveform=np.zeros((3, 7_001), np.float32))["probabilities"]
    assert answer.shape == (3, 3)


def test_saved_model_whose_classes_are_added_up(files: Path, tmp_path: Path) -> None:
    said: list[str] = []
    path = export_keras(files / "saved", read_preset("conv1d-216"), "conv", tmp_path, said.append)
    artifact = open_artifact(path, "speech", provider="cpu")
    assert artifact.metadata.labels == ("angry", "calm", "fearful", "happy", "sad")
    assert artifact.metadata.source == "https://github.com/MiteshPuthran/Speech-Emotion-Analyzer: saved"
    assert "same label in 100 %" in "".join(said)


def test_a_front_end_of_ones_own_a_slow_layer_and_no_softmax(files: Path, tmp_path: Path) -> None:
    words = [str(files / "gru.keras"), "--name", "gru", "--frontend", str(files / "short.yaml"), "--logits"]
    status, said = run(*words, "--out", str(tmp_path))
    assert status == 0, said
    assert said.startswith("warning: layer 'gru' (GRU) becomes an ONNX Loop")
    artifact = open_artifact(tmp_path / "gru/model.onnx", "speech", provider="cpu")
    assert "Loop" in {node.op_type for node in onnx.load(artifact.path).graph.node}
    sums = artifact.run(waveform=np.ones((2, 4_000), np.float32))["probabilities"].sum(axis=1)
    np.testing.assert_allclose(sums, 1.0, rtol=1e-5)


def test_augmentation_is_still_a_sigmoid_is_no_softmax_and_the_right_output_is_taken(
    files: Path, tmp_path: Path
) -> None:
    (tmp_path / "face.yaml").write_text("kind: face-static\nsize: 32\npixels: {colour: rgb, layout: nhwc}\n")
    words = [str(files / "still.keras"), "--frontend", str(tmp_path / "face.yaml"), "--out", str(tmp_path / "out")]
    status, said = run(*words, "--labels", "hap,sad,neu")
    assert status == 0, said
    assert "its classes have scores of their own: they are divided by their sum" in said
    artifact = open_artifact(tmp_path / "out/still/model.onnx", "face-static", provider="cpu")
    metrics = artifact.metadata.metrics or {}
    assert float(str(metrics["parity_probabilities_real"])) < 1e-4


def test_a_face_network_and_parity_that_is_missed(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time only the graph is given another front end than the original, as a bug in it would."""
    conversions: list[Conversion] = []

    def once(*given: Any, **named: Any) -> Conversion:
        conversions.extend([] if conversions else [convert(*given, **named)])
        return conversions[0]

    monkeypatch.setattr("bimodal.export.keras.convert.convert", once)
    good = read_preset("mini-xception")
    path = export_keras(files / "face.h5", good, "face", tmp_path / "good", print)
    artifact = open_artifact(path, "face-static", provider="cpu")
    assert artifact.run(faces=np.zeros((2, 64, 64, 3), np.uint8))["probabilities"].shape == (2, 7)

    wrong = FaceFrontend(size=64, pixels=Pixels(colour="grey", layout="nhwc"))
    bad = msgspec.structs.replace(good, frontend=wrong)
    monkeypatch.setattr(
        "bimodal.export.keras.convert.join", lambda network, _, *rest: join(network, bad.frontend, *rest)
    )
    with pytest.raises(ParityError, match="does not answer as the original"):
        export_keras(files / "face.h5", good, "face", tmp_path / "bad", print)
    assert not (tmp_path / "bad").exists()


@pytest.mark.parametrize("file", ["lambda.keras", "lambda.h5"])
def test_lambda_layers_are_refused_by_name_and_never_run(files: Path, tmp_path: Path, file: str) -> None:
    status, said = run(str(files / file), "--name", "x", "--preset", "seed-mel15", "--out", str(tmp_path))
    assert status == 1
    assert "'sneaky' is a Lambda" in said
    assert not (files / "it_ran").exists()
    assert not list(tmp_path.iterdir())


def test_saved_models_that_touch_files_are_refused(files: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceModelError, match="node 'ReadFile' is a ReadFile, which is no arithmetic"):
        export_keras(files / "reader", read_recipe(files / "short.yaml"), "x", tmp_path, print)
    assert not list(tmp_path.iterdir())


def test_custom_objects_are_refused_by_name(files: Path, tmp_path: Path) -> None:
    status, said = run(str(files / "custom.keras"), "--name", "x", "--preset", "seed-mel15", "--out", str(tmp_path))
    assert status == 1
    assert "'twice' is the custom object 'Mine>Doubling'" in said


def test_what_does_not_fit_is_one_sentence(files: Path, tmp_path: Path) -> None:
    recipe, weights = read_recipe(files / "short.yaml"), files / "lstm.weights.h5"
    with pytest.raises(SourceModelError, match="holds weights only"):
        export_keras(weights, recipe, "x", tmp_path, print)
    with pytest.raises(SourceModelError, match="--labels"):
        export_keras(files / "gru.keras", msgspec.structs.replace(recipe, labels=()), "x", tmp_path, print)
    bare = msgspec.structs.replace(recipe, frontend=msgspec.structs.replace(recipe.frontend, steps=(Stretch(9),)))
    with pytest.raises(SourceModelError, match="steps do not fit together"):
        export_keras(files / "gru.keras", bare, "x", tmp_path, print)
    longer = msgspec.structs.replace(recipe, frontend=msgspec.structs.replace(recipe.frontend, steps=LONGER))
    sentence = r"Keras can't convert .*: it takes inputs of shape \[20, 8\], but the front end gives \[26, 8\]"
    with pytest.raises(SourceModelError, match=sentence):
        export_keras(files / "gru.keras", longer, "x", tmp_path, print)
    status, said = run(str(weights), "--name", "x", "--out", str(tmp_path))
    assert (status, said.strip()) == (1, "bimodal: say what stands before the network: either --preset or --frontend")
    assert not list(tmp_path.iterdir())


def test_an_architecture_describes_layers_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "layers.yaml"
    path.write_text(LSTM)
    assert [layer.kind for layer in read_architecture(path).layers] == ["LSTM", "Bidirectional", "Dense"]
    for wrong in ("- Lambda: {function: x}", "- Dense: {units: 3, activation: mine}", "- Bidirectional: {}", "- 7"):
        path.write_text(f"input: [3]\nlayers:\n  {wrong}\n")
        with pytest.raises(SourceModelError, match="describes no architecture"):
            read_architecture(path)


def test_labels_named_twice_are_added_up_in_the_graph() -> None:
    network = helper.make_graph(
        [helper.make_node("Softmax", ["waveform"], ["scores"], axis=1)],
        "network",
        [helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 4])],
    )
    labels = ("sad", "happy", "sad", "happy")
    frontend = msgspec.structs.replace(read_preset("seed-mel15").frontend, steps=())
    metadata = Metadata(
        contract=CONTRACT_VERSION, kind="speech", name="sums", version="1", license="MIT", source="made",
        labels=("sad", "happy"), sample_rate=16_000, window_s=1.0, minimum_window_s=1.0,
    )  # fmt: skip
    model = join(helper.make_model(network), frontend, metadata, Treatment("softmax"), labels)
    assert [node.op_type for node in model.graph.node] == ["Softmax", "MatMul"]
    given = np.log(np.array([[0.1, 0.2, 0.3, 0.4]]))
    found = ReferenceEvaluator(model).run(None, {"waveform": given.astype(np.float32)})[0]
    np.testing.assert_allclose(found, [[0.4, 0.6]], rtol=1e-6)
