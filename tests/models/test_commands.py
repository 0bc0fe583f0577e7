"""What `bimodal models` prints of a model: its cost, and no words of others that steer a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
from typer.testing import CliRunner

from bimodal.models.commands import app, shown
from tests.artifacts import make_face_static


def test_metadata_is_shown_without_control_characters_and_markup(tmp_path: Path) -> None:
    path = make_face_static(tmp_path / "evil.onnx")
    model = onnx.load(path)
    for entry in model.metadata_props:
        if entry.key == "license":
            entry.value = "free\x1b[2J\x1b]0;owned\x07 [bold]and[/bold] \u202eevil"
    Path(path).write_bytes(model.SerializeToString())
    result = CliRunner().invoke(app, ["show", str(path)])
    assert result.exit_code == 0, result.output
    for strange in ("\x1b", "\x07", "\u202e"):
        assert strange not in result.output
    assert "\\x1b[2J" in result.output
    assert "[bold]and[/bold]" in result.output
    facts = json.loads(CliRunner().invoke(app, ["show", str(path), "--json"]).output)
    assert facts["milliseconds_a_run"] > 0
    assert facts["bytes"] == Path(path).stat().st_size


def test_words_of_others_stay_on_their_line() -> None:
    assert shown("a\nb\x1b", lines=False) == "a\\nb\\x1b"
    assert shown("grün · 日本") == "grün · 日本"
