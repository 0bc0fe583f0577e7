"""Which input and which output: found where shapes and names tell, asked for with a list of all where they don't."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from typer.testing import CliRunner

from bimodal.export.commands import app
from bimodal.models.session import Artifact, open_artifact
from tests.export import foreign_files as files

FACE = ("--kind", "face-static", "--colour", "rgb")
SPEECH = ("--kind", "speech", "--labels", "happy,sad,fear", "--sample-rate", "8000", "--window", "0.5")
GREY = ("--kind", "face-static", "--colour", "grey")


def export(tmp_path: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["onnx", *arguments, "--out", str(tmp_path / "out")])
    assert "Traceback" not in result.output
    return result.exit_code, result.output


def adopted(tmp_path: Path, source: Path, *arguments: str) -> tuple[Artifact, str]:
    code, output = export(tmp_path, str(source), *arguments)
    assert code == 0, output
    return open_artifact(tmp_path / "out" / source.stem / "model.onnx", provider="cpu"), output


def refused(tmp_path: Path, source: Path, *arguments: str) -> str:
    code, output = export(tmp_path, str(source), *arguments)
    assert code == 1, output
    assert not (tmp_path / "out").exists()
    assert len(output.strip().splitlines()) == 1
    return output


def test_sigmoids_and_percentages_are_no_softmax_of_them(tmp_path: Path) -> None:
    faces = files.pictures(5, 8)
    values = faces.transpose(0, 3, 1, 2).astype(np.float32)
    for head, factor in (("Sigmoid", None), ("Softmax", 100.0)):
        source = files.headed(tmp_path / f"{head}.onnx", head, factor=factor)
        artifact, output = adopted(tmp_path, source, *FACE, "--labels", "happy,sad,fear")
        theirs = files.run(source, x=values)[0]
        expected = theirs / theirs.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(artifact.run(faces=faces)["probabilities"], expected, atol=1e-5)
        assert "divided by their sum" in output
        assert "divided by their sum" in str((artifact.metadata.metrics or {})["scores"])
        sentence = refused_after(tmp_path, source, *FACE, "--labels", "happy,sad,fear", "--logits")
        assert f"--scores {'sigmoid' if factor is None else 'percent'}" in sentence
    source = tmp_path / "Sigmoid.onnx"
    artifact, _ = adopted(tmp_path, source, *FACE, "--labels", "happy,sad,fear", "--independent")
    card = tmp_path / "out/Sigmoid/card.md"
    assert "its classes have scores of their own: they are divided by their sum" in card.read_text()
    card.write_text("mine")
    adopted(tmp_path, source, *FACE, "--labels", "happy,sad,fear", "--independent")
    assert card.read_text() == "mine"
    np.testing.assert_allclose(artifact.run(faces=faces)["scores"], files.run(source, x=values)[0], atol=1e-5)


def refused_after(tmp_path: Path, source: Path, *arguments: str) -> str:
    code, output = export(tmp_path, str(source), *arguments)
    assert code == 1, output
    return output


@pytest.mark.parametrize("zipmap", [True, False])
def test_scikit_learns_maps_are_unwrapped_with_their_names(tmp_path: Path, zipmap: bool) -> None:
    source = files.scikit(tmp_path / "svc.onnx", zipmap=zipmap)
    words = () if zipmap else ("--labels", "hap,neu,sad")
    artifact, output = adopted(tmp_path, source, *GREY, "--scale", "0.01", *words)
    assert artifact.metadata.labels == ("hap", "neu", "sad")
    assert "left out: output 'label' string [N]" in output
    faces = files.pictures(3, 8)
    flat = ((faces @ np.array([0.299, 0.587, 0.114])) * 0.01).reshape(3, 64).astype(np.float32)
    theirs = files.run(source, X=flat)[1]
    rows = np.array([[row[name] for name in ("hap", "neu", "sad")] for row in theirs]) if zipmap else theirs
    np.testing.assert_allclose(artifact.run(faces=faces)["probabilities"], rows, atol=1e-5)


def test_numbers_of_classes_are_told_and_names_asked_for(tmp_path: Path) -> None:
    source = files.scikit(tmp_path / "svc.onnx", (3, 5, 6))
    assert "--labels" in refused(tmp_path, source, *GREY)
    _, output = adopted(tmp_path, source, *GREY, "--scale", "0.01", "--labels", "happy,sad,neutral")
    assert "classes 3, 5, 6 of its training" in output


def test_valence_and_arousal_are_kept_beside_the_classes(tmp_path: Path) -> None:
    source = files.with_head_of_affect(tmp_path / "mtl.onnx")
    artifact, output = adopted(tmp_path, source, *FACE, "--labels", "happy,sad", "--take", "2", "--output", "l")
    assert "left out: output 'mean' float [N, 3]" in output
    faces = files.pictures(3, 8)
    mean, va, logits = files.run(source, x=faces.transpose(0, 3, 1, 2).astype(np.float32))
    found = artifact.run(faces=faces)
    np.testing.assert_allclose(found["probabilities"], files.softmax(logits[:, :2]), atol=1e-5)
    np.testing.assert_allclose(found["valence_arousal"], va, atol=1e-4)
    asked = refused_after(tmp_path, source, *FACE, "--labels", "happy,sad,fear")
    assert "outputs 'mean' float [N, 3], 'va' float [N, 2], 'l' float [N, 3]" in asked
    assert "--output" in asked
    artifact, _ = adopted(
        tmp_path,
        source,
        *FACE,
        "--labels",
        "happy,sad,fear",
        "--output",
        "l",
        "--embedding",
        "mean",
        "--affect",
        "va:1,0",
    )
    found = artifact.run(faces=faces)
    np.testing.assert_allclose(found["valence_arousal"], va[:, ::-1], atol=1e-4)
    np.testing.assert_allclose(found["embedding"], mean, atol=1e-3)


def test_columns_behind_the_classes_are_said_and_can_be_kept(tmp_path: Path) -> None:
    source = files.hsemotion(tmp_path / "enet.onnx", outputs=10)
    artifact, output = adopted(tmp_path, source, "--preset", "hsemotion-8-mtl")
    assert "8, 9 are kept as valence and arousal" in output
    assert artifact.run(faces=files.pictures(2, 224))["valence_arousal"].shape == (2, 2)
    sentence = refused_after(tmp_path, source, "--preset", "hsemotion-8")
    assert "--take 8" in sentence
    assert "--affect 8,9" in sentence


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.INT32, TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_whole_numbers_are_fed(tmp_path: Path, kind: int) -> None:
    source = files.typed(tmp_path / "whole.onnx", kind)
    artifact, _ = adopted(tmp_path, source, *FACE, "--labels", "happy,sad,fear", "--layout", "nhwc")
    faces = files.pictures(3, 8)
    from onnx import helper

    expected = files.run(source, q=faces.astype(helper.tensor_dtype_to_np_dtype(kind)))[0]
    np.testing.assert_allclose(artifact.run(faces=faces)["probabilities"], expected, atol=1e-5)


def test_types_that_can_not_be_fed_are_named_with_the_way_out(tmp_path: Path) -> None:
    arguments = (*FACE, "--labels", "happy,sad,fear", "--layout", "nhwc")
    sentence = refused(tmp_path, files.typed(tmp_path / "b.onnx", TensorProto.BFLOAT16), *arguments)
    assert "takes bfloat16" in sentence
    assert "model.float()" in sentence
    assert "takes bool" in refused(tmp_path, files.typed(tmp_path / "c.onnx", TensorProto.BOOL), *arguments)


def test_lengths_phases_and_rates_are_fed_by_their_names(tmp_path: Path) -> None:
    others: dict[str, Any] = {
        "lengths": (TensorProto.INT64, ["N"]),
        "attention_mask": (TensorProto.INT64, ["N", "S"]),
        "sr": (TensorProto.INT64, []),
    }
    source = files.speech_of(tmp_path / "speech.onnx", others)
    artifact, output = adopted(tmp_path, source, *SPEECH)
    assert "fed: lengths = its length, attention_mask = ones, sr = 8000" in output
    wave = np.random.default_rng(1).normal(0.01, 0.1, (2, 4000)).astype(np.float32)
    feeds = {"lengths": np.full(2, 4000), "attention_mask": np.ones((2, 4000), np.int64), "sr": np.array(8000)}
    expected = files.softmax(files.run(source, wave=wave, **feeds)[0])
    np.testing.assert_allclose(artifact.run(waveform=wave)["probabilities"], expected, atol=1e-4)


def test_what_no_name_tells_is_asked_for_and_obeyed(tmp_path: Path) -> None:
    source = files.speech_of(tmp_path / "speech.onnx", {"gender": (TensorProto.FLOAT, ["N", 1])})
    sentence = refused(tmp_path, source, *SPEECH)
    assert "'gender' float [N, 1]" in sentence
    advised = sentence.partition("such as ")[2].partition(" (or")[0].split()
    artifact, _ = adopted(tmp_path, source, *SPEECH, *advised)
    assert [tensor.name for tensor in artifact.inputs] == ["waveform"]
    text = files.speech_of(tmp_path / "text.onnx", {})
    model = onnx.load(str(text))
    model.graph.input.append(files.value("words", TensorProto.STRING, ["N"]))
    text.write_bytes(model.SerializeToString())
    assert "can't be adopted as it is: its input 'words' string [N]" in refused_after(tmp_path, text, *SPEECH)


def test_samples_of_16_bits_are_scaled(tmp_path: Path) -> None:
    source = files.speech_of(tmp_path / "int.onnx", {}, kind=TensorProto.INT16)
    artifact, _ = adopted(tmp_path, source, *SPEECH)
    wave = np.random.default_rng(1).normal(0.0, 0.1, (1, 4000)).astype(np.float32)
    expected = files.softmax(files.run(source, wave=np.rint(wave * 32768).astype(np.int16))[0])
    np.testing.assert_allclose(artifact.run(waveform=wave)["probabilities"], expected, atol=1e-4)
    sentence = refused_after(tmp_path, files.speech_of(tmp_path / "w.onnx", {}, kind=TensorProto.INT32), *SPEECH)
    assert "--gain" in sentence


def test_names_in_the_file_are_used_and_equal_ones_added_up(tmp_path: Path) -> None:
    source = files.headed(tmp_path / "yolo.onnx", "Softmax", names="{0: 'angry', 1: 'happy', 2: 'frustrated'}")
    assert "frustrated=happy" in refused(tmp_path, source, *FACE)
    artifact, _ = adopted(tmp_path, source, *FACE, "--labels", "angry,happy,frustrated=angry")
    assert artifact.metadata.labels == ("angry", "happy")
    faces = files.pictures(3, 8)
    theirs = files.run(source, x=faces.transpose(0, 3, 1, 2).astype(np.float32))[0]
    expected = np.stack([theirs[:, 0] + theirs[:, 2], theirs[:, 1]], axis=1)
    np.testing.assert_allclose(artifact.run(faces=faces)["probabilities"], expected, atol=1e-5)
    artifact, output = adopted(tmp_path, source, *FACE, "--categories", "frustrated")
    assert artifact.metadata.categories == ("frustrated",)
    assert "classes by its 'names'" in output
    assert "class 0 is 'angry'" in refused_after(tmp_path, source, *FACE, "--labels", "sad,happy,other")


def test_a_wrong_scale_that_makes_all_answers_alike_is_a_warning(tmp_path: Path) -> None:
    source = files.plain(tmp_path / "plain.onnx")
    _, output = adopted(tmp_path, source, *FACE, "--labels", "happy,sad,fear", "--scale", "0.00001")
    assert "warning: it answers all" in output
