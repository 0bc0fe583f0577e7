"""Execution providers: which to ask ONNX Runtime for, in which order, and why CUDA is not active."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import onnxruntime as ort

from bimodal.models.cuda import Gpu, has_driver
from bimodal.models.cuda_libraries import DRIVER, cuda_libraries, missing, provider_library
from bimodal.models.errors import ProviderError

Provider = Literal["auto", "cpu", "cuda"]
PROVIDER_NAMES: Mapping[str, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class Attempt(NamedTuple):
    """One way to open a session."""

    provider: Provider
    gpu: Gpu


def attempts(provider: Provider, gpu: Gpu, *, cuda: bool) -> list[Attempt]:
    """The ways to open a session, best first, where CUDA will be tried (`cuda`) or not; pure.

    A model that can't be captured as a graph runs without, and under "auto" one that CUDA refuses runs on the CPU.
    """
    plain = gpu._replace(graph=False)
    if not cuda:
        return [Attempt(provider, plain)]
    found = [Attempt(provider, gpu)] if gpu.graph else []
    return [*found, Attempt(provider, plain), *([Attempt("cpu", plain)] if provider == "auto" else [])]


def provider_names(provider: Provider) -> list[str]:
    """ONNX Runtime's providers to ask for, best first. Raises ProviderError where it has no CUDA and that is wanted."""
    cpu, cuda = PROVIDER_NAMES["cpu"], PROVIDER_NAMES["cuda"]
    if provider == "cpu":
        return [cpu]
    if cuda in ort.get_available_providers():
        # Where no NVIDIA driver is loaded, trying CUDA would only cost time and print errors.
        if provider == "auto" and not has_driver():
            return [cpu]
        preload_libraries()
        return [cuda, cpu]
    if provider == "cuda":
        raise ProviderError("CUDA was asked for, but this ONNX Runtime is built without it: install onnxruntime-gpu")
    return [cpu]


@functools.cache
def preload_libraries() -> None:
    """Load the CUDA and cuDNN libraries that pip installed, where there are any; what is missing is doctor's to say."""
    if hasattr(ort, "preload_dlls"):
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            ort.preload_dlls()


def what_is_missing() -> str:
    """Why CUDA is not active, as far as files tell; `bimodal doctor` looks closer."""
    library = provider_library()
    lost = missing(cuda_libraries(library)) if library is not None else []
    if DRIVER in lost or not has_driver():
        return "there is no NVIDIA driver here; or set 'provider: cpu'"
    if lost:
        return f"{', '.join(lost)} can't be loaded; pip install 'onnxruntime-gpu[cuda,cudnn]', or set 'provider: cpu'"
    return "ONNX Runtime took no GPU; is the driver too old?"
