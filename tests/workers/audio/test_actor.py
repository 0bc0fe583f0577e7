"""Several speech models as one: in config.yaml, and in what a worker opens and names."""

from __future__ import annotations

from pathlib import Path

import pytest

from bimodal.config import check_config
from bimodal.supervisor.processes import Wanted, processes
from bimodal.workers.audio.actor import open_models
from bimodal.workers.errors import ConfigError
from bimodal.workers.settings import AudioActorSettings
from tests.artifacts import make_speech


def models_of(speech: object) -> tuple[str, ...]:
    return check_config({"models": {"speech": speech}}, "config.yaml").models.voices


def test_a_name_a_list_and_none_are_taken() -> None:
    assert models_of("speech-voice") == models_of(["speech-voice"]) == ("speech-voice",)
    assert models_of(["a.onnx", "b.onnx"]) == ("a.onnx", "b.onnx")
    assert models_of("none") == models_of(["none"]) == ()


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([], "in 'models.speech'"),
        (["speech-voice", "none"], "is none, or a list of models, but not both"),
        (["speech-voice", "speech-voice"], "names the same model twice"),
        (3, "in 'models.speech'"),
    ],
)
def test_a_list_that_can_not_be_is_said_in_one_sentence(value: object, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        models_of(value)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_worker_opens_and_names_all_of_them(tmp_path: Path) -> None:
    paths = [str(make_speech(tmp_path / f"{name}.onnx", name=name)) for name in ("a", "b")]
    config = check_config({"models": {"speech": paths, "voice-activity": "none"}}, "config.yaml")
    row = next(row for row in processes(Wanted(config)) if row.role == "audio")
    assert isinstance(row.settings, AudioActorSettings)
    opened = open_models(row.settings, "audio")
    assert opened.names == {"speech": "a@1+b@1"}
    assert [artifact.metadata.name for artifact in opened.speech] == ["a", "b"]
