"""The small commands, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bimodal.cli import COMMANDS
from tests.end_to_end.driving import run


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself(name: str) -> None:
    code, out, err = run(name, "--help")
    assert code == 0, err
    assert "Usage" in out
    assert len(out.split()) > 20


def test_the_front_door_lists_every_command_with_a_line() -> None:
    code, out, _ = run("--help")
    assert code == 0
    for name, room in COMMANDS.items():
        assert name in out
        assert room.help.split()[0] in out


def test_a_command_that_does_not_exist_is_refused() -> None:
    code, _, err = run("analyse")
    assert code == 2
    assert "No such command 'analyse'" in err


def test_the_doctor_finds_the_libraries_the_provider_and_every_model_well() -> None:
    _, out, err = run("doctor", "--json")
    findings = {finding["check"]: finding for finding in json.loads(out)}
    assert "Traceback" not in err
    for check in ("pyzmq", "opencv-python", "onnxruntime", "provider", "model face-robust", "model speech-whisper"):
        assert findings[check]["verdict"] == "ok", findings[check]
    assert "is active" in findings["provider"]["found"]
    assert {"camera", "microphone", "shared memory"} <= set(findings)
    for finding in findings.values():
        assert (finding["verdict"] == "ok") == (finding["advice"] is None)


def test_the_doctor_says_what_to_do_about_a_model_that_is_not_there(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("models: {face-detector: /nowhere.onnx}")
    code, out, _ = run("doctor", "--config", config, "--json")
    assert code == 1
    provider = next(finding for finding in json.loads(out) if finding["check"] == "provider")
    assert "/nowhere.onnx" in provider["advice"]


def test_models_are_listed_shown_and_verified() -> None:
    code, out, _ = run("models", "list", "--json")
    assert code == 0
    names = {entry["name"] for entry in json.loads(out)}
    assert {
        "blazeface-short",
        "facemesh-468",
        "face-compact",
        "speech-whisper",
        "speech-voice",
        "speech-compact",
        "silero-vad",
    } <= names
    code, out, _ = run("models", "show", "face-compact")
    assert code == 0
    assert "FER2013" in out
    code, _, err = run("models", "show", "face-compat")
    assert code == 1
    assert "face-compact" in err


def test_devices_can_be_read_by_a_program() -> None:
    code, out, err = run("devices", "--json")
    assert code == 0, err
    assert isinstance(json.loads(out), dict)
