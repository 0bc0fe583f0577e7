"""What CUDA needs, told to ONNX Runtime and looked for on this machine. Opens no session; see models/session.py."""

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
# A Linux driver's own; a Windows driver as seen by Linux inside it; an embedded board.
NVIDIA_NODES = ("nvidiactl", "dxg", "nvhost-gpu")


class Gpu(NamedTuple):
    """How a session uses a GPU.

    Attributes:
        device: which one, counted from 0.
        memory_mb: the most that a session's arena may take (ONNX Runtime adds what cuDNN needs besides); None: all.
        graph: whether runs of a shape seen before are replayed as a captured CUDA graph.
    """

    device: int = 0
    memory_mb: int | None = None
    graph: bool = True

    def options(self) -> dict[str, str]:
        """The options of ONNX Runtime's CUDA provider, as its documentation names them."""
        options = {
            "device_id": str(self.device),
            # Grow by what is asked for: the default doubles, and workers share the card.
            "arena_extend_strategy": "kSameAsRequested",
            # The default tries out every algorithm whenever a batch has a new size: seconds, in the middle of work.
            "cudnn_conv_algo_search": "HEURISTIC",
            # 10 bits of mantissa would give other probabilities than the same file gives on a CPU.
            "use_tf32": "0",
            "enable_cuda_graph": "1" if self.graph else "0",
        }
        if self.memory_mb is not None:
            options["gpu_mem_limit"] = str(self.memory_mb << 20)
        return options


def has_driver(devices: Path = DEVICES) -> bool:
    """Whether an NVIDIA driver is loaded; always true beyond Linux, where that can't be seen in a file."""
    return not sys.platform.startswith("linux") or any((devices / node).exists() for node in NVIDIA_NODES)


def gpu_count(devices: Path = DEVICES, visible: str | None = None) -> int:
    """How many GPUs processes of ours may use, without asking CUDA.

    Args:
        visible: CUDA_VISIBLE_DEVICES; None reads the environment.
    """
    if not has_driver(devices):
        return 0
    if visible is None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    # A card has a node of its own under a Linux driver; elsewhere it can't be told how many there are.
    cards = sum(re.fullmatch(r"nvidia\d+", node.name) is not None for node in devices.glob("nvidia*"))
    if visible is None:
        return max(1, cards)
    named = _named(visible.split(","))
    return min(named, cards) if cards else named


def _named(devices: Iterable[str]) -> int:
    """CUDA counts up to the first name that is none."""
    count = 0
    for device in devices:
        if device.strip() in ("", "-1", "NoDevFiles"):
            break
        count += 1
    return count


# Which shared libraries ONNX Runtime's CUDA provider needs, and which of them this machine can't load (Linux).


# Opened by name when the first convolution runs, so the file does not list it; the name holds since ONNX Runtime 1.19.
CUDNN = "libcudnn.so.9"
DRIVER = "libcuda.so.1"

# Beginning of the name → package of pip, without the CUDA version that some names end in.
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
    """The CUDA provider that lies in the installed ONNX Runtime; None where it is built without, or not for Linux."""
    found = importlib.util.find_spec("onnxruntime")
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / "capi" / "libonnxruntime_providers_cuda.so"
    return path if path.is_file() else None


def needed_by(path: Path) -> list[str]:
    """The libraries that a 64-bit ELF file names as needed (its DT_NEEDED entries, System V ABI); none for others."""
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
    """Those that can't be loaded, neither from the system nor from where pip puts them; what can be stays loaded."""
    return [name for name in names if not any(_loads(place) for place in (name, *_installed(name)))]


@functools.cache
def usable_gpus(provider: str) -> int:
    """How many GPUs workers will use under this `runtime.provider`, without opening a session; looked for once.

    "auto" means none where a library is missing that CUDA needs: ONNX Runtime would take the CPU.
    """
    count = 0 if provider == "cpu" else gpu_count()
    library = provider_library()
    if count == 0 or library is None or (provider == "auto" and missing(cuda_libraries(library))):
        return 0
    return count


def package_of(name: str) -> str | None:
    """The package of pip that brings a library; None where none does (the driver)."""
    return next((package for beginning, package in PACKAGES.items() if name.startswith(f"{beginning}.")), None)


def cuda_version_of(names: Iterable[str]) -> int | None:
    """The major version of CUDA that libraries of these names belong to."""
    versions = [name.rpartition(".")[2] for name in names if name.startswith("libcudart.so.")]
    return int(versions[0]) if versions and versions[0].isdigit() else None


def driver_version() -> tuple[int, int] | None:
    """The newest CUDA that the loaded driver can run; None without a driver."""
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
    """Where pip has put a library: the folders of NVIDIA's packages."""
    found = importlib.util.find_spec("nvidia")
    folders = list(found.submodule_search_locations or ()) if found is not None else []
    return [str(path) for folder in folders for path in Path(folder).glob(f"*/lib/{name}")]


def _word(data: mmap.mmap, start: int) -> str:
    return data[start : data.find(b"\0", start)].decode("ascii", errors="replace")
