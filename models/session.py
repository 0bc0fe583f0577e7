"""Artifacts opened in ONNX Runtime. The only file that opens ONNX Runtime sessions."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import functools
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from bimodal.models.binding import Arrays, BoundRun, PlainRun
from bimodal.models.contract import INPUTS, Kind, Metadata, Tensor, check, read_properties
from bimodal.models.cuda import DRIVER, Gpu, cuda_libraries, has_driver, missing, provider_library
from bimodal.models.errors import ArtifactError, ProviderError
from bimodal.models.scan import MAX_BYTES
from bimodal.models.scanned import scan_once

# Limit for one input; a picture of 8K has 100 million values.
MOST_VALUES = 2**27

# Warm-up runs on CUDA: with CUDA graphs, the second run captures and the third is the first replay.
WARM_UP_RUNS = 3

log = logging.getLogger(__name__)

_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None

ort.set_default_logger_severity(3)


class Artifact:
    """One artifact, checked against its contract and warmed up.

    Attributes:
        path: the .onnx file.
        metadata: the file's metadata.
        provider: the provider that is active, which may not be the requested one: "cpu" or "cuda".
        inputs, outputs: names, types and shapes of the graph.
        batches: whether one run takes batches: the first size of all inputs and outputs is free.
    """

    def __init__(self, path: Path, session: ort.InferenceSession, metadata: Metadata, gpu: Gpu) -> None:
        self.path = path
        self.metadata = metadata
        self.provider = active_provider(session)
        self.inputs = _tensors(session.get_inputs())
        self.outputs = _tensors(session.get_outputs())
        tensors = (*self.inputs, *self.outputs)
        self.batches = all(tensor.shape and not isinstance(tensor.shape[0], int) for tensor in tensors)
        self._run: Callable[[Arrays], dict[str, NDArray[Any]]] = (
            PlainRun(session, self.outputs)
            if self.provider == "cpu"
            else BoundRun(session, self.inputs, self.outputs, device="cuda", number=gpu.device, graph=gpu.graph)
        )

    @property
    def identity(self) -> str:
        """`name@version`, as events and logs show it."""
        return self.metadata.identity

    def run(self, **inputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Run the graph once; arrays by input name in, arrays by output name out."""
        return self._run(inputs)

    def with_run(self, run: Callable[[Artifact, dict[str, NDArray[Any]]], dict[str, NDArray[Any]]]) -> Artifact:
        """Return a copy of this artifact whose runs call `run` with this artifact and the inputs."""
        other = copy.copy(self)
        other._run = lambda inputs: run(self, dict(inputs))
        return other


def open_artifact(
    path: Path | str,
    kind: Kind | None = None,
    *,
    provider: Provider = "auto",
    threads: int = 1,
    spinning: bool = False,
    gpu: Gpu = Gpu(),  # noqa: B008 - a tuple
) -> Artifact:
    """Open, check and warm up an artifact.

    Args:
        kind: the kind of artifact that is needed; None accepts any.
        provider: "cuda" raises ProviderError unless CUDA is active; "auto" uses CUDA if it works.
        threads: intra-op threads. One per worker, with as many workers as cores, is fastest.
        spinning: whether idle ONNX Runtime threads spin while they wait.
        gpu: GPU options, if CUDA is active. A model that can't be captured as a CUDA graph runs without.

    Raises:
        ArtifactError: the file is missing, is no ONNX file, is of another kind, violates its contract, or fails
            its warm-up run.
        ProviderError: the requested provider is not active.
    """
    path = Path(path)
    if not path.is_file():
        raise ArtifactError(f"there is no model file {path}")
    *hopeful, last = attempts(provider, gpu, cuda=PROVIDER_NAMES["cuda"] in provider_names(provider))
    refused: str | None = None
    for attempt in hopeful:
        try:
            return _log_fallback(_open(path, kind, attempt.provider, threads, spinning, attempt.gpu), attempt, refused)
        except ArtifactError as error:
            # Keep the text only: the error references the refused session, and thereby its GPU memory.
            refused = str(error)
    return _log_fallback(_open(path, kind, last.provider, threads, spinning, last.gpu), last, refused)


def _log_fallback(artifact: Artifact, attempt: Attempt, refused: str | None) -> Artifact:
    if refused is not None:
        how = "on the CPU" if attempt.provider == "cpu" else "without a CUDA graph"
        log.warning("%s runs %s, since ONNX Runtime refuses otherwise: %s", artifact.path, how, refused)
    return artifact


def _open(path: Path, kind: Kind | None, provider: Provider, threads: int, spinning: bool, gpu: Gpu) -> Artifact:
    session = _open_session(path, provider, threads, spinning, gpu)
    metadata = read_properties(session.get_modelmeta().custom_metadata_map, str(path), kind)
    artifact = Artifact(path, session, metadata, gpu)
    check(metadata, artifact.inputs, artifact.outputs, str(path))
    warm_up(artifact)
    _trim_heap()
    return artifact


def active_provider(session: ort.InferenceSession) -> str:
    """The provider that runs the graph, from get_providers() of the session, the only reliable source."""
    return "cuda" if PROVIDER_NAMES["cuda"] in session.get_providers() else "cpu"


def warm_up(artifact: Artifact) -> None:
    """Run the graph on zeros and check its outputs.

    Raises ArtifactError if the run fails, or if probabilities are not finite, not negative and of sum 1.
    """
    feed = {tensor.name: _zeros(artifact, tensor) for tensor in artifact.inputs}
    try:
        for _ in range(1 if artifact.provider == "cpu" else WARM_UP_RUNS):
            outputs = artifact.run(**feed)
    except Exception as error:  # ONNX Runtime raises its own, undocumented exception classes
        raise ArtifactError(f"{artifact.path} fails its warm-up run: {_first_line(error)}") from error
    labels = artifact.metadata.labels
    if labels is None or "probabilities" not in outputs:
        return
    values = outputs["probabilities"]
    if values.shape[1] != len(labels):
        raise ArtifactError(
            f"{artifact.path}: 'probabilities' has {values.shape[1]} classes, but 'labels' names {len(labels)}"
        )
    if not np.isfinite(values).all() or np.abs(values.sum(axis=1) - 1.0).max() > 1e-2 or values.min() < -1e-3:
        raise ArtifactError(
            f"{artifact.path}: 'probabilities' must be finite, not negative and sum to 1 (is a softmax missing?)"
        )


def check_finite(artifact: Artifact, values: NDArray[Any]) -> None:
    """Raise ArtifactError where a model answers with NaN or infinity (an overflow in half precision, say), which would
    pass for "no face" or "no voice"."""
    if not np.isfinite(values).all():
        raise ArtifactError(f"{artifact.identity} answered with something that is no number")


def milliseconds(artifact: Artifact, seconds: float = 0.1) -> float:
    """Time of one run on one input, the median of as many as fit into `seconds`, 3 at least."""
    random = np.random.default_rng(0)
    feed = {}
    for tensor in artifact.inputs:
        values = _zeros(artifact, tensor)
        if values.dtype == np.uint8:
            feed[tensor.name] = random.integers(0, 256, values.shape, dtype=np.uint8)
        else:
            feed[tensor.name] = random.normal(0, 0.1, values.shape).astype(np.float32)
    took: list[float] = []
    start = time.perf_counter()
    while len(took) < 3 or time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        artifact.run(**feed)
        took.append(time.perf_counter() - begin)
    return 1000 * sorted(took)[len(took) // 2]


def _zeros(artifact: Artifact, tensor: Tensor) -> NDArray[Any]:
    metadata = artifact.metadata
    free: list[int] = [1 if size is None else size for size in _wanted_shape(metadata.kind, tensor.name)]
    if tensor.name == "waveform" and metadata.window_s and metadata.sample_rate:
        free[1] = round(metadata.window_s * metadata.sample_rate)
    if metadata.kind in ("face-static", "face-detector") and len(free) == 4:
        free[1] = free[2] = 128
    if metadata.kind == "fusion":
        free[1] = len(metadata.labels or ()) + 1
    shape = [size if isinstance(size, int) else free[axis] for axis, size in enumerate(tensor.shape)]
    if min(shape, default=1) < 0 or prod(shape) > MOST_VALUES:
        raise ArtifactError(
            f"{artifact.path}: input '{tensor.name}' of shape {shape} is more than a worker can give it"
        )
    return np.zeros(shape, dtype=np.uint8 if tensor.type == "tensor(uint8)" else np.float32)


def _wanted_shape(kind: Kind, name: str) -> tuple[int | None, ...]:
    return next(want.shape for want in INPUTS[kind] if want.name == name)


def _open_session(path: Path, provider: Provider, threads: int, spinning: bool, gpu: Gpu) -> ort.InferenceSession:
    data = _read(path)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    cuda = PROVIDER_NAMES["cuda"]
    wanted = [(name, gpu.options() if name == cuda else {}) for name in provider_names(provider)]
    try:
        # Open the scanned bytes, not the file again, which may have changed since.
        # Without ONNX Runtime's own fallback, which would print, take the CPU, and keep the bytes for that.
        session = ort.InferenceSession(data, sess_options=options, providers=wanted, enable_fallback=0)
        session._model_bytes = None
    except Exception as error:  # ONNX Runtime raises its own, undocumented exception classes
        raise ArtifactError(f"{path} can't be opened by ONNX Runtime: {_first_line(error)}") from error
    if provider == "cuda" and active_provider(session) != "cuda":
        raise ProviderError(f"CUDA was asked for but is not active: {cuda_problem()} (see 'bimodal doctor')")
    return session


def _trim_heap() -> None:
    """Return freed memory to the system: parsing leaves several times the size of a model in glibc's heap."""
    if _malloc_trim is not None:
        _malloc_trim(0)


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ArtifactError(f"{path} has {size >> 20} MiB; an artifact may have {MAX_BYTES >> 20}")
        data = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} can't be read: {error.strerror}") from error
    scan_once(data, str(path))
    return data


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def _tensors(nodes: list[ort.NodeArg]) -> tuple[Tensor, ...]:
    return tuple(Tensor(node.name, node.type, tuple(node.shape)) for node in nodes)


# Execution providers

Provider = Literal["auto", "cpu", "cuda"]
PROVIDER_NAMES: Mapping[str, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class Attempt(NamedTuple):
    """One way to open a session."""

    provider: Provider
    gpu: Gpu


def attempts(provider: Provider, gpu: Gpu, *, cuda: bool) -> list[Attempt]:
    """List the ways to open a session, best first; `cuda` is whether CUDA will be tried. Pure.

    A model that can't be captured as a graph runs without, and under "auto" one that CUDA refuses runs on the CPU.
    """
    plain = gpu._replace(graph=False)
    if not cuda:
        return [Attempt(provider, plain)]
    found = [Attempt(provider, gpu)] if gpu.graph else []
    return [*found, Attempt(provider, plain), *([Attempt("cpu", plain)] if provider == "auto" else [])]


def provider_names(provider: Provider) -> list[str]:
    """The ONNX Runtime providers to request, best first. Raises ProviderError if CUDA is required but not built in."""
    cpu, cuda = PROVIDER_NAMES["cpu"], PROVIDER_NAMES["cuda"]
    if provider == "cpu":
        return [cpu]
    if cuda in ort.get_available_providers():
        # Without an NVIDIA driver, trying CUDA would only cost time and print errors.
        if provider == "auto" and not has_driver():
            return [cpu]
        preload_libraries()
        return [cuda, cpu]
    if provider == "cuda":
        raise ProviderError("CUDA was asked for, but this ONNX Runtime is built without it: install onnxruntime-gpu")
    return [cpu]


@functools.cache
def preload_libraries() -> None:
    """Load the CUDA and cuDNN libraries that pip installed, if any; `bimodal doctor` reports missing ones."""
    if hasattr(ort, "preload_dlls"):
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            ort.preload_dlls()


def cuda_problem() -> str:
    """Explain why CUDA is not active, as far as files show; `bimodal doctor` checks more."""
    library = provider_library()
    lost = missing(cuda_libraries(library)) if library is not None else []
    if DRIVER in lost or not has_driver():
        return "there is no NVIDIA driver here; or set 'provider: cpu'"
    if lost:
        return f"{', '.join(lost)} can't be loaded; pip install 'onnxruntime-gpu[cuda,cudnn]', or set 'provider: cpu'"
    return "ONNX Runtime took no GPU; is the driver too old?"
