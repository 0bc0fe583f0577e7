"""The unit, by systemd's own judgement, and its config, by ours. The protocol: tests/supervisor/test_service.py."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bimodal.config import load_config

SYSTEMD = Path(__file__).parents[2] / "deploy" / "systemd"
UNIT = SYSTEMD / "bimodal.service"
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
# systemd's own scale is 0 to 10; 2.1 it calls OK. Versions of it differ a little.
MOST_EXPOSED = 2.5


def settings() -> dict[str, list[str]]:
    """The settings of the section Service; one that is repeated has several values."""
    found: dict[str, list[str]] = {}
    section = UNIT.read_text().partition("[Service]\n")[2].partition("\n[")[0]
    for line in section.splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_the_unit_asks_for_what_the_supervisor_says() -> None:
    service = settings()
    assert service["Type"] == ["notify"]
    assert int(service["WatchdogSec"][0]) > 0
    assert service["Restart"] == ["on-failure"], "the watchdog's end counts as one"
    assert service["RuntimeDirectoryPreserve"] == ["restart"]
    assert "BIMODAL_CONFIG=/etc/bimodal/config.yaml" in service["Environment"]
    assert "XDG_RUNTIME_DIR=/run/bimodal" in service["Environment"]
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read(UNIT)
    assert parser.sections() == ["Unit", "Service", "Install"]


def test_the_config_of_the_service_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(SYSTEMD / "config.yaml")
    assert str(config.log.file) == "stderr", "the journal"
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/bimodal")


def test_the_script_that_installs_it_is_a_script_of_sh() -> None:
    subprocess.run(["sh", "-n", str(SYSTEMD / "install.sh")], check=True)
    assert "bimodal.service" in (SYSTEMD / "install.sh").read_text()


def unit_here(tmp_path: Path) -> Path:
    """The unit with a command that exists here: systemd looks for it."""
    unit = tmp_path / "bimodal.service"
    text = UNIT.read_text().replace("/opt/bimodal/bin/bimodal up", "/bin/true up")
    unit.write_text(re.sub(r"^(User|Group)=bimodal$", r"\1=nobody", text, flags=re.MULTILINE))
    return unit


@needs_systemd
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    command = ["systemd-analyze", "verify", "--man=no", str(unit_here(tmp_path))]
    environment = {**os.environ, "SYSTEMD_LOG_LEVEL": "warning", "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    mine = [line for line in done.stderr.splitlines() if "bimodal" in line]
    assert (done.returncode, mine) == (0, []), done.stderr


@needs_systemd
def test_systemd_calls_it_well_confined(tmp_path: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(unit_here(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    exposure = re.search(r"Overall exposure level for bimodal\.service: ([\d.]+)", done.stdout)
    assert exposure is not None, done.stdout + done.stderr
    assert float(exposure[1]) <= MOST_EXPOSED, done.stdout
