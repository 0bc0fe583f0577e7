"""The image: built by buildah on a base made by debootstrap; its file system run as its user, with a read-only root.

It loads packages for some minutes, so it runs by hand: python -m pytest -s -m slow tests/deploy/test_image.py
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.media import face_clip

ROOT = Path(__file__).parents[2]
SUITE = os.environ.get("BIMODAL_IMAGE_SUITE", "trixie")
MOST_MB = 900
NEEDED = ("buildah", "debootstrap", "unshare", "chroot")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(os.getuid() != 0, reason="buildah's chroot isolation needs root here"),
    pytest.mark.skipif(not all(map(shutil.which, NEEDED)), reason=f"needs {', '.join(NEEDED)}"),
]

# With its first argument as root: read-only, with a /proc, and with memory of its own where the image may write. The
# arguments after the second (the folder for /data) are run there as the image's user.
CONFINED = """
set -eu
root=$1; data=$2; shift 2
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777,size=256m tmpfs "$root/dev/shm"
mount --bind "$data" "$root/data"
mount -o remount,bind,ro "$root"
exec chroot --userspec=10001:10001 "$root" /usr/bin/env -i HOME=/data XDG_STATE_HOME=/tmp/state \\
    PYTHONDONTWRITEBYTECODE=1 PATH=/opt/bimodal/bin:/usr/bin:/bin "$@"
"""


def run(*words: str | Path, **more: str) -> str:
    done = subprocess.run(
        [*map(str, words)], capture_output=True, text=True, check=False, env={**os.environ, **more}, cwd=ROOT
    )
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout.strip()


def megabytes(folder: Path) -> float:
    return int(run("du", "-s", "--block-size=1", "-x", folder).split()[0]) / 1e6


class Image:
    """A built image, mounted; `added_mb`: its size beyond its base."""

    def __init__(self, root: Path, added_mb: float) -> None:
        self.root, self.added_mb = root, added_mb

    def run(self, data: Path, *words: str) -> str:
        """Run a command in it, with a folder as /data."""
        return run("unshare", "--mount", "--pid", "--fork", "sh", "-c", CONFINED, "sh", self.root, data, *words)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    folder = tmp_path_factory.mktemp("image")
    storage = [
        "buildah",
        "--root",
        str(folder / "storage"),
        "--runroot",
        str(folder / "run"),
        "--storage-driver",
        "vfs",
    ]
    base, name = "localhost/bimodal-test-base", "localhost/bimodal-test"
    rootfs = folder / "rootfs"
    run("debootstrap", "--variant=minbase", SUITE, rootfs)
    run("chroot", rootfs, "apt-get", "clean")
    # What a registry's slim image lacks, too.
    for place in ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/lib/apt/lists"):
        shutil.rmtree(rootfs / place)
        (rootfs / place).mkdir()
    container = run(*storage, "from", "scratch")
    run(*storage, "copy", container, rootfs, "/")
    run(*storage, "commit", "--rm", container, base)
    build = [
        *storage,
        "bud",
        "--isolation",
        "chroot",
        "--layers=false",
        "-f",
        "Containerfile",
        "--build-arg",
        f"BASE={base}",
    ]
    if "PIP_INDEX_URL" in os.environ:
        build += ["--build-arg", f"PIP_INDEX_URL={os.environ['PIP_INDEX_URL']}"]
    if "PIP_CERT" in os.environ:  # this machine trusts certificates of its own
        build += [
            "--volume",
            f"{os.environ['PIP_CERT']}:/certificates.pem:ro",
            "--build-arg",
            "PIP_CERT=/certificates.pem",
        ]
    run(*build, "-t", name, ".")
    container = run(*storage, "from", name)
    mounted = Path(run(*storage, "mount", container))
    try:
        yield Image(mounted, megabytes(mounted) - megabytes(rootfs))
    finally:
        run(*storage, "umount", container)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    face_clip(tmp_path / "clip.mp4")
    os.chown(tmp_path, 10001, 10001)
    return tmp_path


def test_it_is_small(image: Image) -> None:
    print(f"\nthe image adds {image.added_mb:.0f} MB to its base")
    assert image.added_mb <= MOST_MB


def test_it_analyses_a_clip_as_its_user_under_a_read_only_root(image: Image, data: Path) -> None:
    assert image.run(data, "id", "-u") == "10001"
    assert "Read-only" in image.run(data, "sh", "-c", "touch /opt/x 2>&1 || true")
    image.run(data, "bimodal", "analyze", "/data/clip.mp4", "--out", "/data/results")
    events = (data / "results" / "clip.jsonl").read_text().splitlines()
    assert len(events) > 10
    assert any(json.loads(event).get("faces") for event in events)


def test_it_runs_live_and_answers_its_healthcheck(image: Image, data: Path) -> None:
    """The demo clip, until an event comes; then what compose.yaml's healthcheck asks."""
    script = (
        "bimodal up > /data/said 2>&1 & "
        "until bimodal subscribe --count 3 > /data/events 2> /dev/null; do sleep 1; done; "
        "bimodal status --json; kill $!; wait"
    )
    status = json.loads(image.run(data, "sh", "-c", script).splitlines()[-1])
    assert {process["state"] for process in status["processes"]} == {"ready"}
    assert len((data / "events").read_text().splitlines()) == 3


def test_it_says_what_it_is_made_of_and_the_doctor_finds_its_libraries(image: Image, data: Path) -> None:
    parts = json.loads((image.root / "opt" / "bimodal" / "parts.json").read_text())
    names = {part["metadata"]["name"].lower() for part in parts["installed"]}
    assert {"bimodal-emotion", "onnxruntime", "opencv-python-headless", "pyzmq"} <= names
    assert not names & {"onnxruntime-gpu", "opencv-python", "torch"}
    findings = json.loads(image.run(data, "bimodal", "doctor", "--json"))
    assert [finding for finding in findings if finding["verdict"] == "wrong"] == []
