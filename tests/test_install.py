"""The installation: the wheel's files, and the installed command beside other people's folders."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import cv2
import pytest

from bimodal import __version__
from bimodal.errors import __all__ as error_names

REPOSITORY = Path(__file__).parents[1]
ROOMS = ("broker", "drawing", "export", "models", "recordings", "training", "workers")
EXTRAS = (
    "torch",
    "librosa",
    "matplotlib",
    "onnx",
    "onnxscript",
    "onnxslim",
    "keras",
    "tensorflow",
    "tf2onnx",
    "h5py",
    "scipy",
    "tqdm",
    "ai_edge_litert",
    "pylsl",
    "pythonosc",
    "paho",
)  # fmt: skip, "fsspec", "s3fs")
"""Packages a plain install lacks."""

BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"

# In the environment, beside the wheel: with BLOCKED in the environment, packages of extras are missing.
BLOCKER = f"""
import os, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(f"No module named '{{name}}'", name=name)

if os.environ.get("BLOCKED"):
    sys.meta_path.insert(0, Blocker())
"""


def build(what: str, source: Path, out: Path) -> Path:
    """Build a 'wheel' or an 'sdist' of a source tree; the file."""
    out.mkdir()
    command = [sys.executable, "-c", BUILD, f"build_{what}", str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = out.iterdir()
    return built


def sources() -> list[str]:
    """The files and links of the checkout, but for tests and docs."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split("\0")
    return sorted(name for name in listed if name and not name.startswith(("tests/", "docs/")))


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A wheel from a copy of the checkout, and one from the sdist of that."""
    folder = tmp_path_factory.mktemp("built")
    checkout = folder / "checkout"
    for name in sources():
        target = checkout / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(REPOSITORY / name):
            shutil.copy2(REPOSITORY / name, target, follow_symlinks=False)
    with tarfile.open(build("sdist", checkout, folder / "sdist")) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return {
        "checkout": build("wheel", checkout, folder / "from-checkout"),
        "sdist": build("wheel", unpacked, folder / "from-sdist"),
    }


@pytest.mark.parametrize("source", ["checkout", "sdist"])
def test_a_wheel_holds_bimodal_whole_and_nothing_else(wheels: dict[str, Path], source: str) -> None:
    with zipfile.ZipFile(wheels[source]) as wheel:
        entries = wheel.infolist()
    assert not [entry.filename for entry in entries if stat.S_ISLNK(entry.external_attr >> 16)]
    names = {entry.filename for entry in entries}
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"bimodal"}
    ours = {name if name.startswith("bimodal/") else f"bimodal/{name}" for name in sources()
            if name.startswith(("bimodal/", *(f"{room}/" for room in ROOMS)))}  # fmt: skip
    assert wheels[source].name.startswith(f"bimodal_emotion-{__version__}-")
    links = {f"bimodal/{room}" for room in ROOMS}
    assert {name for name in names if name.startswith("bimodal/")} == ours - links
    assert {"bimodal/py.typed", "bimodal/models/catalog.yaml", "bimodal/models/face-compact/model.onnx",
            "bimodal/workers/demo/demo.mp4", "bimodal/workers/view/page/index.html",
            "bimodal/recordings/report/page.html.jinja", "bimodal/training/configs/face-compact.yaml",
            "bimodal/export/onnx_presets/wav2vec2.yaml"} <= names  # fmt: skip


class Installed:
    """The wheel in an environment of its own, used from a folder that has modules of our rooms' names."""

    def __init__(self, bin_folder: Path, cwd: Path, state: Path) -> None:
        self.python, self._bimodal, self.cwd = bin_folder / "python", bin_folder / "bimodal", cwd
        self._state = state

    def run(
        self, *arguments: str | Path, path: str | None = None, blocked: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """`bimodal ARGUMENTS`, with PYTHONPATH=`path`."""
        return self.start(self._bimodal, *arguments, path=path, blocked=blocked)

    def start(
        self, program: Path, *arguments: str | Path, path: str | None = None, blocked: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """A program of the environment."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        environment |= {"XDG_STATE_HOME": str(self._state), "COLUMNS": "200"}
        environment |= ({"PYTHONPATH": path} if path is not None else {}) | ({"BLOCKED": "1"} if blocked else {})
        command = [str(program), *map(str, arguments)]
        return subprocess.run(command, cwd=self.cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def installed(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel of the sdist, installed; its dependencies come from the environment that runs the tests."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheels["sdist"])], check=True, capture_output=True)
    (packages,) = (folder / "env" / "lib").glob("python*/site-packages")
    # A line of a .pth file comes behind site-packages, and .pth files of that folder (a checkout of ours) don't count.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (packages / "sitecustomize.py").write_text(BLOCKER)
    hostile = folder / "hostile"
    for room in ("export", "training", "workers", "recordings"):
        (hostile / room).mkdir(parents=True)
        (hostile / room / "__init__.py").write_text(f"raise SystemExit('the {room} of somebody else')\n")
    for module in ("models", "broker", "cli", "api", "actor"):
        (hostile / f"{module}.py").write_text(f"raise SystemExit('{module}.py of somebody else')\n")
    found = Installed(python.parent, hostile, folder / "state")
    where = found.start(python, "-c", "import bimodal; print(bimodal.__file__)").stdout.strip()
    assert where == str(packages / "bimodal" / "__init__.py")
    return found


@pytest.mark.parametrize("path", [None, "."])
def test_it_can_be_imported_beside_modules_of_the_same_names(installed: Installed, path: str | None) -> None:
    code = f"import bimodal, bimodal.errors; print(*(getattr(bimodal.errors, name) for name in {error_names!r}))"
    done = installed.start(installed.python, "-c", code, path=path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split("<class")) == 1 + len(error_names)


def test_small_commands_work_beside_modules_of_the_same_names(installed: Installed) -> None:
    for arguments, word in (
        (("--version",), f"bimodal {__version__}\n"),
        (("--help",), "analyze"),
        (("models", "list"), "face-compact"),
        (("data", "list"), "ravdess"),
        (("export", "onnx", "--list-presets"), "wav2vec2"),
        (("train", "--help"), "keras-speech"),
        (("evaluate", "--help"), "clips"),
        (("bench", "--help"), "--png"),
    ):
        done = installed.run(*arguments, path=".", blocked=True)
        assert done.returncode == 0, done.stderr
        assert word in done.stdout, arguments


def test_a_file_is_analysed_beside_modules_of_the_same_names(installed: Installed) -> None:
    demo = REPOSITORY / "workers" / "demo" / "demo.mp4"
    done = installed.run("analyze", demo, "--out", "out", path=".")
    assert done.returncode == 0, done.stderr
    assert (installed.cwd / "out" / "demo.jsonl").stat().st_size > 1000


@pytest.mark.parametrize("path", [None, "."])
def test_the_api_works_beside_modules_of_the_same_names(installed: Installed, path: str | None) -> None:
    code = (
        "import bimodal, numpy; from bimodal.workers.demo import DEMO\n"
        "with bimodal.Detector() as detector:\n"
        "    print(next(detector.events(DEMO)).emotion.label, detector.faces(numpy.zeros((90, 160, 3), numpy.uint8)))\n"
        "with bimodal.run({'streams': {'a': {'file': str(DEMO)}}}, session='api') as s:\n"
        "    print(type(next(s.events())).__name__)\n"
    )
    done = installed.start(installed.python, "-c", code, path=path, blocked=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["happy []", "Emotion"]


def test_models_are_measured_without_any_extra(installed: Installed) -> None:
    portrait = cv2.imread(str(REPOSITORY / "workers" / "demo" / "portrait.jpg"))
    (installed.cwd / "faces" / "test" / "happy").mkdir(parents=True)
    cv2.imwrite(str(installed.cwd / "faces" / "test" / "happy" / "one.png"), cv2.resize(portrait, (48, 48)))
    done = installed.run("evaluate", "face", "--data", "faces", "--split", "test", blocked=True)
    assert done.returncode == 0, done.stderr
    assert "n = 1" in done.stdout
    (installed.cwd / "clips").mkdir()
    shutil.copy(REPOSITORY / "workers" / "demo" / "demo.mp4", installed.cwd / "clips" / "01-01-03-01-01-01-01.mp4")
    done = installed.run("evaluate", "clips", "clips", path=".", blocked=True)
    assert done.returncode == 0, done.stderr
    assert "fused" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "package", "extra"),
    [
        ("train face", "torch", "training"),
        ("train speech", "torch", "training"),
        ("train dynamic", "torch", "training"),
        ("train fusion", "torch", "training"),
        ("train keras-speech", "torch", "training,convert"),
        ("evaluate face --data . --out report", "matplotlib", "training"),
        ("evaluate clips . --out report", "matplotlib", "training"),
        ("evaluate speech --data . --conditions", "scipy", "training"),
        ("bench limit --png limit.png", "matplotlib", "bench"),
        ("export mediapipe", "onnx", "convert"),
        ("export silero", "onnx", "convert"),
        ("export torch weights.pt --architecture emo-affectnet", "torch", "convert"),
        ("export onnx foreign.onnx", "onnx", "convert"),
        ("export keras network.h5 --preset seed-mel15", "keras", "convert"),
        ("export quantize face-compact --data .", "onnx", "convert"),
    ],
)
def test_what_needs_an_extra_names_it_before_it_starts(
    installed: Installed, arguments: str, package: str, extra: str
) -> None:
    done = installed.run(*arguments.split(), blocked=True)
    assert done.returncode == 1
    assert done.stdout == ""
    (sentence,) = done.stderr.splitlines()
    assert sentence.endswith(f"needs the package '{package}': pip install 'bimodal-emotion[{extra}]'")


@pytest.mark.slow
def test_the_bench_needs_no_extra(installed: Installed) -> None:
    done = installed.run("bench", "limit", "pipeline", "--quick", "--json", "found.json", path=".", blocked=True)
    assert done.returncode == 0, done.stderr
    assert (installed.cwd / "found.json").is_file()
