"""What a foreign file is, and a command that adopts it as it stands once its capital words are filled in."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner

from bimodal.export.commands import app
from bimodal.export.errors import SourceModelError
from bimodal.export.inspect import guess, inspect
from bimodal.models.catalog import resolve
from tests.export import foreign_files as files

FILLED = {"LABELS": "happy,sad,fear", "SCALE": "0.01", "MEAN": "0", "RATE": "16000", "SECONDS": "1", "SIZE": "8"}


MADE: dict[str, Callable[[Path], Path]] = {
    "plain": files.plain,
    "scikit": files.scikit,
    "hsemotion": lambda path: files.hsemotion(path, 3),
    "wav2vec2": lambda path: files.wav2vec2(path, mask=True),
    "voice": lambda path: files.voice_activity(path, 576, 1),
}


@pytest.mark.parametrize("make", MADE)
def test_the_command_that_it_gives_ends_with_an_artifact(tmp_path: Path, make: str) -> None:
    source = tmp_path / "theirs.onnx"
    MADE[make](source)
    facts = inspect(source)
    assert facts.command is not None
    words = shlex.split(facts.command)
    assert words[:3] == ["bimodal", "export", "onnx"]
    four = "neutral,happy,angry,sad"
    filled = [(four if make == "wav2vec2" and word == "LABELS" else FILLED.get(word, word)) for word in words[2:]]
    result = CliRunner().invoke(app, [*filled, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out/theirs/model.onnx").is_file()


def test_facts_of_a_graph(tmp_path: Path) -> None:
    facts = inspect(files.scikit(tmp_path / "svc.onnx"))
    assert facts.inputs == ("'X' float [N, 64]",)
    assert facts.outputs == ("'label' string [N]", "'probability' float")
    assert (facts.opset, facts.nodes, facts.classes) == (18, 3, ("hap", "neu", "sad"))
    artifact = inspect(resolve("face-compact"))
    assert "an artifact of bimodal already" in artifact.thinks
    assert artifact.command is None


@pytest.mark.parametrize(
    ("shape", "outputs", "kind"),
    [
        (("N", 3, 224, 224), [("N", 8)], "face-static"),
        ((1, 48, 48, 1), [(1, 7)], "face-static"),
        ((1, 3, 640, 640), [(1, 25200, 16)], "face-detector"),
        ((1, 192, 192, 3), [(1, 1404), (1, 1)], "face-landmarks"),
        (("N", "S"), [("N", 4)], "speech"),
        (("N", 1, 16000), [("N", 4)], "speech"),
        (("N", 10, 512), [("N", 7)], "face-dynamic"),
        (("N", 40), [("N", 7)], None),
        (("N", 64, 40, 40), [("N", 7)], None),
    ],
)
def test_kinds_are_guessed_by_shapes(
    shape: tuple[int | str, ...], outputs: list[tuple[int | str, ...]], kind: str | None
) -> None:
    assert guess(shape, outputs).kind == kind


def test_folders_weights_and_broken_files_are_told(tmp_path: Path) -> None:
    header = json.dumps({"conv.weight": {"dtype": "F32", "shape": [4, 3], "data_offsets": [0, 48]}}).encode()
    (tmp_path / "w.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(48))
    facts = inspect(tmp_path / "w.safetensors")
    assert facts.weights == 12
    assert any("--architecture" in note for note in facts.notes)
    files.plain(tmp_path / "a.onnx")
    assert any("bimodal models inspect" in note for note in inspect(tmp_path).notes)
    (tmp_path / "b.onnx").write_bytes(b"nothing")
    assert any("is no ONNX file" in note for note in inspect(tmp_path / "b.onnx").notes)
    with pytest.raises(SourceModelError, match="there is no file"):
        inspect(tmp_path / "c.onnx")


def test_nothing_that_is_inspected_is_told_to_be_inspected(tmp_path: Path) -> None:
    facts = inspect(tmp_path)
    assert facts.thinks == "a folder without a model file, as the folders in it are"
    assert [note.partition(";")[0] for note in facts.notes] == ["name a model file, or the folder that holds it"]
    (tmp_path / "deep").mkdir()
    for number in range(8):
        (tmp_path / "deep" / f"{number}.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    facts = inspect(tmp_path)
    assert facts.notes[0] == f"look at: bimodal models inspect {tmp_path}/deep/0.h5"
    assert facts.notes[6:] == ("and 2 more",)
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"x")
    for path in (tmp_path / "saved", tmp_path / "deep" / "0.h5"):
        notes = inspect(path).notes
        assert any("bimodal export keras" in note for note in notes)
        assert path.suffix != ".h5" or f"{path} is damaged: " in notes[0]
        assert not any("models inspect" in note for note in notes)


def test_control_characters_are_shown_as_what_they_are(tmp_path: Path) -> None:
    from bimodal.export.inspect_command import inspect as command

    source = files.headed(tmp_path / "evil.onnx", "Softmax", names="{0: 'happy\\x1b[2J', 1: 'sad', 2: 'fear'}")
    model = onnx.load(str(source))
    model.producer_name = "\x1b]0;owned\x07"
    source.write_bytes(model.SerializeToString())
    import typer

    single = typer.Typer()
    single.command()(command)
    output = CliRunner().invoke(single, [str(source)]).output
    assert "\x1b" not in output
    assert "\x07" not in output
    assert "\\x1b[2J" in output


def test_weights_of_known_networks_are_recognised(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"lstm1.weight_ih_l0": torch.ones(2), "lstm2.weight_ih_l0": torch.ones(3)}, tmp_path / "w.pt")
    facts = inspect(tmp_path / "w.pt")
    assert facts.weights == 5
    assert "--architecture emo-affectnet-dynamic" in str(facts.command)
    torch.save(torch.nn.Linear(2, 3), tmp_path / "module.pt")
    facts = inspect(tmp_path / "module.pt")
    assert any("a Python object, torch.nn.modules.linear.Linear" in note for note in facts.notes)
