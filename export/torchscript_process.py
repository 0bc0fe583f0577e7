"""The child process that opens a TorchScript file, seen from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bimodal.export.errors import SourceModelError

CHILD = Path(__file__).with_name("torchscript_child.py")
TIMEOUT_S = 600
MEMORY_BYTES = 16_000_000_000
LARGEST_FILE_BYTES = 4_000_000_000


class TorchScriptProcess:
    """Answers inputs with the module, without ever opening the file here.

    The child has an empty folder to work in, none of our environment, and limits on memory, file size and time. Use as
    a context manager: it ends with the block. Raises SourceModelError where the file or its run fails.

    Args:
        path: the TorchScript file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._scratch = tempfile.TemporaryDirectory()
        self._folder = Path(self._scratch.name)
        environment = {"OMP_NUM_THREADS": "1", "HOME": str(self._folder), "TMPDIR": str(self._folder)}
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(CHILD), str(path.resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=self._folder,
            env={**environment, "PATH": os.defpath},
            preexec_fn=_limit if os.name == "posix" else None,
        )

    def __enter__(self) -> TorchScriptProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._scratch.cleanup()

    def __call__(self, values: NDArray[Any], model: Path | None = None) -> list[NDArray[Any]]:
        """float32 [N, …] → the module's outputs; with `model`, the module is written there as ONNX, too."""
        inputs, outputs = self._folder / "inputs.npy", self._folder / "outputs.npz"
        np.save(inputs, np.ascontiguousarray(values, np.float32))
        wrong = self._ask([str(inputs), str(outputs), None if model is None else str(model)])
        if wrong is not None:
            raise SourceModelError(f"{self._path} can't be run as TorchScript: {wrong}")
        with np.load(outputs, allow_pickle=False) as found:
            return [found[str(number)] for number in range(len(found.files))]

    def _ask(self, request: list[str | None]) -> str | None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        limit = threading.Timer(TIMEOUT_S, self._process.kill)
        limit.start()
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            limit.cancel()
        if not answer:
            return f"the process that opened it died or took longer than {TIMEOUT_S} seconds"
        wrong: str | None = json.loads(answer)
        return wrong


def _limit() -> None:
    """In the child, before it becomes Python: so much memory, so large files, no core dump."""
    import resource  # Unix only

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE_BYTES, LARGEST_FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
