"""What `bimodal doctor` looks at: each check gives what was found and, where something is wrong, what to do."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Sequence

from bimodal.broker.sockets import SHARED_MEMORY
from bimodal.config import Config
from bimodal.models.catalog import entries, verify
from bimodal.models.errors import ModelError
from bimodal.supervisor.usage import cores
from bimodal.workers.capture.discover import cameras, microphones
from bimodal.workers.checkup_cuda import cuda_findings
from bimodal.workers.errors import SourceError
from bimodal.workers.finding import Finding

LIBRARIES = (
    "pyzmq",
    "opencv-python",
    "sounddevice",
    "numpy",
    "av",
    "soxr",
    "msgspec",
    "pydantic",
    "PyYAML",
    "typer",
    "rich",
    "psutil",
    "setproctitle",
    "starlette",
    "uvicorn",
    "websockets",
    "prometheus-client",
    "jinja2",
    "pyarrow",
    "cryptography",
)


def check_up(config: Config) -> list[Finding]:
    """Every check, in the order a reader wants them."""
    findings = [_python(), *_libraries(), _onnxruntime(), *_provider(config), _shared_memory(config)]
    findings += [_devices("camera", cameras), _devices("microphone", microphones)]
    return findings + _models()


def _python() -> Finding:
    found = f"{platform.python_version()} on {platform.machine()}, {cores()} cores"
    if sys.version_info[:2] not in ((3, 11), (3, 12), (3, 13)):
        return Finding("python", "warning", found, "bimodal is tested on Python 3.11 to 3.13")
    return Finding("python", "ok", found)


def _libraries() -> list[Finding]:
    findings = []
    for name in LIBRARIES:
        try:
            findings.append(Finding(name, "ok", importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            findings.append(Finding(name, "wrong", "not installed", f"pip install {name}"))
    return findings


def _onnxruntime() -> Finding:
    versions = {}
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    found = ", ".join(f"{name} {version}" for name, version in versions.items())
    if not versions:
        return Finding("onnxruntime", "wrong", "not installed", "pip install onnxruntime-gpu (or onnxruntime)")
    if len(versions) == 2:
        advice = "they share one folder and break each other: uninstall both, then install one"
        return Finding("onnxruntime", "wrong", found, advice)
    return Finding("onnxruntime", "ok", found)


def _provider(config: Config) -> list[Finding]:
    """What is really active, found by opening a shipped model: no other call tells the truth. Then why."""
    from bimodal.models.catalog import resolve
    from bimodal.models.session import open_artifact

    wanted = config.runtime.provider
    try:
        artifact = open_artifact(resolve(config.models.face_detector), provider=wanted)
    except ModelError as error:
        found = Finding("provider", "wrong", f"'{wanted}' does not work", str(error))
        return [found, *cuda_findings(wanted, None)]
    found = Finding("provider", "ok", f"{artifact.provider} is active ('{wanted}' was asked for)")
    return [found, *cuda_findings(wanted, artifact.provider)]


def _shared_memory(config: Config) -> Finding:
    if not SHARED_MEMORY.is_dir():
        return Finding("shared memory", "warning", f"no {SHARED_MEMORY}", "frames go through the temporary directory")
    usage = shutil.disk_usage(SHARED_MEMORY)
    needed = 2 * config.capture.memory_mb * len(config.streams) * 2**20
    found = f"{usage.free / 2**20:.0f} MB free in {SHARED_MEMORY}"
    if usage.free < needed:
        advice = (
            f"the configured streams need {needed / 2**20:.0f} MB: lower capture.memory_mb, or enlarge it "
            f"(mount -o remount,size=1G {SHARED_MEMORY}; in Docker --shm-size=1g)"
        )
        return Finding("shared memory", "wrong", found, advice)
    if not os.access(SHARED_MEMORY, os.W_OK):
        return Finding("shared memory", "wrong", f"{SHARED_MEMORY} can't be written to", "give this user write access")
    return Finding("shared memory", "ok", found)


def _devices(kind: str, find: Callable[[], Sequence[object]]) -> Finding:
    try:
        found = find()
    except SourceError as error:
        return Finding(kind, "warning", "can't be looked for", str(error))
    if not found:
        return Finding(kind, "warning", "none", f"plug one in, or analyze files; 'auto: true' does without a {kind}")
    names = ", ".join(str(getattr(device, "name", device)) for device in found)
    return Finding(kind, "ok", names)


def _models() -> list[Finding]:
    findings = []
    for entry in entries():
        try:
            verify(entry)
            findings.append(Finding(f"model {entry.name}", "ok", "checksum and contract hold"))
        except ModelError as error:
            findings.append(Finding(f"model {entry.name}", "wrong", "is damaged", str(error)))
    return findings
