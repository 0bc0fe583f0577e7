"""Import what the processes import, in a process of its own: an installed package may still lack a system library.

`python -m bimodal.doctor.imports MODULE…` prints one JSON object: the error of each module, null where it works.
"""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Sequence

from bimodal.child_process import child_environment, python_command

WITHIN_S = 120.0
LIBRARIES = {
    "pyzmq": "zmq",
    "opencv-python": "cv2",
    "sounddevice": "sounddevice",
    "numpy": "numpy",
    "av": "av",
    "soxr": "soxr",
    "msgspec": "msgspec",
    "PyYAML": "yaml",
    "platformdirs": "platformdirs",
    "typer": "typer",
    "rich": "rich",
    "psutil": "psutil",
    "setproctitle": "setproctitle",
    "starlette": "starlette",
    "uvicorn": "uvicorn",
    "websockets": "websockets",
    "prometheus-client": "prometheus_client",
    "jinja2": "jinja2",
    "pyarrow": "pyarrow",
    "cryptography": "cryptography",
}
"""The module of each package."""
# The Debian package of a system library that a wheel does not bring.
PACKAGES = {
    "libxcb": "libxcb1",
    "libGL": "libgl1",
    "libgthread": "libglib2.0-0",
    "libglib": "libglib2.0-0",
    "libportaudio": "libportaudio2",
    "PortAudio": "libportaudio2",
    "libSM": "libsm6",
    "libXext": "libxext6",
    "libgomp": "libgomp1",
    "libstdc++": "libstdc++6",
}
_LIBRARY = re.compile(r"\b(lib[\w+.-]+?\.so[\d.]*)")


def missing_imports(modules: Sequence[str]) -> dict[str, str]:
    """Import these modules in a new process; returns the error of each that can't be."""
    try:
        done = subprocess.run(
            python_command("bimodal.doctor.imports", *modules),
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
        found: dict[str, str | None] = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return dict.fromkeys(modules, f"importing took longer than {WITHIN_S:g} s")
    except (OSError, ValueError, IndexError):
        if len(modules) == 1:
            return {modules[0]: f"importing it ended the process (exit code {done.returncode})"}
        # One of them took the process down: find out which.
        return {name: error for module in modules for name, error in missing_imports([module]).items()}
    return {module: error for module, error in found.items() if error is not None}


def advice(error: str) -> str | None:
    """Name what to install where an import failed with this error; None where that is not known."""
    library = _LIBRARY.search(error)
    name = library[1] if library else error
    package = next((package for start, package in PACKAGES.items() if start in name), None)
    if package is not None:
        return f"apt-get install {package} (or what brings {name} on this system)"
    if library is not None:
        return f"install the system package that brings {name}"
    module = re.search(r"No module named '([\w.]+)'", error)
    return f"pip install the package of '{module[1]}' again" if module else None


def unloadable() -> list[dict[str, str | None]]:
    """Findings of `bimodal doctor`, as in its JSON, where a library that it needs itself can't be loaded."""
    packages = {module: package for package, module in LIBRARIES.items()} | {"onnxruntime": "onnxruntime"}
    return [
        {
            "check": packages[module],
            "verdict": "wrong",
            "found": f"can't be loaded: {error}",
            "advice": advice(error) or f"pip install {packages[module]}",
        }
        for module, error in missing_imports(list(packages)).items()
    ]


def main(modules: Sequence[str]) -> None:
    """Import the modules and print what failed."""
    found: dict[str, str | None] = {}
    for module in modules:
        try:
            importlib.import_module(module)
            found[module] = None
        except Exception as error:  # whatever a library raises as it is loaded
            found[module] = f"{type(error).__name__}: {error}"[:500]
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
