"""Which shared libraries ONNX Runtime's CUDA provider needs, and which of them this machine can't load (Linux)."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import mmap
import struct
from collections.abc import Iterable
from pathlib import Path

from bimodal.models.cuda import gpu_count

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
