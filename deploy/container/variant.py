"""The dependencies of an image: pyproject.toml's, with the ONNX Runtime of the variant and OpenCV without windows.

    python3 variant.py cpu pyproject.toml                  rewrite the file
    python3 variant.py cpu pyproject.toml --requirements   print the dependencies, one a line

`cpu` takes onnxruntime (60 MB) in place of onnxruntime-gpu (340 MB); `cuda` takes onnxruntime-gpu with
the CUDA libraries.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

RUNTIMES = {"cpu": "onnxruntime", "cuda": "onnxruntime-gpu[cuda,cudnn]"}


def replaced(text: str, variant: str) -> str:
    """The text of pyproject.toml for a variant. Raises ValueError where it is not as expected."""
    lines = text.splitlines(keepends=True)
    runtimes = [number for number, line in enumerate(lines) if re.match(r' *"onnxruntime(-gpu)?>', line)]
    windows = [number for number, line in enumerate(lines) if re.match(r' *"opencv-python>', line)]
    if len(runtimes) != 2 or len(windows) != 1:
        raise ValueError("pyproject.toml names other dependencies than this script knows")
    version = re.search(r">=[\d.]+", lines[runtimes[0]])
    assert version is not None
    lines[runtimes[0]] = f'    "{RUNTIMES[variant]}{version[0]}",\n'
    lines[runtimes[1]] = ""
    lines[windows[0]] = lines[windows[0]].replace("opencv-python", "opencv-python-headless")
    return "".join(lines)


def requirements(text: str) -> list[str]:
    """The dependencies that a pyproject.toml names."""
    found: list[str] = tomllib.loads(text)["project"]["dependencies"]
    return found


if __name__ == "__main__":
    chosen, file = sys.argv[1], Path(sys.argv[2])
    result = replaced(file.read_text(encoding="utf-8"), chosen)
    if "--requirements" in sys.argv[3:]:
        print("\n".join(requirements(result)))
    else:
        file.write_text(result, encoding="utf-8")
