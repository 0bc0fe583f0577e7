"""INT8 twins: what is quantised and what is not, what is measured on what, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from bimodal.export.artifact import make_model, write
from bimodal.export.commands import app
from bimodal.export.errors import QuantizationError, SourceModelError
from bimodal.export.quantize.examples import Split, read, split
from bimodal.export.quantize.quantize import learned_nodes, make, quantize
from bimodal.export.quantize.report import Report, Side, compare, require
from bimodal.models.catalog import ROOT, resolve
from bimodal.models.contract import CONTRACT_VERSION, Crop, Kind, Metadata, set_of_model
from bimodal.models.emotions import EMOTIONS
from bimodal.models.session import Artifact, open_artifact
from tests.artifacts import make_face_static
from tests.training.trees import write_picture

RANDOM = np.random.default_rng(0)
SIDE = 32


def weights(*shape: int) -> NDArray[np.float32]:
    scale = 1.5 / np.sqrt(np.prod(shape[1:]))
    return np.random.default_rng(sum(shape)).normal(0, scale, shape).astype(np.float32)


def metadata(kind: Kind, **fields: object) -> Metadata:
    required = {"contract": CONTRACT_VERSION, "kind": kind, "version": "1", "license": "MIT", "source": "the tests"}
    return Metadata(**{"name": f"own-{kind}", **required, **fields})  # type: ignore[arg-type]


def graph(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: dict[str, int],
    constants: dict[str, NDArray[np.generic]],
) -> onnx.GraphProto:
    return helper.make_graph(
        nodes,
        "own",
        inputs,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size]) for name, size in outputs.items()],
        initializer=[numpy_helper.from_array(value, name) for name, value in constants.items()],
    )


def face_network(path: Path) -> Artifact:
    """uint8 faces: cast, divide, two convolutions, dense layer; probabilities and embedding."""
    nodes = [
        helper.make_node("Cast", ["faces"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["floats", "mean"], ["centred"]),
        helper.make_node("Transpose", ["centred"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["planes", "scale"], ["scaled"]),
        helper.make_node("Conv", ["scaled", "w1"], ["c1"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c2", "r1"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
        helper.make_node("Gemm", ["embedding", "w3"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    constants: dict[str, NDArray[np.generic]] = {
        "mean": np.array([90, 100, 130], np.float32),
        "scale": np.array(1 / 64, np.float32),
        "w1": weights(64, 3, 3, 3),
        "w2": weights(64, 64, 3, 3),
        "w3": weights(7, 64) * 20,
    }
    faces = helper.make_tensor_value_info("faces", TensorProto.UINT8, ["N", SIDE, SIDE, 3])
    about = metadata("face-static", labels=EMOTIONS, crop=Crop(), embedding_space="own@1", metrics={"accuracy": 0.5})
    return write(make_model(graph(nodes, [faces], {"probabilities": 7, "embedding": 64}, constants), about), path)


def dynamic_network(path: Path) -> Artifact:
    """float32 embeddings [N, 10, 32] through an LSTM."""
    nodes = [
        helper.make_node("Transpose", ["embeddings"], ["steps"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["steps", "w", "r"], ["", "last"], hidden_size=64),
        helper.make_node("Squeeze", ["last", "axis"], ["state"]),
        helper.make_node("Gemm", ["state", "dense"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    constants: dict[str, NDArray[np.generic]] = {
        "w": weights(1, 256, 32),
        "r": weights(1, 256, 64),
        "axis": np.array([0], np.int64),
        "dense": weights(7, 64) * 5,
    }
    embeddings = helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["N", 10, 32])
    about = metadata("face-dynamic", labels=EMOTIONS, embedding_space="own@1", interval_s=0.2)
    return write(make_model(graph(nodes, [embeddings], {"probabilities": 7}, constants), about), path)


def faces(count: int, seed: int = 0) -> list[NDArray[np.uint8]]:
    """Blurred noise of many contrasts."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    return [np.asarray(cv2.resize(picture, (SIDE, SIDE)), np.uint8)[None] for picture in small]


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return face_network(tmp_path_factory.mktemp("face") / "model.onnx")


@pytest.fixture(scope="module")
def twin(face: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    path = tmp_path_factory.mktemp("twin") / "model.onnx"
    return quantize(Path(face.path), path, faces(40), reduce_range=True)


@pytest.fixture
def pictures(face: Artifact, tmp_path: Path) -> Path:
    """A folder a label; the labels are what the network itself says, so that it is always right."""
    for number, batch in enumerate(faces(60, seed=3)):
        answer = face.run(faces=batch)["probabilities"][0]
        folder = tmp_path / "pictures" / EMOTIONS[int(answer.argmax())]
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{number:03}.png"), batch[0][..., ::-1])
    return tmp_path / "pictures"


# ------------------------------------------------------------------------------------ the graph


def test_the_twin_answers_nearly_alike_and_is_much_smaller(face: Artifact, twin: Artifact) -> None:
    apart = []
    for batch in faces(20, seed=1):
        first, second = face.run(faces=batch), twin.run(faces=batch)
        # The last layer is 20 times too sure of itself, and a CPU without VNNI has weights of 7 bits.
        apart.append(np.abs(first["probabilities"] - second["probabilities"]).max())
        one, other = first["embedding"].ravel(), second["embedding"].ravel()
        assert one @ other / np.linalg.norm(one) / np.linalg.norm(other) > 0.999
    assert np.median(apart) < 0.15
    assert Path(twin.path).stat().st_size < 0.5 * Path(face.path).stat().st_size


def test_several_faces_in_one_run_are_as_each_alone(twin: Artifact) -> None:
    batches = faces(4, seed=2)
    together = twin.run(faces=np.concatenate(batches))["probabilities"]
    for row, batch in zip(together, batches, strict=True):
        np.testing.assert_allclose(row, twin.run(faces=batch)["probabilities"][0], atol=0.05)


def test_weights_are_signed_and_per_channel_activations_unsigned(twin: Artifact) -> None:
    model = onnx.load_model(str(twin.path))
    stored = {value.name: numpy_helper.to_array(value) for value in model.graph.initializer}
    kernels = [value for value in stored.values() if value.dtype == np.int8 and value.ndim == 4]
    assert len(kernels) == 2
    assert sum(value.dtype == np.float32 and value.shape == (64,) for value in stored.values()) >= 2
    zeros = {stored[node.input[2]].dtype for node in model.graph.node if node.op_type == "QuantizeLinear"}
    assert zeros == {np.dtype(np.uint8)}


def test_preprocessing_stays_exact(face: Artifact, twin: Artifact) -> None:
    """What the first convolution's quantiser gets is, bit for bit, what the original's first convolution gets."""
    seen = []
    for artifact in (face, twin):
        model = onnx.load_model(str(artifact.path))
        first = next(node for node in model.graph.node if node.op_type in ("QuantizeLinear", "Conv"))
        del model.graph.output[:]
        model.graph.output.append(helper.make_tensor_value_info(first.input[0], TensorProto.FLOAT, None))
        kept = model.SerializeToString()
        session = ort.InferenceSession(kept, providers=["CPUExecutionProvider"])
        seen.append(session.run(None, {"faces": faces(1, seed=5)[0]})[0])
    np.testing.assert_array_equal(seen[0], seen[1])


def test_metadata_carry_over_under_a_new_name(face: Artifact, twin: Artifact) -> None:
    before, after = face.metadata, twin.metadata
    assert after.name == "own-face-static-int8"
    for field in ("kind", "version", "labels", "embedding_space", "crop", "license", "source", "metrics"):
        assert getattr(after, field) == getattr(before, field), field


def test_reduced_range_keeps_weights_within_seven_bits(face: Artifact, tmp_path: Path) -> None:
    narrow = quantize(Path(face.path), tmp_path / "narrow.onnx", faces(20), reduce_range=True)
    stored = [numpy_helper.to_array(value) for value in onnx.load_model(str(narrow.path)).graph.initializer]
    assert max(np.abs(value.astype(int)).max() for value in stored if value.dtype == np.int8) <= 64


def test_an_lstm_is_quantised_without_calibration(tmp_path: Path) -> None:
    network = dynamic_network(tmp_path / "lstm.onnx")
    small = quantize(tmp_path / "lstm.onnx", tmp_path / "small.onnx", [], reduce_range=False)
    assert "DynamicQuantizeLSTM" in {node.op_type for node in onnx.load_model(str(small.path)).graph.node}
    steps = RANDOM.normal(0, 1, (20, 10, 32)).astype(np.float32)
    for batch in steps:
        one, other = (artifact.run(embeddings=batch[None])["probabilities"] for artifact in (network, small))
        assert np.abs(one - other).max() < 0.05
    assert Path(small.path).stat().st_size < 0.5 * Path(network.path).stat().st_size


def test_what_leads_to_a_logarithm_is_no_network() -> None:
    """A spectrum by convolution and its filters stay; the convolution behind them is learnt."""
    nodes = [
        helper.make_node("Conv", ["waveform", "basis"], ["spectrum"], name="fourier"),
        helper.make_node("MatMul", ["spectrum", "filters"], ["mel"], name="mel"),
        helper.make_node("Log", ["mel"], ["log"], name="log"),
        helper.make_node("MatMul", ["log", "cosine"], ["mfcc"], name="cosine"),
        helper.make_node("Conv", ["mfcc", "kernel"], ["maps"], name="first"),
        helper.make_node("Relu", ["maps"], ["out"], name="relu"),
    ]
    assert learned_nodes(helper.make_graph(nodes, "g", [], [])) == {"first", "relu"}


def test_a_graph_without_layers_is_refused(tmp_path: Path) -> None:
    path = make_face_static(tmp_path / "tiny.onnx", size=SIDE)
    with pytest.raises(QuantizationError, match="has no layer that could be quantised"):
        quantize(path, tmp_path / "out.onnx", faces(4), reduce_range=False)
    with pytest.raises(QuantizationError, match="can't be quantised"):
        quantize(Path(face_network(tmp_path / "f.onnx").path), tmp_path / "out.onnx", [], reduce_range=False)
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("file", ["face-compact/int8.onnx", "face-robust/model.onnx"])
def test_a_network_in_integers_is_not_quantised_again(file: str, tmp_path: Path) -> None:
    with pytest.raises(QuantizationError, match="are in 8-bit integers already"):
        quantize(ROOT / file, tmp_path / "model.onnx", [], reduce_range=True)


# ------------------------------------------------------------------------------------ the data


@given(count=st.integers(8, 60), calibration=st.integers(1, 30), evaluation=st.integers(1, 60))
def test_no_file_is_both_calibrated_and_measured_on(
    tmp_path_factory: pytest.TempPathFactory, count: int, calibration: int, evaluation: int
) -> None:
    folder = tmp_path_factory.mktemp("sounds")
    for number in range(count):
        (folder / f"{number}.wav").touch()
    found = split(folder, "speech", calibration=calibration, evaluation=evaluation)
    first, second = ({example.path for example in part} for part in found)
    assert not first & second
    assert (len(found.calibration), len(found.evaluation)) == (
        min(calibration, count // 4),
        min(evaluation, count - min(calibration, count // 4)),
    )
    assert found == split(folder, "speech", calibration=calibration, evaluation=evaluation)


def test_labels_come_from_folders_names_and_tables(tmp_path: Path) -> None:
    for name in ("Happiness/a.wav", "x/03-01-05-01-01-01-01.wav", "x/b.wav", "x/03-01-02-01-01-01-01.flac"):
        (tmp_path / "s" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "s" / name).touch()
    found: Split = split(tmp_path / "s", "speech", calibration=1, evaluation=9)
    emotions = {example.path.stem: example.emotion for part in found for example in part}
    assert emotions == {
        "a": "happy",
        "03-01-05-01-01-01-01": "anger",
        "b": None,
        "03-01-02-01-01-01-01": "neutral",
    }
    (tmp_path / "t").mkdir()
    (tmp_path / "t/train.csv").write_text("image,label\n1.png,sad\n2.png,contempt\n")
    header = "image,ferplus_neutral,ferplus_happiness,ferplus_contempt"
    (tmp_path / "t/valid.csv").write_text(f"{header}\n3.png,1,9,0\n4.png,5,5,0\n5.png,0,1,9\n")
    table = split(tmp_path / "t", "face-static", calibration=9, evaluation=9)
    assert [(example.path.name, example.emotion) for part in table for example in part] == [
        ("1.png", "sad"),
        ("3.png", "happy"),
    ]
    (tmp_path / "t/valid.csv").write_text("picture\n3.png\n")
    with pytest.raises(SourceModelError, match="needs columns 'image' and 'label'"):
        split(tmp_path / "t", "face-static", calibration=9, evaluation=9)


def test_classes_of_a_models_own_have_labels_too(tmp_path: Path) -> None:
    for place, name in enumerate(("boredom", "engaged")):
        for number in range(4):
            write_picture(tmp_path / "data" / name / f"{number}.png", 60 + 120 * place)
    own = ("bored", "engaged")
    artifact = open_artifact(make_face_static(tmp_path / "own.onnx", labels=own, categories=own), provider="cpu")
    among = set_of_model(artifact.metadata)
    assert among.emotions == (*EMOTIONS, "boredom", "engagement")
    examples = split(tmp_path / "data", "face-static", calibration=2, evaluation=6, among=among)
    labels = [example.emotion for example in examples.evaluation]
    inputs = read(examples.evaluation, artifact)
    found = compare(artifact, artifact, inputs, labels, calibrated_on=2, reduce_range=False)
    assert (found.labelled, found.fp32.accuracy) == (6, 1.0)


def test_too_little_or_wrong_data_is_told(tmp_path: Path, face: Artifact) -> None:
    (tmp_path / "one.png").write_bytes(b"not a picture")
    with pytest.raises(SourceModelError, match="too few files"):
        split(tmp_path, "face-static", calibration=9, evaluation=9)
    with pytest.raises(SourceModelError, match="there is no folder"):
        split(tmp_path / "nowhere", "speech", calibration=9, evaluation=9)
    with pytest.raises(SourceModelError, match="a fusion artifact can't be quantised"):
        split(tmp_path, "fusion", calibration=9, evaluation=9)
    for name in "bcdefg":
        (tmp_path / f"{name}.png").write_bytes(b"not a picture")
    with pytest.raises(SourceModelError, match="can't be read as a picture"):
        list(read(split(tmp_path, "face-static", calibration=9, evaluation=9).calibration, face))


def test_embeddings_are_read_without_pickle(tmp_path: Path) -> None:
    network = dynamic_network(tmp_path / "lstm.onnx")
    folder = tmp_path / "happy"
    folder.mkdir()
    for number in range(8):
        np.save(folder / f"{number}.npy", RANDOM.normal(0, 1, (12, 32)).astype(np.float32))
    found = split(folder, "face-dynamic", calibration=9, evaluation=9)
    assert {batch.shape for batch in read(found.evaluation, network)} == {(1, 10, 32)}
    np.save(folder / "0.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(SourceModelError, match="can't be read as an array"):
        list(read([example for part in found for example in part if example.path.stem == "0"], network))


# ------------------------------------------------------------------------------------ the report


def report(loss: float, labelled: int) -> Report:
    side = Side(1.0, 1.0, 0.5)
    return Report(
        name="x-int8", fp32=side, int8=side, speedup=3.0, agreement=0.9, loss=loss, examples=100, labelled=labelled,
        calibrated_on=10, reduce_range=False,
    )  # fmt: skip


def test_more_loss_than_allowed_is_refused_in_a_sentence() -> None:
    require(report(1.0, 100), 1.0)
    require(report(-2.0, 100), 0.0)
    with pytest.raises(QuantizationError, match=r"loses 1\.01 points of accuracy on 100 inputs, .* the 1 allowed"):
        require(report(1.01, 100), 1.0)
    with pytest.raises(QuantizationError, match="points of agreement"):
        require(report(5, 0), 1.0)


def test_accuracy_is_counted_where_there_are_labels_and_agreement_everywhere(face: Artifact, twin: Artifact) -> None:
    inputs = faces(30, seed=4)
    right = [EMOTIONS[int(face.run(faces=batch)["probabilities"].argmax())] for batch in inputs]
    same = [EMOTIONS[int(twin.run(faces=batch)["probabilities"].argmax())] for batch in inputs]
    agreeing = float(np.mean([one == other for one, other in zip(right, same, strict=True)]))
    labelled: list[str | None] = [*right[:10], *[None] * 20]
    found = compare(face, twin, inputs, labelled, calibrated_on=40, reduce_range=False)
    assert (found.fp32.accuracy, found.labelled, found.examples) == (1.0, 10, 30)
    assert found.agreement == pytest.approx(agreeing, abs=1e-4)
    unlabelled = compare(face, twin, inputs, [None] * 30, calibrated_on=40, reduce_range=False)
    assert unlabelled.fp32.accuracy is None
    assert unlabelled.loss == pytest.approx(100 * (1 - agreeing), abs=1e-3)


def test_the_command_measures_writes_and_installs(
    face: Artifact, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    command = ["quantize", str(face.path), "--data", str(pictures), "--out", str(tmp_path / "out"), "--install"]
    result = CliRunner().invoke(app, [*command, "--most-loss", "20", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["examples"], found["calibrated_on"], found["fp32"]["accuracy"]) == (45, 15, 1.0)
    path = resolve("own-face-static-int8")
    assert path.is_relative_to(tmp_path / "data")
    noted = (open_artifact(path, "face-static").metadata.metrics or {})["quantization"]
    assert isinstance(noted, dict)
    assert noted["loss"] == found["loss"]
    assert "| size, MB |" in path.with_name("card.md").read_text()
    assert (tmp_path / "out/own-face-static-int8/model.onnx").read_bytes() == path.read_bytes()
    shown = CliRunner().invoke(app, ["quantize", str(face.path), "--data", str(pictures), "--limit", "20"])
    assert shown.exit_code == 0
    assert "nothing was written" in shown.output
    assert "same answer" in shown.output


def test_one_that_loses_too_much_is_neither_written_nor_installed(
    face: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calibrated on one grey picture, measured on others that the original gets all right."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for number, batch in enumerate(faces(40, seed=6)):
        answer = face.run(faces=batch)["probabilities"][0]
        folder = tmp_path / "pictures" / EMOTIONS[int(answer.argmax())]
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{number:03}.png"), batch[0][..., ::-1])
    grey = tmp_path / "grey"
    (grey / "train").mkdir(parents=True)
    cv2.imwrite(str(grey / "train/0.png"), np.full((SIDE, SIDE, 3), 100, np.uint8))
    rows = sorted((tmp_path / "pictures").rglob("*.png"))
    (grey / "train.csv").write_text("image,label\n0.png,happy\n")
    table = "".join(f"{path},{path.parent.name}\n" for path in rows)
    (grey / "valid.csv").write_text(f"image,label\n{table}")
    made = make(str(face.path), grey, tmp_path, limit=99, calibration=9, reduce_range=False)
    assert made.report.loss > 1
    result = CliRunner().invoke(
        app, ["quantize", str(face.path), "--data", str(grey), "--install", "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 1
    assert "points of accuracy" in result.stderr
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("arguments", [["face-compct", "--data", "."], ["face-compact", "--data", "/nowhere"]])
def test_the_command_fails_with_one_sentence(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, ["quantize", *arguments])
    assert result.exit_code == 1
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.shared
def test_the_shipped_face_model_loses_next_to_nothing_on_real_faces(shared: Path, tmp_path: Path) -> None:
    made = make("face-compact", shared / "data/fer2013", tmp_path, limit=150, calibration=40, reduce_range=None)
    assert made.report.fp32.accuracy is not None
    assert made.report.fp32.accuracy > 0.75
    assert made.report.loss <= 2.0
    assert made.report.agreement > 0.95
