"""`bimodal export torch --architecture torchscript`: a TorchScript file → ONNX in a child process → an artifact.

TorchScript is a program. `torch.jit.load` does not unpickle Python classes, but it compiles and runs code out of the
file, with torch's operators, some of which read and write files. So the file's code is looked through for those first,
and it is only ever opened by a child process with nothing of ours in its memory or environment, limited in time, memory
and what it may write. That is no sandbox: export only files of people you trust.
"""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from bimodal.export.errors import SourceModelError
from bimodal.export.foreign_onnx import LARGEST_MB, MEGABYTE, read_foreign
from bimodal.export.from_onnx import adopt
from bimodal.export.onnx_description import Description
from bimodal.export.ship import Say
from bimodal.export.torch_weights import is_torchscript
from bimodal.export.torchscript_process import TorchScriptProcess

MOST_CODE_BYTES = 50_000_000

FORBIDDEN = re.compile(
    r"\b(?:torch|aten|prim)\.(?:save|load|from_file|hub|classes)\b"
    r"|\bops\.(?!(?:aten|prim|torch|quantized|torchvision)\b)\w+"
)
"""Reading and writing files, and operators of libraries that torch does not bring along."""


def export_torchscript(
    path: Path,
    said: Description,
    out: Path,
    say: Say,
    *,
    largest_mb: int = LARGEST_MB,
    pictures: Sequence[Path] = (),
    sounds: Sequence[Path] = (),
) -> Path:
    """Write `out`/<name>/model.onnx, proved against the TorchScript file itself; arguments as in `export_onnx`.

    Raises ExportError or ArtifactError.
    """
    _look_through(path, largest_mb)
    with tempfile.TemporaryDirectory() as scratch, TorchScriptProcess(path) as module:
        exported = Path(scratch) / "module.onnx"
        module(_example(said, path), exported)
        model = read_foreign(exported, largest_mb)
        wanted = _numbers(model, said)

        def run(values: NDArray[Any]) -> Sequence[NDArray[Any]]:
            answers = module(values)
            return [answers[number] for number in wanted]

        return adopt(model, path, said, out, say, run=run, pictures=pictures, sounds=sounds)


def _look_through(path: Path, largest_mb: int) -> None:
    """Raises SourceModelError where the file is no TorchScript, too large, or its code does what models don't."""
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


def _example(said: Description, path: Path) -> NDArray[Any]:
    """Two inputs as the module takes them, made from the description alone: TorchScript does not say its shapes."""
    random = np.random.default_rng(0)
    if said.kind == "face-static":
        if said.size is None or said.pixels is None:
            raise SourceModelError(
                f"say what {path} wants: --size and --colour, --layout, --scale, --mean … or a --preset"
            )
        size, channels = said.size, said.pixels.channels
        shape: tuple[int, ...] = (channels, size, size) if said.pixels.layout == "nchw" else (size, size, channels)
    elif said.kind == "speech":
        shape = (round((said.sample_rate or 16_000) * (said.window_s or 3.0)),)
    elif said.kind == "face-dynamic":
        raise SourceModelError(f"{path}: TorchScript of dynamic models is not taken; export it to ONNX first")
    else:
        raise SourceModelError(f"say what {path} is: --kind face-static or speech, or a --preset")
    return random.normal(0, 1, (2, *shape)).astype(np.float32)


def _numbers(model: onnx.ModelProto, said: Description) -> list[int]:
    """Which of the module's outputs are asked for, as `output_0`, `output_1` …"""
    names = [value.name for value in model.graph.output]
    chosen = [said.output or names[0]] + ([said.embedding] if said.embedding else [])
    unknown = [name for name in chosen if name not in names]
    if unknown:
        raise SourceModelError(f"the module has no output '{unknown[0]}'; it has {', '.join(names)}")
    return [names.index(name) for name in chosen]
