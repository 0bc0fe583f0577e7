"""`bimodal export torch`: convert TorchScript (.pt) or a program of torch.export (.pt2), in a child process.

TorchScript is a program. `torch.jit.load` does not unpickle Python classes, but it compiles and runs code in the file
with torch's operators, some of which read and write files. So the code is searched for those first, and the file is
only opened by a child process with nothing of ours in its memory or environment, limited in time, memory and file size.
That is no sandbox: export only files of people you trust. A program of torch.export is a graph of operators; what it
may hold beside them (pickled objects, other operators, expressions that are no plain sums) is refused first.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bimodal.export.artifact import Progress
from bimodal.export.errors import SourceModelError
from bimodal.export.onnx.convert import adopt
from bimodal.export.onnx.description import Description
from bimodal.export.onnx.foreign import LARGEST_MB, MEGABYTE, Run, read_foreign
from bimodal.export.onnx.ports import Ports
from bimodal.models.formats import is_program, is_torchscript

MOST_CODE_BYTES = 50_000_000

FORBIDDEN = re.compile(
    r"\b(?:torch|aten|prim)\.(?:save|load|from_file|hub|classes)\b"
    r"|\bops\.(?!(?:aten|prim|torch|quantized|torchvision)\b)\w+"
)
"""Operators that read or write files, and those of libraries outside torch."""


def export_torchscript(
    path: Path,
    description: Description,
    out: Path,
    progress: Progress,
    *,
    largest_mb: int = LARGEST_MB,
    pictures: Sequence[Path] = (),
    sounds: Sequence[Path] = (),
) -> Path:
    """Write `out`/<name>/model.onnx, checked against the file itself in torch; arguments as in `export_onnx`.

    Raises ExportError or ArtifactError.
    """
    program = is_program(path)
    if program:
        _look_through_program(path, largest_mb)
    else:
        _look_through(path, largest_mb)
    with (
        tempfile.TemporaryDirectory() as scratch,
        ModuleProcess(path, called="a program of torch.export" if program else "TorchScript") as module,
    ):
        exported = Path(scratch) / "module.onnx"
        module(None if program else _example(description, path), exported)
        model = read_foreign(exported, largest_mb)
        names = [value.name for value in model.graph.output]

        def make_run(ports: Ports) -> Run:
            if ports.feeds:
                raise SourceModelError(
                    f"{path} takes more than one input: write it as ONNX (torch.onnx.export), and give that file to "
                    "'bimodal export onnx'"
                )
            unknown = [name for name in ports.wanted if name not in names]
            if unknown:
                raise SourceModelError(f"the module has no output '{unknown[0]}'; it has {', '.join(names)}")

            def run(values: NDArray[Any]) -> Sequence[NDArray[Any]]:
                answers = module(values)
                return [answers[names.index(name)] for name in ports.wanted]

            return run

        return adopt(model, path, description, out, progress, make_run=make_run, pictures=pictures, sounds=sounds)


def _look_through(path: Path, largest_mb: int) -> None:
    """Search the file's code.

    Raises SourceModelError if it is not TorchScript, too large, or does what models don't.
    """
    if not path.is_file():
        raise SourceModelError(f"there is no file {path}")
    if not is_torchscript(path):
        raise SourceModelError(f"{path} is no TorchScript file: save it with torch.jit.save")
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > largest_mb * MEGABYTE:
            raise SourceModelError(f"{path} unpacks to more than {largest_mb} MB; raise --max-size if you trust it")
        code = [entry for entry in entries if "/code/" in entry.filename and entry.filename.endswith(".py")]
        if sum(entry.file_size for entry in code) > MOST_CODE_BYTES:
            raise SourceModelError(f"{path} holds more code than a model needs")
        for entry in code:
            found = FORBIDDEN.search(archive.read(entry).decode("utf-8", "replace"))
            if found:
                raise SourceModelError(f"{path} calls '{found[0]}', which a model has no need of: it is not opened")


PROGRAM_TARGET = re.compile(
    r'"target": "(?!torch\.ops\.(?:aten|prim|torchvision|higher_order)\.|_operator\.|math\.)([^"]*)"'
)
"""Operators in a program that are not torch's own."""
EXPRESSION = re.compile(r'"expr_str": "([^"]*)"')
SYMBOL = re.compile(r"Symbol\('\w+'(?:, \w+=(?:True|False))*\)")
PLAIN_EXPRESSION = re.compile(r"(?!.*__)[\w\s+\-*/%(),<>=]*")


def _look_through_program(path: Path, largest_mb: int) -> None:
    """Check what a program of torch.export holds, before torch opens it.

    Raises SourceModelError if it is too large, or holds pickled objects, foreign operators or code in an expression.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > largest_mb * MEGABYTE:
            raise SourceModelError(f"{path} unpacks to more than {largest_mb} MB; raise --max-size if you trust it")
        for entry in entries:
            if "custom_obj" in entry.filename:
                raise SourceModelError(
                    f"{path} holds '{entry.filename}', a pickled object, which could run code when it is opened: "
                    "export "
                    "the model without it"
                )
            if not entry.filename.endswith(".json"):
                continue
            text = archive.read(entry).decode("utf-8", "replace")
            foreign = PROGRAM_TARGET.search(text)
            if foreign:
                raise SourceModelError(
                    f"{path} calls '{foreign[1]}', which is no operator of torch's own: export the model without it"
                )
            for found in EXPRESSION.finditer(text):
                if not PLAIN_EXPRESSION.fullmatch(SYMBOL.sub("s", found[1])):
                    raise SourceModelError(
                        f"{path} computes a size by '{found[1][:80]}', which is no plain sum: it is not opened"
                    )


def _example(description: Description, path: Path) -> NDArray[Any]:
    """Two inputs for the module, made from the description alone: TorchScript does not declare its shapes."""
    random = np.random.default_rng(0)
    if description.kind == "face-static":
        if description.size is None or description.pixels is None:
            raise SourceModelError(
                f"say what {path} wants: --size and --colour, --layout, --scale, --mean … or a --preset"
            )
        size, channels = description.size, description.pixels.channels
        shape: tuple[int, ...] = (
            (channels, size, size) if description.pixels.layout == "nchw" else (size, size, channels)
        )
    elif description.kind == "speech":
        shape = (round((description.sample_rate or 16_000) * (description.window_s or 3.0)),)
    elif description.kind == "face-dynamic":
        raise SourceModelError(f"{path}: TorchScript of dynamic models is not taken; export it to ONNX first")
    else:
        raise SourceModelError(f"say what {path} is: --kind face-static or speech, or a --preset")
    return random.normal(0, 1, (2, *shape)).astype(np.float32)


# The child process.

CHILD = Path(__file__).with_name("torchscript_child.py")
TIMEOUT_S = 600
MEMORY_BYTES = 16_000_000_000
LARGEST_FILE_BYTES = 4_000_000_000


class ModuleProcess:
    """Runs a network in a child process; the file is never opened here.

    The child has an empty working directory, none of our environment, and limits on memory, file size and time. A
    context manager that ends the child. Raises SourceModelError if opening or running the file fails.

    Args:
        path: the file.
        child: the program of the process.
        called: what the file is, in words.
    """

    def __init__(self, path: Path, child: Path = CHILD, called: str = "PyTorch") -> None:
        self._path = path
        self._called = called
        self._scratch = tempfile.TemporaryDirectory()
        self._folder = Path(self._scratch.name)
        environment = {"OMP_NUM_THREADS": "1", "HOME": str(self._folder), "TMPDIR": str(self._folder)}
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(child), str(path.resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=self._folder,
            env={**environment, "PATH": os.defpath},
            preexec_fn=_limit if os.name == "posix" else None,
        )

    def __enter__(self) -> ModuleProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._scratch.cleanup()

    def __call__(self, values: NDArray[Any] | None, model: Path | None = None) -> list[NDArray[Any]]:
        """Run the network on [N, …]. Returns its outputs; with `model` it is also written there as ONNX.

        Without `values` it is only written.
        """
        inputs, outputs = self._folder / "inputs.npy", self._folder / "outputs.npz"
        if values is not None:
            np.save(inputs, np.ascontiguousarray(values))
        request = [None if values is None else str(inputs), str(outputs), None if model is None else str(model)]
        wrong = self._ask(request)
        if wrong is not None:
            raise SourceModelError(f"{self._path} can't be run as {self._called}: {wrong}")
        if values is None:
            return []
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
    """Limit memory and file size, and disable core dumps, in the child before exec."""
    import resource  # Unix only

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE_BYTES, LARGEST_FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
