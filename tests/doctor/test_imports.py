"""What is missing on the machine is named: libraries are imported, not only looked for."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bimodal.child_process import python_command
from bimodal.config import Config
from bimodal.doctor import checks
from bimodal.doctor.imports import advice, missing_imports
from tests.end_to_end.driving import Driven
from tests.media import face_clip

NO_XCB = "ImportError: libxcb.so.1: cannot open shared object file: No such file or directory"


@pytest.fixture
def without_xcb(tmp_path: Path) -> dict[str, str]:
    """An environment in which `import cv2` fails as it does on a bare Debian."""
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "cv2.py").write_text(f"raise ImportError({NO_XCB.partition(': ')[2]!r})\n")
    return {**os.environ, "PYTHONPATH": str(tmp_path / "bare")}


def test_what_can_be_imported_is_not_missing_and_what_cannot_is_named() -> None:
    found = missing_imports(["json", "no_such_module_here"])
    assert list(found) == ["no_such_module_here"]
    assert "No module named" in found["no_such_module_here"]


def test_a_module_that_ends_the_process_does_not_hide_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deadly.py").write_text("import os; os._exit(7)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = missing_imports(["json", "deadly"])
    assert found == {"deadly": "importing it ended the process (exit code 7)"}


def test_advice_names_the_package() -> None:
    assert advice(NO_XCB) == "apt-get install libxcb1 (or what brings libxcb.so.1 on this system)"
    assert advice("OSError: PortAudio library not found") == (
        "apt-get install libportaudio2 (or what brings OSError: PortAudio library not found on this system)"
    ) or "libportaudio2" in str(advice("OSError: PortAudio library not found"))
    assert advice("ImportError: libodd.so.3: cannot open") == "install the system package that brings libodd.so.3"


def test_the_doctor_calls_a_library_that_cannot_be_loaded_wrong(
    without_xcb: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", without_xcb["PYTHONPATH"])
    found = {finding.check: finding for finding in checks._libraries()}
    assert found["opencv-python"].verdict == "wrong"
    assert "libxcb.so.1" in found["opencv-python"].found
    assert "libxcb1" in str(found["opencv-python"].advice)
    assert found["numpy"].verdict == "ok"
    assert not any(name.startswith("process ") for name in found), "one cause is said once"


def test_analyze_says_which_library_is_missing(tmp_path: Path, without_xcb: dict[str, str]) -> None:
    clip = face_clip(tmp_path / "clip.mp4", 1.0)
    with Driven("analyze", clip, "--out", tmp_path / "out", environment=without_xcb) as driven:
        code, _, err = driven.finish()
    assert code == 1
    assert "libxcb.so.1" in err
    assert "bimodal doctor" in err


@pytest.mark.parametrize("module", ["onnxruntime", "av", "zmq", "msgspec"])
def test_the_doctor_and_all_commands_say_what_they_lack_themselves(tmp_path: Path, module: str) -> None:
    (tmp_path / f"{module}.py").write_text("raise ImportError('libgomp.so.1: cannot open shared object file')\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for command in (["doctor"], ["devices"]):
        done = subprocess.run(
            [*python_command("bimodal.cli"), *command], env=environment, capture_output=True, text=True, check=False
        )
        said = done.stdout + done.stderr
        assert "Traceback" not in said
        assert "unexpected" not in said
        if command[0] == "doctor":
            assert done.returncode == 1
            assert "libgomp1" in done.stdout


def test_the_doctor_says_which_cores_it_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "cpu_quota", lambda: 1.0)
    monkeypatch.setattr(checks, "cores", lambda: 1)
    assert "by the quota of its cgroup (1 cores)" in checks._cores().found
    assert Config() is not None
