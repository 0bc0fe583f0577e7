"""A foreign .onnx file, read with bounds: what is in it is checked before any of it is run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto

from bimodal.export.errors import SourceModelError
from bimodal.export.onnx_functions import write_functions_out
from bimodal.export.onnx_walk import names_of, nodes_of, tensors_of

MEGABYTE = 1_000_000
LARGEST_MB = 500
HARDEST_MB = 2_000
"""protobuf can't write a larger file."""

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Operators that every ONNX Runtime has built in."""


def read_foreign(path: Path, largest_mb: int = LARGEST_MB) -> onnx.ModelProto:
    """The model with functions written out and external data put in; opens no session.

    Raises SourceModelError, naming what is wrong: missing, larger than `largest_mb` (with its external data), no ONNX,
    external data outside the file's folder, operators of a custom domain, operators that this onnx does not know,
    functions that call themselves.
    """
    if not path.is_file():
        raise SourceModelError(f"there is no file {path}")
    budget = min(largest_mb, HARDEST_MB) * MEGABYTE
    _within(path, path.stat().st_size, budget)
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except DecodeError as error:
        raise SourceModelError(f"{path} is no ONNX file") from error
    if not model.graph.node or not model.graph.output:
        raise SourceModelError(f"{path} is no ONNX file, or one without a graph")
    if not all(isinstance(name, str) for name in names_of(model)):  # protobuf hands out bytes where it is no UTF-8
        raise SourceModelError(f"{path} is no ONNX file, or a broken one: it holds names that are no text")
    _put_external_data_in(model, path, budget)
    write_functions_out(model, path)
    _check_operators(model, path)
    return model


def opset(model: onnx.ModelProto) -> int:
    """Version of the standard operators."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def _within(path: Path, size: int, budget: int) -> None:
    if size > budget:
        raise SourceModelError(
            f"{path} has {size / MEGABYTE:.1f} MB, more than the {budget / MEGABYTE:.0f} MB that are read; "
            "raise --max-size if you trust it"
        )


def _put_external_data_in(model: onnx.ModelProto, path: Path, budget: int) -> None:
    size = path.stat().st_size
    for tensor in tensors_of(model):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        told = {entry.key: entry.value for entry in tensor.external_data}
        source = _external_file(told.get("location", ""), path)
        begin, length = _span(told, source, path)
        size += length
        _within(path, size, budget)
        with source.open("rb") as file:
            file.seek(begin)
            tensor.raw_data = file.read(length)
        tensor.ClearField("external_data")
        tensor.data_location = TensorProto.DEFAULT


def _external_file(location: str, path: Path) -> Path:
    folder = path.resolve().parent
    source = (folder / location).resolve()  # follows links, so that a link can't lead out either
    if not location or Path(location).is_absolute() or not source.is_relative_to(folder):
        raise SourceModelError(f"{path} keeps its weights outside its folder, in '{location}': that is not opened")
    if not source.is_file():
        raise SourceModelError(f"{path} keeps its weights in '{location}', which is not there; put it beside the file")
    return source


def _span(told: Mapping[str, str], source: Path, path: Path) -> tuple[int, int]:
    size = source.stat().st_size
    try:
        begin = int(told.get("offset", "0"))
        length = int(told.get("length", str(size - begin)))
    except ValueError:
        begin = length = -1
    if begin < 0 or length < 0 or begin + length > size:
        raise SourceModelError(f"{path} asks for weights that '{source.name}' does not hold")
    return begin, length


def _check_operators(model: onnx.ModelProto, path: Path) -> None:
    for node in nodes_of(model.graph):
        if node.domain not in DOMAINS:
            raise SourceModelError(
                f"{path} needs the operator '{node.op_type}' of the custom domain '{node.domain}': only standard "
                "operators run everywhere, so export it again without it"
            )
    version, newest = opset(model), onnx.defs.onnx_opset_version()
    if version < 1 or version > newest:
        raise SourceModelError(f"{path} is written in opset {version}, but this onnx knows 1 to {newest}: update it")
    for node in nodes_of(model.graph):
        if node.domain in ("", "ai.onnx"):
            try:
                onnx.defs.get_schema(node.op_type, version, "")
            except onnx.defs.SchemaError as error:
                raise SourceModelError(
                    f"{path} needs the operator '{node.op_type}', unknown in opset {version}"
                ) from error
