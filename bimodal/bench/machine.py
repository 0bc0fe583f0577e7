"""The machine and software of a run, without which figures mean nothing."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil

from bimodal import __version__
from bimodal.bench.figures import BenchError
from bimodal.bench.pipeline import sizes_alone
from bimodal.config import Config
from bimodal.models.session import open_artifact
from bimodal.supervisor.processes import Wanted, processes
from bimodal.supervisor.usage import machine_memory_mb
from bimodal.supervisor.variants import file_of
from bimodal.workers.settings import FaceActorSettings

CPU_INFO = Path("/proc/cpuinfo")
TELLING_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")
VERSIONS = ("onnxruntime-gpu", "onnxruntime", "pyzmq", "numpy", "opencv-python", "msgspec")


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The machine and the software of a run.

    Attributes:
        cpu: model, as the system names it.
        flags: the processor's instruction sets that neural networks depend on.
        cores: number of cores that the run may use.
        memory_mb: of the machine, or of the container if it has less.
        provider: the active provider of the face-static model: cpu or cuda.
        workers, threads: face workers, and threads of each, of a measured system with this config.
        models: `name@version` by kind, as opened.
        versions: of the relevant packages, by name.
    """

    cpu: str
    flags: tuple[str, ...]
    cores: int
    memory_mb: int
    system: str
    provider: str
    workers: int
    threads: int
    models: dict[str, str]
    versions: dict[str, str]

    def line(self) -> str:
        """Describe the machine in one line, for the end of a table."""
        runtime = self.versions.get("onnxruntime-gpu") or self.versions.get("onnxruntime", "?")
        models = ", ".join(dict.fromkeys(self.models.values()))
        flags = f" ({' '.join(self.flags)})" if self.flags else ""
        return (
            f"{self.cpu}{flags}, {self.cores} cores; ONNX Runtime {runtime} on {self.provider}, "
            f"{self.workers} face workers × {self.threads} threads; {models}"
        )


def this_machine(config: Config, cores: int) -> Machine:
    """Describe this machine; opens the configured models to identify them.

    Raises CatalogError, ArtifactError or ProviderError if a model can't be opened.
    """
    cpu, flags = _processor()
    found = sizes_alone(config, cores)
    models, provider = _models(config)
    return Machine(
        cpu=cpu,
        flags=flags,
        cores=cores,
        memory_mb=machine_memory_mb(),
        system=f"{platform.system()} {platform.release()}",
        provider=provider,
        workers=found.face,
        threads=found.threads,
        models=models,
        versions=_versions(),
    )


def _models(config: Config) -> tuple[dict[str, str], str]:
    mine = processes(Wanted(config, {"face": 1}), ("face",))[0].settings
    assert isinstance(mine, FaceActorSettings)
    provider = mine.runtime.provider
    detector, landmarks = (open_artifact(path, provider=provider) for path in (mine.detector, mine.landmarks))
    static = [open_artifact(path, "face-static", provider=provider) for path in mine.static]
    models = {
        "face-detector": detector.identity,
        "face-landmarks": landmarks.identity,
        "face-static": "+".join(artifact.identity for artifact in static),
    }
    named = {
        "face-dynamic": config.models.face_dynamic,
        "voice-activity": config.models.voice_activity,
    }
    for kind, name in named.items():
        if name != "none":
            models[kind] = open_artifact(file_of(config, name), provider="cpu").identity
    heard = [open_artifact(file_of(config, name), "speech", provider="cpu").identity for name in config.models.voices]
    if heard:
        models["speech"] = "+".join(heard)
    return models, static[0].provider


def _processor() -> tuple[str, tuple[str, ...]]:
    """Model and relevant flags, as Linux names them; what Python knows elsewhere."""
    fields: dict[str, str] = {}
    with suppress(OSError):
        for line in CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    name = fields.get("model name") or platform.processor() or platform.machine()
    return name, tuple(flag for flag in TELLING_FLAGS if flag in flags)


def _versions() -> dict[str, str]:
    versions = {"python": ".".join(map(str, sys.version_info[:3])), "bimodal-emotion": __version__}
    for package in VERSIONS:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


# Memory as proportional set size: a page that several processes share is divided among them.

PROCESSES = Path("/proc")


def pss_mib(pid: int, processes: Path = PROCESSES) -> float:
    """The proportional set size of a process, in MiB. Raises BenchError if it can't be read."""
    try:
        for line in (processes / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError as error:
        raise BenchError(f"the memory of process {pid} can't be read: {error.strerror}") from error
    raise BenchError(f"the system does not say how much memory process {pid} takes")


def together_mib(pids: Iterable[int], processes: Path = PROCESSES) -> float:
    """Memory of several processes in MiB, shared pages counted once; a process that has just ended counts 0.

    Raises BenchError if the memory of a running one can't be read.
    """
    whole = 0.0
    for pid in pids:
        try:
            whole += pss_mib(pid, processes)
        except BenchError:
            if _runs(pid):
                raise
    return whole


def _runs(pid: int) -> bool:
    """True if the process runs; a zombie, which has no memory, does not."""
    try:
        ended: bool = psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    return not ended
