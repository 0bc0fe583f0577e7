"""Why CUDA is not active: the driver, the devices, and each library by name, with what brings it (Linux)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

from bimodal.models.cuda import DEVICES, gpu_count, has_driver
from bimodal.models.cuda_libraries import (
    DRIVER,
    cuda_libraries,
    cuda_version_of,
    driver_version,
    missing,
    package_of,
    provider_library,
)
from bimodal.workers.finding import Finding, Verdict

# Files by which Docker and Podman tell a program that it runs in them.
CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
INSTALL = "pip install 'onnxruntime-gpu[cuda,cudnn]'"


class Gpus(NamedTuple):
    """What can be seen of GPUs without CUDA.

    Attributes:
        cards: how many may be used.
        driver: whether an NVIDIA driver is loaded, and its `newest` CUDA.
        container: whether this is one.
        locked: a device that this user may not open, None where there is none.
        needed: the libraries that ONNX Runtime's CUDA provider needs; none where it is built without.
        lost: those that can't be loaded.
    """

    cards: int
    driver: bool
    newest: tuple[int, int] | None
    container: bool
    locked: str | None
    needed: tuple[str, ...]
    lost: tuple[str, ...]


def look_for_gpus(devices: Path = DEVICES) -> Gpus:
    """Look at this machine."""
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
    """The checks of `runtime.provider: wanted` where `active` ("cpu", "cuda"; None: nothing works) really runs.

    Nothing where a GPU is neither asked for nor there.
    """
    if not sys.platform.startswith("linux") or wanted == "cpu" or (wanted == "auto" and not has_driver()):
        return []
    return explain(look_for_gpus(), wanted, active)


def explain(gpus: Gpus, wanted: str, active: str | None) -> list[Finding]:
    """What was seen as findings: wrong where CUDA is asked for, else a warning that a GPU lies idle; pure."""
    bad: Verdict = "wrong" if wanted == "cuda" else "warning"
    findings = [_devices(gpus, bad)]
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


def _devices(gpus: Gpus, bad: Verdict) -> Finding:
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
