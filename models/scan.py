"""Security scan of an .onnx file before ONNX Runtime opens it: no external data, no foreign operators.

ONNX Runtime refuses much of this itself, but its checks have changed between versions. The file is parsed as protobuf
(https://protobuf.dev/programming-guides/encoding) by the field numbers of onnx.proto3; only parts that can name a file
or an operator are entered, all others are skipped.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from bimodal.models.contract import Kind, Metadata, read_properties
from bimodal.models.errors import ArtifactError

MAX_BYTES = 2**30
MOST_PARTS = 5_000_000
MOST_OF_ONE = 500_000
DEEPEST = 32

# Domains of ONNX, and of ONNX Runtime's contributed operators (8-bit networks use them).
DOMAINS = frozenset(("", "ai.onnx", "ai.onnx.ml", "com.microsoft"))
# Runs a program compiled for one device, from a file that it names.
FORBIDDEN_OPERATORS = frozenset(("EPContext",))

Part: TypeAlias = Literal["model", "graph", "function", "training", "node", "attribute", "tensor", "sparse"]

INSIDE: Mapping[Part, Mapping[int, Part]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
OPERATOR, NODE_DOMAIN = 4, 7
FUNCTION_DOMAIN = 10
EXTERNAL_DATA, DATA_LOCATION, EXTERNAL = 13, 14, 1

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


class _Field(NamedTuple):
    number: int
    wire: int
    start: int
    end: int
    value: int


class _BrokenError(Exception):
    """The bytes are not valid protobuf."""


_NOT_ONNX = (_BrokenError, UnicodeDecodeError, KeyError)
"""Errors that reading metadata raises for bytes that are no ONNX file."""


def scan(data: bytes, path: str) -> None:
    """Raise ArtifactError, naming `path`, if the file is too large, damaged, or refers to other files or operators."""
    if not data:
        raise ArtifactError(f"{path} is empty (0 bytes)")
    if len(data) > MAX_BYTES:
        raise ArtifactError(f"{path} has {len(data) >> 20} MiB; an artifact may have {MAX_BYTES >> 20}")
    try:
        _walk(data, path)
    except _BrokenError as error:
        raise ArtifactError(f"{path} can't be opened: it is no ONNX file ({error})") from error


def _walk(data: bytes, path: str) -> None:
    used: dict[str, str] = {}
    defined: set[str] = set()
    left: list[tuple[Part, int, int, int]] = [("model", 0, len(data), 0)]
    parts = 0
    counts = {"node": 0, "tensor": 0}
    while left:
        part, start, end, depth = left.pop()
        operator, domain = "", ""
        if part in counts:
            counts[part] += 1
        for field in _fields(data, start, end):
            parts += 1
            if parts > MOST_PARTS:
                raise ArtifactError(f"{path} has more than {MOST_PARTS:,} parts; no network needs that many")
            inner = INSIDE[part].get(field.number)
            if inner is not None and field.wire == LENGTH:
                if depth >= DEEPEST:
                    raise ArtifactError(
                        f"{path} has graphs within graphs, more than {DEEPEST} deep; no network needs that"
                    )
                left.append((inner, field.start, field.end, depth + 1))
            elif part == "tensor":
                _refuse_external(field, path)
            elif part == "node" and field.wire == LENGTH and field.number == OPERATOR:
                operator = _text(data, field)
            elif part == "node" and field.wire == LENGTH and field.number == NODE_DOMAIN:
                domain = _text(data, field)
            elif part == "function" and field.wire == LENGTH and field.number == FUNCTION_DOMAIN:
                defined.add(_text(data, field))
        if part == "node":
            used.setdefault(domain, operator)
            if operator in FORBIDDEN_OPERATORS:
                raise ArtifactError(f"{path} holds the operator {operator}, which runs programs from other files")
    for counted, words in (("node", "operators"), ("tensor", "constants")):
        if counts[counted] > MOST_OF_ONE:
            raise ArtifactError(f"{path} has {counts[counted]:,} {words}; an artifact may have {MOST_OF_ONE:,}")
    for domain in sorted(used.keys() - DOMAINS - defined):
        raise ArtifactError(
            f"{path} needs the operator {used[domain]} of '{domain}', which is none of ONNX's own: export it without"
        )


def _refuse_external(field: _Field, path: str) -> None:
    located = field.number == DATA_LOCATION and field.wire == VARINT and field.value & 0xFFFFFFFF == EXTERNAL
    if located or field.number == EXTERNAL_DATA:
        raise ArtifactError(
            f"{path} keeps weights in another file, but an artifact is one file: export it again in one"
        )


def _fields(data: bytes | mmap.mmap, at: int, end: int) -> Iterator[_Field]:
    """Iterate over the fields of one message."""
    while at < end:
        tag, at = _varint(data, at, end)
        number, wire = tag >> 3, tag & 7
        if tag >= 2**32 or number == 0:
            raise _BrokenError(f"byte {at} begins no field")
        start, value = at, 0
        if wire == VARINT:
            value, at = _varint(data, at, end)
        elif wire == LENGTH:
            length, start = _varint(data, at, end)
            at = start + length
        elif wire in (FIXED64, FIXED32):
            at += 8 if wire == FIXED64 else 4
        else:
            raise _BrokenError(f"byte {at} begins no field")
        if at > end:
            raise _BrokenError(f"it ends within the field at byte {start}")
        yield _Field(number, wire, start, at, value)


def _varint(data: bytes | mmap.mmap, at: int, end: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        if at >= end:
            raise _BrokenError("it ends within a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at
    raise _BrokenError(f"the number before byte {at} is too long")


def _text(data: bytes, field: _Field) -> str:
    return data[field.start : field.end].decode("utf-8", "replace")[:200]


# Metadata without ONNX Runtime

# Field numbers of ModelProto.metadata_props and its entries (onnx.proto). The graph is skipped.
METADATA_PROPS, KEY, VALUE = 14, 1, 2


def metadata_of(path: Path, kind: Kind) -> Metadata:
    """Read an artifact's metadata without opening it; raises ArtifactError if it is none or of another kind."""
    try:
        properties = _properties(path)
    except OSError as error:
        raise ArtifactError(f"{path} can't be read: {error.strerror}") from error
    except _NOT_ONNX as error:
        raise ArtifactError(f"{path} can't be opened: it is no ONNX file") from error
    return read_properties(properties, str(path), kind)


def onnx_properties(path: Path) -> dict[str, str]:
    """Read the file's `metadata_props`; empty if it has none or is no ONNX file. Raises OSError if it can't be read."""
    try:
        return _properties(path)
    except _NOT_ONNX:
        return {}


def _properties(path: Path) -> dict[str, str]:
    """As `onnx_properties`. Raises one of _NOT_ONNX if it is no ONNX file."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise _BrokenError("it is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = [each for each in _fields(data, 0, len(data)) if each.number == METADATA_PROPS]
            entries = [
                {part.number: data[part.start : part.end].decode() for part in _parts(data, each)} for each in found
            ]
            return {entry[KEY]: entry.get(VALUE, "") for entry in entries}


# Field numbers of ModelProto.graph, GraphProto.output and ValueInfoProto.name.
GRAPH, GRAPH_OUTPUT, OUTPUT_NAME = 7, 12, 1


def output_names(path: Path) -> list[str]:
    """Names of the outputs of a model; empty if it is no ONNX file. Raises OSError if it can't be read."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            return []
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                graphs = [each for each in _fields(data, 0, len(data)) if each.number == GRAPH and each.wire == LENGTH]
                outputs = [each for graph in graphs for each in _parts(data, graph) if each.number == GRAPH_OUTPUT]
                names = [each for output in outputs for each in _parts(data, output) if each.number == OUTPUT_NAME]
                return [data[each.start : each.end].decode() for each in names]
            except (_BrokenError, UnicodeDecodeError):
                return []


def _parts(data: mmap.mmap, entry: _Field) -> Iterator[_Field]:
    return (part for part in _fields(data, entry.start, entry.end) if part.wire == LENGTH)
