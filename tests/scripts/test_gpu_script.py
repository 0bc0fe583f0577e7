"""scripts/measure/gpu.sh with the CPU as its device."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "measure" / "gpu.sh"
LIMITS = "doctor 60", "tests 120", "bench 200", "join 90"


def run(out: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), str(out)], env={**os.environ, "PYTHON": sys.executable, "DEVICE": "cpu", **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_all_steps_fit_into_eight_minutes() -> None:
    text = SCRIPT.read_text()
    assert sum(int(limit.split()[1]) for limit in LIMITS if f"step {limit} " in text) == 470
    assert text.count("step ") - text.count("step()") == len(LIMITS)


def wheel(folder: Path) -> Path:
    """A wheel with one module."""
    path = folder / "carried-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("carried.py", "WORD = 'joined'\n" + "#" * 5000)
        file.writestr("carried-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: carried\nVersion: 1.0\n")
        file.writestr("carried-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr("carried-1.0.dist-info/RECORD", "")
    return path


def in_parts(whole: Path, folder: Path) -> None:
    """Split a file as docs/performance.md says."""
    folder.mkdir()
    data = whole.read_bytes()
    for number, begin in enumerate(range(0, len(data), len(data) // 3 + 1)):
        (folder / f"{whole.name}.part-a{chr(ord('a') + number)}").write_bytes(data[begin : begin + len(data) // 3 + 1])
    (folder / f"{whole.name}.sha256").write_text(f"{hashlib.sha256(data).hexdigest()}  {whole.name}\n")


def steps_only(tmp_path: Path) -> dict[str, str]:
    """An interpreter that does pip's work and nothing else, so that the other steps take no time."""
    fake = tmp_path / "python"
    fake.write_text(f'#!/bin/sh\n[ "$2" = pip ] && exec {sys.executable} "$@"\necho "$@"\n[ "$2" != pytest ]\n')
    fake.chmod(0o755)
    return {"PYTHON": str(fake)}


def test_a_wheel_that_comes_in_parts_is_joined_and_a_step_that_fails_stops_no_other(tmp_path: Path) -> None:
    in_parts(wheel(tmp_path), tmp_path / "parts")
    done = run(tmp_path / "out", PARTS=str(tmp_path / "parts"), **steps_only(tmp_path))
    summary = (tmp_path / "out" / "summary.txt").read_text()
    assert done.returncode == 1
    assert [line.split(",")[0] for line in summary.splitlines()[3:]] == [
        "join: ok", "doctor: ok", "tests: code 1", "bench: ok",
    ]  # fmt: skip
    assert "WORD = 'joined'" in (tmp_path / "out" / "packages" / "carried.py").read_text()
    assert "limit pipeline" in (tmp_path / "out" / "bench.txt").read_text()
    assert "provider: cpu" in (tmp_path / "out" / "config.yaml").read_text()


def test_a_damaged_part_is_told(tmp_path: Path) -> None:
    in_parts(wheel(tmp_path), tmp_path / "parts")
    (next((tmp_path / "parts").glob("*.part-ab"))).write_bytes(b"damaged")
    run(tmp_path / "out", PARTS=str(tmp_path / "parts"), **steps_only(tmp_path))
    assert "join: code 1" in (tmp_path / "out" / "summary.txt").read_text()
    assert "FAILED" in (tmp_path / "out" / "join.txt").read_text()


@pytest.mark.slow
def test_the_whole_script_runs_with_the_cpu_as_its_device(tmp_path: Path) -> None:
    done = run(tmp_path / "out", QUICK="1")
    assert done.returncode == 0, done.stdout + (tmp_path / "out" / "summary.txt").read_text()
    assert (tmp_path / "out" / "bench.json").is_file()
