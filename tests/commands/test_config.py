"""`bimodal config`, and which files the commands read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from bimodal.commands.config import app
from bimodal.config import Config, load_config
from bimodal.options import config_files, config_of
from bimodal.workers.errors import ConfigError
from tests.artifacts import make_face_static

SITE = """\
outputs:
  view:
    host: 0.0.0.0
    token: 0123456789abcdef-secret
fusion: {video_weight: 0.6}
"""
CAMERA = """\
streams:
  door:
    url: rtsp://admin:hunter2hunter2@cam/1?token=sesame-open
fusion: {video_weight: 0.5}
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BIMODAL_CONFIG", raising=False)
    for name, text in (("site.yaml", SITE), ("camera.yaml", CAMERA)):
        Path(name).write_text(text)
    return [Path("site.yaml"), Path("camera.yaml")]


def run(*words: str, code: int = 0) -> str:
    found = CliRunner().invoke(app, words)
    assert found.exit_code == code, found.output
    return found.output


BOTH = ("--config", "site.yaml", "--config", "camera.yaml")


def test_show_says_what_is_in_force_and_where_it_is_from_without_secrets(files: list[Path]) -> None:
    said = run("show", *BOTH)
    assert "video_weight: 0.5  # camera.yaml, line 4" in said
    assert "host: 0.0.0.0  # site.yaml, line 3" in said
    assert "token: '***'  # site.yaml, line 4" in said
    assert not {word for word in ("hunter2", "0123456789abcdef", "sesame", "admin") if word in said}
    shown = yaml.safe_load(said)
    assert set(shown) == set(Config.__struct_encode_fields__)
    assert shown["models"]["face-detector"] == "yunet-n", "defaults too"


def test_show_changed_and_json(files: list[Path]) -> None:
    shown = yaml.safe_load(run("show", *BOTH, "--changed"))
    assert set(shown) == {"outputs", "streams", "fusion"}
    assert shown["fusion"] == {"video_weight": 0.5}
    assert json.loads(run("show", *BOTH, "--changed", "--json")) == shown


def test_check_says_what_is_right_and_what_is_wrong(files: list[Path]) -> None:
    assert run("check", *BOTH) == "site.yaml and camera.yaml are right; streams: door\n"
    assert run("check") == "the built-in config is right; streams: desk\n"
    Path("camera.yaml").write_text("\nmodels: {speech: no-such-model}\n")
    run("check", "--config", "camera.yaml")
    assert "no-such-model" in run("check", "--config", "camera.yaml", "--here", code=1)
    Path("camera.yaml").write_text("\n\nfuson: {}\n")
    assert "camera.yaml, line 3: unknown key 'fuson'" in run("check", *BOTH, code=1)


def test_check_reads_the_models_without_opening_them(files: list[Path]) -> None:
    face = make_face_static(Path("face.onnx").absolute(), embedding_space="mine")
    Path("no.onnx").write_bytes(b"no model")
    for models, sentence in (
        ({"face-detector": str(face)}, "face.onnx is a face-static artifact, but a face-detector artifact is needed"),
        ({"speech": str(Path("no.onnx").absolute())}, "no.onnx can't be opened: it is no ONNX file"),
        ({"face-static": str(face), "face-dynamic": "face-dynamic-compact"}, "the static model gives those of 'mine'"),
        ({"speech": "gone.onnx", "face-landmarks": str(face)}, "a face-landmarks artifact is needed here"),
    ):
        Path("models.yaml").write_text(yaml.safe_dump({"models": models}))
        assert sentence in run("check", "--config", "models.yaml", code=1)
    Path("models.yaml").write_text("models: {speech: [gone.onnx, speech-whisper]}\ncapture: {window_s: 1}")
    said = run("check", "--config", "models.yaml", code=1)
    assert "bimodal: not checked: there is no model file gone.onnx" not in said
    assert "wants windows of" in said, "what is there is checked all the same"
    Path("models.yaml").write_text("models: {speech: [gone.onnx, no-such-model]}")
    said = run("check", "--config", "models.yaml")
    assert "bimodal: not checked: there is no model file gone.onnx" in said
    assert "bimodal: not checked: there is no model 'no-such-model' in the catalog" in said
    assert "models.yaml is right" in said
    assert "gone.onnx" in run("check", "--config", "models.yaml", "--here", code=1)


def test_schema_and_example_are_what_the_docs_and_the_repository_have(files: list[Path]) -> None:
    assert json.loads(run("schema"))["title"] == "bimodal: config.yaml"
    Path("config.yaml").write_text(run("example"))
    assert load_config(Path("config.yaml")) == Config()


def test_files_come_from_the_option_then_the_variable_then_the_folder(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert config_files(None) == ()
    Path("config.yaml").write_text("fusion: {video_weight: 0.1}")
    assert config_of(None).fusion.video_weight == 0.1
    monkeypatch.setenv("BIMODAL_CONFIG", "site.yaml:camera.yaml")
    assert config_files(None) == tuple(files)
    assert config_of(None).fusion.video_weight == 0.5
    assert config_of([files[0]]).fusion.video_weight == 0.6
    monkeypatch.setenv("BIMODAL_CONFIG", "nowhere.yaml")
    with pytest.raises(ConfigError, match=r"there is no config file nowhere\.yaml .*BIMODAL_CONFIG"):
        config_of(None)
    with pytest.raises(ConfigError) as caught:
        config_of([Path("nothing.yaml")])
    assert "BIMODAL_CONFIG" not in str(caught.value)
