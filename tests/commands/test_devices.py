"""Names of devices are words of others."""

from __future__ import annotations

import pytest

from bimodal.commands import devices
from bimodal.doctor import command
from bimodal.doctor.checks import Finding

NAME = "Cam\x1b[2J \u202e[red]"


def test_the_name_of_a_device_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    camera = {"index": 0, "name": NAME, "path": f"/dev/{NAME}"}
    taken = {"camera": 0, "microphone": None, "demo": False}
    devices._show({"cameras": [camera], "microphones": [], "auto": taken, "notes": [NAME]})
    command._draw([Finding("camera", "ok", NAME, NAME)])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "[red]" in out
