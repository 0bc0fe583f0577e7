"""Every form of a foreign model that is adopted is swapped into one running system, one after another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from onnx import TensorProto
from typer.testing import CliRunner

from bimodal.broker.events import Emotion
from bimodal.cli import app
from tests.end_to_end.living import Living, static_model
from tests.export import foreign_files as files

FACE = ("--kind", "face-static", "--colour", "rgb", "--size", "8", "--scale", "1")
SPEECH = ("--kind", "speech", "--sample-rate", "16000", "--window", "1")
THREE = ("--labels", "happy,sad,fear")


class Form(NamedTuple):
    """A form: name, how its file is made, and the words it is adopted with."""

    name: str
    make: Callable[[Path], Path]
    words: tuple[str, ...]


FORMS = (
    Form("softmax", files.plain, (*FACE, *THREE)),
    Form("logits", lambda path: files.headed(path, "Identity"), (*FACE, *THREE, "--logits")),
    Form("log-softmax", lambda path: files.headed(path, "LogSoftmax"), (*FACE, *THREE)),
    Form("percent", lambda path: files.headed(path, "Softmax", factor=100.0), (*FACE, *THREE)),
    Form("sigmoid", lambda path: files.headed(path, "Sigmoid"), (*FACE, *THREE)),
    Form("names inside", lambda path: files.headed(path, "Softmax", names="{0: 'hap', 1: 'sad', 2: 'fea'}"), FACE),
    Form("uint8", lambda path: files.typed(path, TensorProto.UINT8), (*FACE, *THREE, "--layout", "nhwc")),
    Form("int32", lambda path: files.typed(path, TensorProto.INT32), (*FACE, *THREE, "--layout", "nhwc")),
    Form("branches", files.with_branches, (*FACE, *THREE)),
    Form("function", files.with_function, (*FACE, *THREE)),
    Form("ferplus", files.ferplus, ("--preset", "ferplus-8")),
    Form("mini", files.mini_xception, ("--preset", "mini-xception")),
    Form("hsemotion", lambda path: files.hsemotion(path, outputs=10), ("--preset", "hsemotion-8-mtl")),
    Form(
        "scikit",
        files.scikit,
        ("--kind", "face-static", "--colour", "grey", "--size", "8", "--scale", "0.01"),
    ),
)
VOICES = (
    Form(
        "lengths",
        lambda path: files.speech_of(path, {"lengths": (TensorProto.INT64, ["N"])}),
        (*SPEECH, "--labels", "happy,sad,neutral", "--logits"),
    ),
    Form(
        "wav2vec2",
        lambda path: files.wav2vec2(path, mask=True),
        ("--preset", "wav2vec2", "--labels", "neutral,happy,angry,sad"),
    ),
)


def adopt(form: Form, folder: Path) -> str:
    """Adopt a form as a user does; the path of its artifact."""
    name = form.name.replace(" ", "-")
    source = form.make(folder / f"{name}.onnx")
    arguments = ["export", "onnx", str(source), *form.words, "--name", name, "--out", str(folder / "out")]
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 0, f"{form.name}: {found.output}"
    return str(folder / "out" / name / "model.onnx")


@pytest.mark.slow
def test_every_form_is_swapped_into_a_running_system(tmp_path: Path) -> None:
    living = Living(tmp_path)
    with living.up("test-swap-forms") as driven:
        driven.wait_for(lambda body: static_model(body) == "first@1")
        for form in FORMS:
            living.write(models={"face-static": adopt(form, tmp_path), "speech": "none"})
            wanted = f"{form.name.replace(' ', '-')}@1"
            event = driven.wait_for(lambda body, wanted=wanted: static_model(body) == wanted)
            assert isinstance(event, Emotion)
            assert event.faces, form.name
            assert sum((event.faces[0].static or {}).values()) == pytest.approx(1.0, abs=1e-3), form.name
        for form in VOICES:
            living.write(models={"face-static": str(living.models["first"]), "speech": adopt(form, tmp_path)})
            wanted = f"{form.name}@1"
            driven.wait_for(
                lambda body, wanted=wanted: (
                    isinstance(body, Emotion)
                    and body.models.get("speech") == wanted
                    and body.speech is not None
                    and body.speech.probabilities is not None
                )
            )
