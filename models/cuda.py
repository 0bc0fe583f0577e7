"""CUDA: options for ONNX Runtime, and detection of GPUs, driver and libraries. Opens no session (models/session.py)."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import mmap
import os
import re
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

DEVICES = Path("/dev")
# Device nodes of a Linux driver, of a Windows driver under WSL, and of an embedded board.
NVIDIA_NODES = ("nvidiactl", "dxg", "nvhost-gpu")


class Gpu(NamedTuple):
    """GPU options of a session.

    Attributes:
        device: index of the GPU, from 0.
        memory_mb: limit of the session's arena in MB (cuDNN's memory comes on top); None is unlimited.
        graph: whether runs of a known shape are replayed as a captured CUDA graph.
    """

    device: int = 0
    memory_mb: int | None = None
    graph: bool = True

    def options(self) -> dict[str, str]:
        """The options of ONNX Runtime's CUDA provider, as its documentation names them."""
        options = {
            "device_id": str(self.device),
            # Grow by the requested size: the default doubles, and workers share the GPU.
            "arena_extend_strategy": "kSameAsRequested",
            # The default tries every algorithm for each new batch size, which takes seconds in the middle of work.
            "cudnn_conv_algo_search": "HEURISTIC",
            # With the 10-bit mantissa of TF32, probabilities would differ from those on a CPU.
            "use_tf32": "0",
            "enable_cuda_graph": "1" if self.graph else "0",
        }
        if self.memory_mb is not None:
            options["gpu_mem_limit"] = str(self.memory_mb << 20)
        return options


def has_driver(devices: Path = DEVICES) -> bool:
    """True if an NVIDIA driver is loaded; always True on systems other than Linux, where no file shows it."""
    return not sys.platform.startswith("linux") or any((devices / node).exists() for node in NVIDIA_NODES)


def gpu_count(devices: Path = DEVICES, visible: str | None = None) -> int:
    """Count the GPUs that our processes may use, without calling CUDA.

    Args:
        visible: CUDA_VISIBLE_DEVICES; None reads the environment.
    """
    if not has_driver(devices):
        return 0
    if visible is None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    # A Linux driver has one device node per GPU; elsewhere their number is unknown.
    cards = sum(re.fullmatch(r"nvidia\d+", node.name) is not None for node in devices.glob("nvidia*"))
    if visible is None:
        return max(1, cards)
    named = _named(visible.split(","))
    return min(named, cards) if cards else named


def _named(devices: Iterable[str]) -> int:
    """Count device names as CUDA does, up to the first invalid one."""
    count = 0
    for device in devices:
        if device.strip() in ("", "-1", "NoDevFiles"):
            break
        count += 1
    return count


# Shared libraries of ONNX Runtime's CUDA provider (Linux)

# Loaded at the first convolution, so that DT_NEEDED does not list it; the name is valid since ONNX Runtime 1.19.
CUDNN = "libcudnn.so.9"
DRIVER = "libcuda.so.1"

# Prefix of the name → pip package, without the CUDA version that some names end in.
PACKAGES = {
    "libcudart": "nvidia-cuda-runtime",
    "libcublasLt": "nvidia-cublas",
    "libcublas": "nvidia-cublas",
    "libcudnn": "nvidia-cudnn",
    "libcufft": "nvidia-cufft",
    "libcurand": "nvidia-curand",
    "libnvrtc": "nvidia-cuda-nvrtc",
}

_SECTION_DYNAMIC, _TAG_NEEDED = 6, 1
_HEADER = struct.Struct("<16xHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_ENTRY = struct.Struct("<qQ")


def provider_library() -> Path | None:
    """The CUDA provider library of the installed ONNX Runtime; None if it is built without, or not for Linux."""
    found = importlib.util.find_spec("onnxruntime")
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / "capi" / "libonnxruntime_providers_cuda.so"
    return path if path.is_file() else None


def needed_by(path: Path) -> list[str]:
    """List the DT_NEEDED entries of a 64-bit ELF file (System V ABI); empty for other files."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:6] != b"\x7fELF\x02\x01":
            return []
        header = _HEADER.unpack_from(data)
        start, size, count = header[5], header[10], header[11]
        sections = [_SECTION.unpack_from(data, start + number * size) for number in range(count)]
        names: list[str] = []
        for section in sections:
            if section[1] == _SECTION_DYNAMIC:
                words = sections[section[6]][4]
                table = data[section[4] : section[4] + section[5]]
                names += [_word(data, words + where) for tag, where in _ENTRY.iter_unpack(table) if tag == _TAG_NEEDED]
        return names


def cuda_libraries(path: Path) -> list[str]:
    """Those that have to do with CUDA, cuDNN among them, and the driver's own."""
    known = (*PACKAGES, "libcuda.")
    found = [name for name in needed_by(path) if name.startswith(known)]
    return found if CUDNN in found else [*found, CUDNN]


def missing(names: Iterable[str]) -> list[str]:
    """List the libraries that can't be loaded, from the system or from pip's folders; the others stay loaded."""
    return [name for name in names if not any(_loads(place) for place in (name, *_installed(name)))]


@functools.cache
def usable_gpus(provider: str) -> int:
    """Count the GPUs that workers will use under this `runtime.provider`, without opening a session; cached.

    Under "auto" it is 0 if a library that CUDA needs is missing: ONNX Runtime would take the CPU.
    """
    count = 0 if provider == "cpu" else gpu_count()
    library = provider_library()
    if count == 0 or library is None or (provider == "auto" and missing(cuda_libraries(library))):
        return 0
    return count


def package_of(name: str) -> str | None:
    """The pip package that contains a library; None if none does (the driver)."""
    return next((package for beginning, package in PACKAGES.items() if name.startswith(f"{beginning}.")), None)


def cuda_version_of(names: Iterable[str]) -> int | None:
    """The major CUDA version of libraries of these names; None if unknown."""
    versions = [name.rpartition(".")[2] for name in names if name.startswith("libcudart.so.")]
    return int(versions[0]) if versions and versions[0].isdigit() else None


def driver_version() -> tuple[int, int] | None:
    """The newest CUDA version (major, minor) that the loaded driver supports; None without a driver."""
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return None
    version = ctypes.c_int(0)
    if driver.cuDriverGetVersion(ctypes.byref(version)) != 0:
        return None
    return version.value // 1000, version.value % 1000 // 10


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _installed(name: str) -> list[str]:
    """The paths of a library in the pip packages of NVIDIA."""
    found = importlib.util.find_spec("nvidia")
    folders = list(found.submodule_search_locations or ()) if found is not None else []
    return [str(path) for folder in folders for path in Path(folder).glob(f"*/lib/{name}")]


def _word(data: mmap.mmap, start: int) -> str:
    return data[start : data.find(b"\0", start)].decode("ascii", errors="replace")
