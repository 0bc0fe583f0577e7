"""The other programs, their pinned versions, and an environment of its own for each.

They would not live in one environment with each other or with us, and nothing of them is imported here. Weights come
with the packages themselves, so that the registries are all that is needed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from bimodal.bench.figures import BenchError
from bimodal.child_process import python_command

HERE = Path(__file__).parent
DONE = "made"
OWN = "bimodal"


class Peer(NamedTuple):
    """One program.

    Attributes:
        what: what it is, for the table.
        kind: how its packages are installed: by pip, by npm, or not at all (ours).
        packages: with their versions.
        alone: packages that are installed without what they ask for, since they ask for other versions than they work
            with, or for what is not used here; `packages` then has what they need.
        emotions: whether it names emotions; others are measured by the faces that they find.
        cut: it is shown faces that our detector has cut out, since its own detectors don't work here; its speed would
            say nothing then, and is not measured.
        model: the file that it needs beside its packages, below --models.
    """

    what: str
    kind: Literal["pip", "npm", "own"]
    packages: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    emotions: bool = True
    cut: bool = False
    model: str | None = None


WASM = ("@tensorflow/tfjs@4.22.0", "@tensorflow/tfjs-backend-wasm@4.22.0")
PEERS: dict[str, Peer] = {
    OWN: Peer("bimodal.Detector, the default config, faces only, no details", "own"),
    "fer": Peer(
        "fer 25.10.3: Haar cascade of OpenCV, mini_XCEPTION in TensorFlow Lite",
        "pip",
        (
            "tensorflow-cpu==2.19.1",
            "opencv-contrib-python-headless==4.12.0.88",
            "numpy==2.1.3",
            "requests==2.32.5",
            "Pillow==11.3.0",
            "setuptools==80.9.0",
        ),
        alone=("fer==25.10.3",),
    ),
    "mediapipe": Peer(
        "MediaPipe Tasks 0.10.35, face landmarker with blendshapes (no emotions)",
        "pip",
        ("mediapipe==0.10.35",),
        emotions=False,
        model="face_landmarker.task",
    ),
    "facial-emotion-recognition": Peer(
        "facial-emotion-recognition 0.3.4: MTCNN and a network for 48×48 in torch",
        "pip",
        (
            "torch==2.13.0",
            "torchvision==0.28.0",
            "opencv-python-headless==4.12.0.88",
            "numpy==2.1.3",
            "requests==2.32.5",
            "Pillow==11.3.0",
            "tqdm==4.67.1",
        ),
        alone=("facial-emotion-recognition==0.3.4", "facenet-pytorch==2.6.0"),
    ),
    "face-api": Peer(
        "@vladmandic/face-api 1.7.15 in node, WASM: its expression network on faces that ours has cut out",
        "npm",
        ("@vladmandic/face-api@1.7.15", *WASM),
        cut=True,
    ),
    "human": Peer(
        "@vladmandic/human 3.3.6 in node, WASM: BlazeFace, mesh, emotions",
        "npm",
        ("@vladmandic/human@3.3.6", *WASM),
    ),
}
# Named in the issue, but without weights in any package: they fetch them from elsewhere when they are first used.
WITHOUT_WEIGHTS = ("py-feat", "deepface")


def make(folder: Path, name: str) -> None:
    """Install a program's packages below `folder`, unless that is done.

    Raises BenchError where that fails; what was begun is begun again next time.
    """
    peer, place = PEERS[name], folder / name
    if peer.kind == "own" or (place / DONE).is_file():
        return
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    if peer.kind == "pip":
        _run(name, [sys.executable, "-m", "venv", str(place / "venv")])
        pip = [str(python_of(folder, name)), "-m", "pip", "install", "--quiet", "--no-compile"]
        _run(name, [*pip, *peer.packages])
        if peer.alone:
            _run(name, [*pip, "--no-deps", *peer.alone])
    else:
        npm = shutil.which("npm")
        if npm is None:
            raise BenchError(f"{name} needs node and npm, and they are not here")
        _run(name, [npm, "install", "--prefix", str(place), "--no-audit", "--no-fund", "--silent", *peer.packages])
    (place / DONE).touch()


def command(folder: Path, name: str) -> list[str]:
    """The command of a program's process. Raises BenchError where its environment was not made."""
    peer = PEERS[name]
    if peer.kind == "own":
        return python_command("scripts.measure.peers.own")
    if not (folder / name / DONE).is_file():
        raise BenchError(f"{name} is not installed below {folder}: run the same command with --make")
    if peer.kind == "npm":
        # Modules are looked for beside the program itself.
        program = folder / name / "node_peer.mjs"
        shutil.copyfile(HERE / "node_peer.mjs", program)
        return ["node", "--no-warnings", str(program), name]
    return [str(python_of(folder, name)), "-I", str(HERE / "python_peer.py"), name]


def python_of(folder: Path, name: str) -> Path:
    """The interpreter of a program's environment."""
    return folder / name / "venv" / "bin" / "python"


def _run(name: str, command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()
        raise BenchError(f"{name} can't be installed: {last[-1] if last else f'code {done.returncode}'}")
