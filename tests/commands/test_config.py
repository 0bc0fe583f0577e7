"""`bimodal config`, and which files the commands read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from bimodal.commands.config import app
from bimodal.config import Config, check_config, load_config
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
    assert shown["streams"]["door"].keys() == {"url"}, "what every stream has by default is not told"
    assert json.loads(run("show", *BOTH, "--changed", "--json")) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("streams: {a: {file: a.mp4, loop: true}, b: {camera: 0}}", None),
        ("streams: {desk: {auto: true}, door: {url: 'http://x/1.jpg', snapshot_fps: 1}}", None),
        ("streams: {a: {file: 'a$${b}$$${c}.mp4'}}", None),
        ("workers: {face: {count: {max: 4}}, audio: {count: 2}}", None),
        ("workers: {face: {count: 3, cores: [0]}, max_memory_mb: null}", None),
        ("outputs: {api: true}", {"outputs": {"api": {"enabled": True}}}),
        ("outputs: {api: {enabled: false, port: 9000}}", None),
        (
            "outputs: {view: false, window: true}",
            {"outputs": {"view": {"enabled": False}, "window": {"enabled": True}}},
        ),
        ("outputs: {view: {host: 127.0.0.1, port: 9000}}", {"outputs": {"view": {"port": 9000}}}),
        ("outputs: {osc: true}", {"outputs": {"osc": {}}}),
        ("outputs: {osc: {port: 9001}, webhook: {url: 'https://x/hook', send: both}, lsl: machine}", None),
        ("outputs: {mqtt: home.local}", {"outputs": {"mqtt": {"host": "home.local"}}}),
        ("outputs: {record: sessions}", {"outputs": {"record": {"folder": "sessions"}}}),
        ("outputs: {record: {folder: x, video: true}, events: ['tcp://127.0.0.1:5655']}", None),
        ("models: {face-details: 'on', face-static: [face-robust, fer-plus], weights: {fer-plus: 0.5}}", None),
        ("emotions: [happy, sad]\ncategories: none\nlog: {file: x.log}\nnetwork: {workers: ['tcp://0.0.0.0:1']}", None),
        ("models: {face-static: face-robust, weights: {}}\nstreams: {desk: {auto: true, channel: mix}}", {}),
    ],
)
def test_what_is_shown_as_changed_makes_the_same_config(
    files: list[Path], text: str, shown: dict[str, object] | None
) -> None:
    Path("own.yaml").write_text(text)
    Path("again.yaml").write_text(run("show", "--config", "own.yaml", "--changed"))
    loaded = load_config(Path("own.yaml"))
    assert load_config(Path("again.yaml")) == loaded
    found = yaml.safe_load(Path("again.yaml").read_text()) or {}
    assert found == (yaml.safe_load(text) if shown is None else shown)
    as_json = json.loads(run("show", "--config", "own.yaml", "--changed", "--json"))
    assert check_config(as_json, "json", expanding=False) == loaded


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
    assert "models.yaml is right as far as checked; streams" in said
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
