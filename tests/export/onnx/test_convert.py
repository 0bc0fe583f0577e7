"""Other people's ONNX files become artifacts that answer as the files do, or are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from typer.testing import CliRunner

from bimodal.export.commands import app
from bimodal.export.errors import ExportError, SourceModelError
from bimodal.export.onnx.convert import export_onnx
from bimodal.export.onnx.description import Description, merge, presets, read_preset
from bimodal.export.onnx.foreign import read_foreign
from bimodal.models.session import open_artifact
from tests.export import foreign_files as files

FER_LABELS = "neutral, happiness, surprise, sadness, anger, disgust, fear, contempt"


def _export(tmp_path: Path, *arguments: str) -> Any:
    return CliRunner().invoke(app, ["onnx", *arguments, "--out", str(tmp_path / "out")])


def _refused(tmp_path: Path, *arguments: str) -> str:
    result = _export(tmp_path, *arguments)
    assert result.exit_code == 1, result.output
    assert not (tmp_path / "out").exists()
    sentence = str(result.output).strip()
    assert "Traceback" not in sentence
    assert "\n" not in sentence
    return sentence


def test_an_old_graph_of_fixed_batch_as_in_the_zoo_becomes_an_artifact(tmp_path: Path) -> None:
    """Opset 8, IR 3, weights among the inputs, [1, 1, 64, 64], Reshape to [1, …]: as FER+ is published."""
    source = files.ferplus(tmp_path / "fer.onnx")
    result = _export(tmp_path, str(source), "--preset", "ferplus-8", "--name", "fer")
    assert result.exit_code == 0, result.output
    assert "same label in 100 %" in result.output
    artifact = open_artifact(tmp_path / "out/fer/model.onnx", "face-static", provider="cpu")
    assert ", ".join(artifact.metadata.labels or ()) == FER_LABELS
    faces = files.pictures(5, 64)
    answers = artifact.run(faces=faces)["probabilities"]
    grey = (faces @ np.array([0.299, 0.587, 0.114])).astype(np.float32)[:, None]
    for answer, picture in zip(answers, grey, strict=True):
        logits = files.run(source, Input3=picture[None])[0]
        np.testing.assert_allclose(answer, files.softmax(logits)[0], atol=1e-5)
    metrics = artifact.metadata.metrics or {}
    assert metrics["agreement_random"] == metrics["agreement_real"] == 1.0
    assert float(str(metrics["parity_probabilities_real"])) < 1e-4


def test_hsemotion_with_imagenet_values_and_columns_that_are_no_classes(tmp_path: Path) -> None:
    source = files.hsemotion(tmp_path / "enet.onnx", outputs=10)
    result = _export(tmp_path, str(source), "--preset", "hsemotion-8-mtl", "--embedding", "mean", "--version", "7")
    assert result.exit_code == 0, result.output
    artifact = open_artifact(tmp_path / "out/enet/model.onnx", "face-static", provider="cpu")
    assert artifact.metadata.embedding_space == "enet@7"
    faces = files.pictures(3, 224)
    values = (faces / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    logits = files.run(source, input=values.transpose(0, 3, 1, 2).astype(np.float32))[0]
    found = artifact.run(faces=faces)
    np.testing.assert_allclose(found["probabilities"], files.softmax(logits[:, :8]), atol=1e-5)
    assert found["embedding"].shape == (3, 3)


def test_wav2vec2_hears_any_loudness_alike_and_its_mask_is_fed(tmp_path: Path) -> None:
    source = files.wav2vec2(tmp_path / "speech.onnx", mask=True)
    result = _export(tmp_path, str(source), "--preset", "wav2vec2", "--labels", "neutral,happy,angry,sad")
    assert result.exit_code == 0, result.output
    artifact = open_artifact(tmp_path / "out/speech/model.onnx", "speech", provider="cpu")
    assert artifact.metadata.sample_rate == 16_000
    wave = np.random.default_rng(3).normal(0, 0.1, (2, 20_000)).astype(np.float32)
    expected = (wave - wave.mean(1, keepdims=True)) / np.sqrt(wave.var(1, keepdims=True) + 1e-7)
    logits = files.run(source, input_values=expected, attention_mask=np.ones(wave.shape, np.int64))[0]
    np.testing.assert_allclose(artifact.run(waveform=wave)["probabilities"], files.softmax(logits), atol=1e-5)
    quiet = artifact.run(waveform=wave * 0.5 + 0.1)["probabilities"]
    np.testing.assert_allclose(quiet, artifact.run(waveform=wave)["probabilities"], atol=1e-3)


def test_flags_and_a_file_describe_as_presets_do_and_flags_win(tmp_path: Path) -> None:
    source = files.mini_xception(tmp_path / "mini.onnx")
    (tmp_path / "words.yaml").write_text(
        "kind: face-static\nlabels: [angry, disgust, fear, happy, sad, surprise, neutral]\nlicense: mine\n"
        "pixels: {colour: rgb, layout: nhwc, scale: 0.00784313725490196, offset: -1.0}\n"
    )
    result = _export(
        tmp_path, str(source), "--config", str(tmp_path / "words.yaml"), "--colour", "grey",
        "--crop", "scale=1.5 shift_y=-0.1 rotate=false", "--license", "MIT",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    artifact = open_artifact(tmp_path / "out/mini/model.onnx", provider="cpu")
    crop = artifact.metadata.crop
    assert crop is not None
    assert (crop.scale, crop.shift_y, crop.rotate) == (1.5, -0.1, False)
    assert artifact.metadata.license == "MIT"
    assert _export(tmp_path, str(source), "--preset", "mini-xception", "--name", "same").exit_code == 0
    faces = files.pictures(2, 64)
    same = open_artifact(tmp_path / "out/same/model.onnx", provider="cpu").run(faces=faces)
    np.testing.assert_array_equal(artifact.run(faces=faces)["probabilities"], same["probabilities"])


def test_a_dynamic_model_is_renamed_and_described(tmp_path: Path) -> None:
    source = files.sequence(tmp_path / "steps.onnx", steps=6, width=5)
    words = ["--kind", "face-dynamic", "--labels", "happy,sad", "--interval", "0.2", "--probabilities"]
    assert "--embedding-space" in _refused(tmp_path, str(source), *words)
    result = _export(tmp_path, str(source), *words, "--embedding-space", "enet@7")
    assert result.exit_code == 0, result.output
    artifact = open_artifact(tmp_path / "out/steps/model.onnx", "face-dynamic", provider="cpu")
    assert artifact.inputs[0].shape == ("batch", 6, 5)
    assert artifact.metadata.embedding_space == "enet@7"


def test_graphs_inside_nodes_and_functions_are_carried_along(tmp_path: Path) -> None:
    for make in (files.with_branches, files.with_function):
        source = make(tmp_path / "inner.onnx")
        result = _export(tmp_path, str(source), *files.PLAIN, "--name", make.__name__)
        assert result.exit_code == 0, result.output


def test_external_data_beside_the_file_is_put_in(tmp_path: Path) -> None:
    source = files.external(tmp_path / "big.onnx", "weights.bin")
    result = _export(tmp_path, str(source), *files.PLAIN)
    assert result.exit_code == 0, result.output
    (tmp_path / "weights.bin").unlink()
    open_artifact(tmp_path / "out/big/model.onnx", provider="cpu")


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "a/../../secret.bin", "link.bin", ""])
def test_external_data_outside_the_folder_is_not_opened(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(1000))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    source = files.external(folder / "big.onnx", location, written=False)
    assert "outside its folder" in _refused(tmp_path, str(source), *files.PLAIN)


@pytest.mark.parametrize(("offset", "length"), [("-1", "8"), ("0", "99999"), ("900000", "8"), ("x", "8")])
def test_external_data_must_be_there(tmp_path: Path, offset: str, length: str) -> None:
    source = files.external(tmp_path / "big.onnx", "weights.bin", offset=offset, length=length)
    assert "does not hold" in _refused(tmp_path, str(source), *files.PLAIN)


def test_size_counts_the_file_and_what_it_brings_along(tmp_path: Path) -> None:
    source = files.external(tmp_path / "big.onnx", "weights.bin", padding=1_200_000)
    sentence = _refused(tmp_path, str(source), *files.PLAIN, "--max-size", "1")
    assert "more than the 1 MB" in sentence
    (tmp_path / "fat.onnx").write_bytes(bytes(1_000_001))
    assert "has 1.0 MB" in _refused(tmp_path, str(tmp_path / "fat.onnx"), *files.PLAIN, "--max-size", "1")


def _change(path: Path, change: Callable[[onnx.ModelProto], Any]) -> Path:
    model = onnx.load(str(files.plain(path)))
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def _domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "evil.ops"
    model.opset_import.append(helper.make_opsetid("evil.ops", 1))


def _hidden_domain(model: onnx.ModelProto) -> None:
    body = helper.make_graph(
        [helper.make_node("Run", [], ["r"], domain="evil.ops")],
        "body",
        [],
        [helper.make_tensor_value_info("r", TensorProto.FLOAT, [])],
    )
    node = helper.make_node("If", ["c"], ["never"], then_branch=body, else_branch=body)
    model.graph.node.insert(0, node)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_domain, "custom domain 'evil.ops'"),
        (_hidden_domain, "'Run' of the custom domain 'evil.ops'"),
        (lambda m: setattr(m.graph.node[0], "op_type", "Summon"), "'Summon', unknown in opset"),
        (lambda m: setattr(m.opset_import[0], "version", 999), "opset 999"),
        (lambda m: setattr(m.opset_import[0], "version", onnx.defs.onnx_opset_version()), "newer than"),
        (lambda m: setattr(m, "ir_version", 99), "newer than IR version"),
    ],
)
def test_what_can_not_run_everywhere_is_named(
    tmp_path: Path, change: Callable[[onnx.ModelProto], Any], words: str
) -> None:
    source = _change(tmp_path / "odd.onnx", change)
    assert words in _refused(tmp_path, str(source), *files.PLAIN)


@pytest.mark.parametrize("content", [b"", b"not onnx at all", bytes(100), b"\x08\x0a" * 50])
def test_no_onnx_is_said_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.onnx").write_bytes(content)
    assert "is no ONNX file" in _refused(tmp_path, str(tmp_path / "odd.onnx"), *files.PLAIN)


@settings(max_examples=60)
@given(data=st.data())
def test_broken_bytes_are_refused_or_do_no_harm(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("broken")
    content = bytearray(files.with_function(folder / "broken.onnx").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / "broken.onnx").write_bytes(content)
    try:
        model = read_foreign(folder / "broken.onnx")
    except SourceModelError:
        return
    assert not model.functions
    assert model.graph.node


@pytest.mark.parametrize("make", [files.endless_function, files.exploding_functions])
def test_functions_made_to_do_harm_are_not_written_out(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    with pytest.raises(SourceModelError, match=r"calls itself|more than the 200,000"):
        read_foreign(make(tmp_path / "odd.onnx"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--labels", "happy,sad"), "gives 3 values, but 2 labels"),
        (("--labels", "happy,sad,neutral,fear"), "gives 3 values, but 4 labels"),
        (("--labels", "happy,sad,sleepy"), "label 'sleepy'"),
        (("--logits",), "already gives probabilities"),
        (("--colour", "grey"), "is not nchw with 1 channel"),
        (("--layout", "nhwc"), "is not nhwc with 3 channels"),
        (("--mean", "1,2"), "mean has 2 values"),
        (("--mean", "a,b"), "--mean takes numbers"),
        (("--crop", "scale:1"), "--crop takes"),
        (("--crop", "tilt=1"), "unknown field `tilt`"),
        (("--size", "32"), "squares of one --size"),
        (("--input", "nothing"), "no input 'nothing'"),
        (("--output", "nothing"), "no tensor 'nothing'"),
        (("--name", "../up"), "can't be the name"),
        (("--preset", "nothing"), "no preset 'nothing'"),
        (("--config", "nothing.yaml"), "can't be read as YAML"),
    ],
)
def test_a_wrong_description_is_one_sentence(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    source = files.plain(tmp_path / "plain.onnx")
    assert words in _refused(tmp_path, str(source), *files.PLAIN, *arguments)


def test_logits_without_the_flag_are_refused(tmp_path: Path) -> None:
    source = files.hsemotion(tmp_path / "enet.onnx", outputs=8)
    assert "say --scores logits" in _refused(tmp_path, str(source), "--preset", "hsemotion-8", "--probabilities")


def test_a_graph_that_mixes_its_batch_is_refused(tmp_path: Path) -> None:
    source = files.plain(tmp_path / "mixed.onnx", mixed=True)
    assert "one input at a time" in _refused(tmp_path, str(source), *files.PLAIN)


def test_missing_words_are_asked_for(tmp_path: Path) -> None:
    source = files.plain(tmp_path / "plain.onnx")
    assert "--kind" in _refused(tmp_path, str(source))
    assert "--labels" in _refused(tmp_path, str(source), "--kind", "face-static")
    assert "--colour" in _refused(tmp_path, str(source), "--kind", "face-static", "--labels", "happy,sad,fear")
    assert "--sample-rate" in _refused(tmp_path, str(source), "--kind", "speech", "--labels", "happy,sad,fear")
    assert "there is no file" in _refused(tmp_path, "nothing.onnx", *files.PLAIN)


def test_presets_are_listed_and_all_can_be_read() -> None:
    result = CliRunner().invoke(app, ["onnx", "--list-presets"])
    assert result.output.split() == presets()
    assert {"hsemotion-8", "hsemotion-7", "ferplus-8", "mini-xception", "wav2vec2"} <= set(presets())
    for name in presets():
        assert read_preset(name).kind is not None


def test_later_words_win_and_unsaid_ones_stay() -> None:
    both = merge(Description(name="a", license="b"), Description(name="c"))
    assert (both.name, both.license) == ("c", "b")


def test_a_network_that_answers_otherwise_writes_nothing(tmp_path: Path) -> None:
    """The file rounds its input to whole numbers after ÷ 255: what the description leaves out shows as a difference."""
    source = files.plain(tmp_path / "plain.onnx", noisy=True)
    with pytest.raises(ExportError, match=r"does not answer|one input at a time"):
        export_onnx(source, files.described(), tmp_path / "out", lambda _: None)
    assert not (tmp_path / "out").exists()


def test_limits_are_told_with_the_number_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = files.plain(tmp_path / "plain.onnx")
    monkeypatch.setattr("bimodal.export.onnx.foreign.MOST_TENSORS", 2)
    assert "has 3 constants; at most 2 are read" in _refused(tmp_path, str(source), *files.PLAIN)
    monkeypatch.setattr("bimodal.export.onnx.foreign.MOST_NODES", 2)
    assert "has 3 operators; at most 2 are read" in _refused(tmp_path, str(source), *files.PLAIN)


@pytest.mark.parametrize(("rounds", "words"), [(3_000_000, "of 3,000,000 rounds"), (None, "takes longer than")])
def test_loops_without_an_end_are_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rounds: int | None, words: str
) -> None:
    monkeypatch.setattr("bimodal.export.onnx.foreign.LONGEST_RUN_S", 0.5)
    assert words in _refused(tmp_path, str(files.looping(tmp_path / "loop.onnx", rounds)), *files.PLAIN)
