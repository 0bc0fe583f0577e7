"""Live processes are light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import bimodal

HEAVY = ("torch", "tensorflow", "keras", "mediapipe", "librosa", "scipy", "onnx", "sklearn")
REPOSITORY = Path(__file__).parents[1]


def imported_by(statement: str) -> set[str]:
    """The top-level packages that a statement loads in a fresh interpreter."""
    code = f"{statement}; import sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    return set(done.stdout.split())


def loaded_by(*actors: str) -> set[str]:
    """The top-level packages that modules of `bimodal.workers` load in a fresh interpreter."""
    return imported_by("import " + ", ".join(f"bimodal.workers.{actor}" for actor in actors))


@pytest.mark.parametrize(
    "module",
    [
        "bimodal.workers.face.actor",
        "bimodal.workers.audio.actor",
        "bimodal.workers.fusion.actor",
        "bimodal.workers.record",
        "bimodal.workers.capture.actor",
        "bimodal.workers.view.actor",
        "bimodal.workers.broker",
        "bimodal.supervisor.supervisor",
        "bimodal.commands.up",
        "bimodal.commands.analyze",
    ],
)
def test_no_process_loads_what_only_training_and_export_need(module: str) -> None:
    assert not imported_by(f"import {module}") & set(HEAVY)


def test_a_process_loads_only_the_libraries_of_its_own_work() -> None:
    assert not loaded_by("broker") & {
        "cv2",
        "onnxruntime",
        "av",
        "sounddevice",
        "typer",
    }
    assert not loaded_by("capture.actor", "capture.files") & {
        "onnxruntime", "sounddevice", "cv2", "typer",
    }  # fmt: skip
    assert not loaded_by("face.actor") & {"av", "sounddevice", "soxr", "typer"}
    assert not loaded_by("audio.actor") & {"av", "sounddevice", "cv2", "typer"}
    assert not loaded_by("view.actor") & {
        "av",
        "onnxruntime",
        "sounddevice",
        "typer",
    }
    assert not loaded_by("record") & {"av", "cv2", "onnxruntime", "typer"}


def test_what_stands_before_the_first_frame_loads_no_numbers() -> None:
    for module in ("bimodal.commands.up", "bimodal.workers.broker", "bimodal.workers.record"):
        assert not imported_by(f"import {module}") & {"numpy", "onnxruntime", "cv2", "av", "pyarrow", "asyncio"}, module


def test_importing_the_package_loads_the_standard_library_only() -> None:
    code = "import sys; before = set(sys.modules); import bimodal; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    loaded = set(done.stdout.split())
    assert "bimodal" in loaded
    assert {name.partition(".")[0] for name in loaded} <= {"bimodal"} | sys.stdlib_module_names
    assert not [name for name in loaded if name.startswith("bimodal.")]


def test_every_public_name_is_there() -> None:
    for name in bimodal.__all__:
        assert getattr(bimodal, name) is not None, name
    assert set(bimodal.__all__) <= set(dir(bimodal))
    assert bimodal.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = bimodal.nothing
    for name in bimodal.errors.__all__:
        assert issubclass(getattr(bimodal.errors, name), bimodal.errors.BimodalError), name
    with pytest.raises(AttributeError):
        _ = bimodal.errors.nothing
