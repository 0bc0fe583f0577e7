"""The least that any program with these models needs: a bare process that imports the libraries and opens the models.

Run as `python -m bench.bare MODEL…`: it says one line when all are open and have run once, and stays until its stdin
is closed.
"""

from __future__ import annotations

import contextlib
import importlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bimodal.bench.child import start, stop
from bimodal.bench.errors import BenchError
from bimodal.errors import BimodalError

# The config with its checks, which every program of ours reads, counts with the libraries it needs.
LIBRARIES = ("cv2", "msgspec", "numpy", "onnxruntime", "bimodal.config", "zmq")
OPEN = b"open\n"


@contextlib.contextmanager
def bare(models: Sequence[Path]) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """Such a process and the seconds from its command to its line; it ends with the context.

    Raises BenchError where it ends before.
    """
    began = time.monotonic()
    command = [sys.executable, "-P", "-m", "bimodal.bench.bare", *map(str, models)]
    process = start(command, what="a bare process", stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.monotonic() - began
        if line != OPEN:
            raise BenchError(
                f"a bare process can't open the models: {line.decode(errors='replace').strip() or 'it ended at once'}"
            )
        yield process, seconds
    finally:
        stop(process)


def main(models: Sequence[str]) -> None:
    """Open and wait; or say why that can't be, and end."""
    for library in LIBRARIES:
        importlib.import_module(library)
    session = importlib.import_module("bimodal.models.session")
    try:
        kept = [session.open_artifact(model, provider="auto") for model in models]
    except BimodalError as error:
        print(error, flush=True)
        return
    print("open", flush=True)
    sys.stdin.read()
    del kept


if __name__ == "__main__":
    main(sys.argv[1:])
