"""The checks of `bimodal doctor`: each returns findings and, if something is wrong, what to do."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from bimodal.broker.keys import allowed, keys_folder
from bimodal.broker.sockets import SHARED_MEMORY
from bimodal.config import Config
from bimodal.doctor.imports import LIBRARIES, advice, missing_imports
from bimodal.extras import installed
from bimodal.models.catalog import entries, verify
from bimodal.models.cuda import (
    DEVICES,
    DRIVER,
    cuda_libraries,
    cuda_version_of,
    driver_version,
    gpu_count,
    has_driver,
    missing,
    package_of,
    provider_library,
)
from bimodal.models.errors import ModelError
from bimodal.models.precision import Choice
from bimodal.supervisor.autoscale import KINDS
from bimodal.supervisor.processes import TABLE
from bimodal.supervisor.usage import cores, cpu_quota
from bimodal.supervisor.variants import choice_of
from bimodal.workers.capture.discover import cameras, microphones
from bimodal.workers.errors import SourceError

OTHER_PACKAGES = {"opencv-python": ("opencv-python-headless",)}
"""Packages that bring the same module: images for servers have OpenCV without windows."""


def run_checks(config: Config) -> list[Finding]:
    """Run every check; findings in the order in which they are printed."""
    findings = [_python(), _cores(), *_libraries(), _onnxruntime(), *_provider(config)]
    findings += [precision_finding(config), _shared_memory(config)]
    findings += [_devices("camera", cameras), _devices("microphone", microphones)]
    return findings + output_findings(config) + _workers(config) + _models()


OUTPUT_PACKAGES = {"lsl": "pylsl", "osc": "pythonosc", "mqtt": "paho"}
"""Module that an output needs, by its key; the extra has the same name."""


def output_findings(config: Config) -> list[Finding]:
    """Check that the packages of the outputs in the config are installed."""
    findings = []
    for key, module in OUTPUT_PACKAGES.items():
        if getattr(config.outputs, key) in (None, False):
            continue
        if installed(module):
            findings.append(Finding(f"outputs.{key}", "ok", "its package is installed"))
        else:
            advice = f"pip install 'bimodal-emotion[{key}]'"
            findings.append(Finding(f"outputs.{key}", "wrong", f"the package {module} is missing", advice))
    return findings


def _workers(config: Config) -> list[Finding]:
    """Kinds of work that are left to other machines: which keys may do it."""
    names = sorted(allowed(keys_folder(), "workers").values())
    findings = []
    for role in KINDS:
        if getattr(config.workers, role).count != 0:
            continue
        found = f"none here: other machines do the work, at {', '.join(config.network.workers)}"
        if names:
            findings.append(Finding(f"{role} workers", "ok", f"{found}, with the keys {', '.join(names)}"))
        else:
            advice = f"bimodal keys allow 'KEY' --name NAME --work; there: bimodal work {role} --at ADDRESS …"
            findings.append(Finding(f"{role} workers", "wrong", f"{found}, but no key may", advice))
    return findings


def _python() -> Finding:
    found = f"{platform.python_version()} on {platform.machine()}"
    if sys.version_info[:2] not in ((3, 11), (3, 12), (3, 13)):
        return Finding("python", "warning", found, "bimodal is tested on Python 3.11 to 3.13")
    return Finding("python", "ok", found)


def _libraries() -> list[Finding]:
    """Every library: installed, and importable by a process as ours are; then the processes themselves."""
    failed = missing_imports([*LIBRARIES.values(), *_process_modules()])
    findings = []
    for name, module in LIBRARIES.items():
        found = next(filter(None, map(_version, (name, *OTHER_PACKAGES.get(name, ())))), None)
        if found is None:
            findings.append(Finding(name, "wrong", "not installed", f"pip install {name}"))
            continue
        error = failed.pop(module, None)
        if error is None:
            findings.append(Finding(name, "ok", found))
        else:
            # Only microphones need it.
            verdict: Verdict = "warning" if name == "sounddevice" else "wrong"
            findings.append(Finding(name, verdict, f"{found} can't be loaded: {error}", advice(error)))
    explained = {finding.found.partition("can't be loaded: ")[2] for finding in findings}
    for module, error in failed.items():
        if error not in explained:
            findings.append(Finding(f"process {module}", "wrong", f"can't be loaded: {error}", advice(error)))
    return findings


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _process_modules() -> list[str]:
    """The modules of all kinds of processes that `bimodal up` and `analyze` start; the optional ones only where their
    libraries are installed."""
    kinds = [kind for kind in TABLE.values() if not kind.optional and not kind.entry.startswith("lsl")]
    return [f"bimodal.workers.{kind.entry.partition(':')[0]}" for kind in kinds]


def _cores() -> Finding:
    """The number of cores that workers are counted by, and what it comes from."""
    machine = os.cpu_count() or 1
    quota = cpu_quota()
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else machine
    found = f"{cores()} of {machine}"
    if affinity < machine:
        found += f", by the affinity of this process ({affinity})"
    if quota is not None:
        found += f", by the quota of its cgroup ({quota:g} cores)"
    return Finding("cores", "ok", found)


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
    """Find the active provider by opening a shipped model, the only reliable way; then explain it."""
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


def precision_finding(config: Config, choice: Choice | None = None) -> Finding:
    """The variant of the configured models that runs; `choice`: by default, this machine's."""
    chosen = choice_of(config, choice)
    configured = (*config.models.face_static, *config.models.voices, config.models.face_detector)
    both = {entry.name for entry in entries() if entry.int8 is not None}
    with_int8 = [name for name in (*configured, config.models.face_landmarks) if name in both]
    have = f"; {', '.join(with_int8)} {'has' if len(with_int8) == 1 else 'have'} both" if with_int8 else ""
    found = f"{chosen.precision} ({chosen.reason}){have}"
    if chosen.precision == "int8" and chosen.fast is None:
        advice = "this processor has no VNNI, AMX or dot product, so int8 may be slower: runtime.precision auto"
        return Finding("precision", "warning", found, advice)
    return Finding("precision", "ok", found)


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


# The result of a check.

Verdict = Literal["ok", "warning", "wrong"]


class Finding(msgspec.Struct, frozen=True):
    """One check.

    Attributes:
        found: the finding in a few words.
        advice: what to do; None if nothing is wrong.
    """

    check: str
    verdict: Verdict
    found: str
    advice: str | None = None


# Why CUDA is not active (Linux): the driver, the devices, and each library with the package that brings it.

# Files by which Docker and Podman mark their containers.
CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
INSTALL = "pip install 'onnxruntime-gpu[cuda,cudnn]'"


class Gpus(NamedTuple):
    """GPUs and driver, as visible without CUDA.

    Attributes:
        cards: number of usable GPUs.
        driver: True if an NVIDIA driver is loaded; `newest` is the newest CUDA it supports.
        container: True inside a container.
        locked: a device that this user may not open, else None.
        needed: the libraries that ONNX Runtime's CUDA provider needs; none if it is built without CUDA.
        lost: those that can't be loaded.
    """

    cards: int
    driver: bool
    newest: tuple[int, int] | None
    container: bool
    locked: str | None
    needed: tuple[str, ...]
    lost: tuple[str, ...]


def find_gpus(devices: Path = DEVICES) -> Gpus:
    """Look for GPUs on this machine."""
    library = provider_library()
    needed = tuple(cuda_libraries(library)) if library is not None else ()
    nodes = sorted(devices.glob("nvidia[0-9]*"))
    return Gpus(
        cards=gpu_count(devices),
        driver=has_driver(devices),
        newest=driver_version(),
        container=any(mark.exists() for mark in CONTAINER_MARKS),
        locked=next((str(node) for node in nodes if not os.access(node, os.R_OK | os.W_OK)), None),
        needed=needed,
        lost=tuple(missing(needed)),
    )


def cuda_findings(wanted: str, active: str | None) -> list[Finding]:
    """Findings on `runtime.provider: wanted`, given the `active` provider ("cpu", "cuda"; None: nothing works).

    Empty if a GPU is neither asked for nor present.
    """
    if not sys.platform.startswith("linux") or wanted == "cpu" or (wanted == "auto" and not has_driver()):
        return []
    return explain(find_gpus(), wanted, active)


def explain(gpus: Gpus, wanted: str, active: str | None) -> list[Finding]:
    """Explain why CUDA is not active: an error if CUDA is asked for, else a warning that a GPU is idle. Pure."""
    bad: Verdict = "wrong" if wanted == "cuda" else "warning"
    findings = [_gpus(gpus, bad)]
    if not gpus.needed:
        advice = "pip uninstall onnxruntime, then pip install 'onnxruntime-gpu[cuda,cudnn]'"
        return [*findings, Finding("cuda libraries", bad, "this ONNX Runtime is built without CUDA", advice)]
    lost = [name for name in gpus.lost if name != DRIVER]
    findings += [Finding(f"library {name}", bad, "can't be loaded", _remedy(name)) for name in lost]
    if not lost:
        names = ", ".join(name for name in gpus.needed if name != DRIVER)
        findings.append(Finding("cuda libraries", "ok", names))
    if active != "cuda" and not lost and all(finding.verdict == "ok" for finding in findings):
        advice = "see that nvidia-smi works here; after a new driver the machine must be restarted"
        findings.append(Finding("cuda", bad, "all is there, but ONNX Runtime took no GPU", advice))
    return findings


def _gpus(gpus: Gpus, bad: Verdict) -> Finding:
    if not gpus.driver:
        if gpus.container:
            advice = "start the container with --gpus all (the host needs nvidia-container-toolkit)"
            return Finding("gpu", bad, "no /dev/nvidia* in this container", advice)
        return Finding("gpu", bad, "no /dev/nvidia*", "install NVIDIA's driver, or set runtime.provider to cpu")
    if gpus.cards == 0:
        return Finding("gpu", bad, "CUDA_VISIBLE_DEVICES hides every GPU", "unset it, or name a device in it")
    if gpus.locked is not None:
        return Finding("gpu", bad, f"{gpus.locked} can't be opened", "let this user read and write it (chmod, a group)")
    if gpus.newest is None:
        advice = "install the driver's own library, in a container with NVIDIA_DRIVER_CAPABILITIES=compute,utility"
        return Finding("gpu", bad, f"the driver is loaded, but {DRIVER} is not there", advice)
    found = f"{gpus.cards} GPU{'s' if gpus.cards > 1 else ''}, driver for CUDA {gpus.newest[0]}.{gpus.newest[1]}"
    built_for = cuda_version_of(gpus.needed)
    if built_for is not None and gpus.newest[0] < built_for:
        advice = f"install a driver for CUDA {built_for}: this ONNX Runtime is built for it"
        return Finding("gpu", bad, f"{found} at most", advice)
    return Finding("gpu", "ok", found)


def _remedy(name: str) -> str:
    package = package_of(name)
    return f"{INSTALL} brings it ({package})" if package else INSTALL
