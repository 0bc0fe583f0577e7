"""`metadata_props` of an ONNX file without opening it in ONNX Runtime: the graph is skipped, not read.

An ONNX file is one protobuf message, ModelProto (onnx.proto, field 14: metadata_props, entries of key 1 and value 2).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from bimodal.models.contract import Kind, Metadata, read_properties
from bimodal.models.errors import ArtifactError

METADATA_PROPS, KEY, VALUE = 14, 1, 2
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

Buffer: TypeAlias = "mmap.mmap | bytes"


def metadata_of(path: Path, kind: Kind) -> Metadata:
    """What an artifact says of itself, without opening it; raises ArtifactError where it is none or of another kind."""
    try:
        properties = onnx_properties(path)
    except OSError as error:
        raise ArtifactError(f"{path} can't be read: {error.strerror}") from error
    return read_properties(properties, str(path), kind)


def onnx_properties(path: Path) -> dict[str, str]:
    """The file's properties; empty where it has none or is no ONNX file. Raises OSError where it can't be read."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            return {}
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                entries = [dict(_fields(entry)) for number, entry in _fields(data) if number == METADATA_PROPS]
                return {entry[KEY].decode(): entry.get(VALUE, b"").decode() for entry in entries}
            except (ValueError, IndexError, KeyError):
                return {}


def _fields(data: Buffer) -> Iterator[tuple[int, bytes]]:
    """(number, bytes) of every field of a message that has a length; large ones come empty."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            _, place = _varint(data, place)
        elif kind == BYTES:
            size, place = _varint(data, place)
            if place + size > len(data):
                raise ValueError("a field reaches past the end")
            yield number, bytes(data[place : place + size]) if number in (METADATA_PROPS, KEY, VALUE) else b""
            place += size
        elif kind in (FIXED32, FIXED64):
            place += 4 if kind == FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind} is not known")


def _varint(data: Buffer, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than ten bytes")
