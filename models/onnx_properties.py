"""`metadata_props` of an ONNX file without opening it in ONNX Runtime: the graph is skipped, not read.

An ONNX file is one protobuf message, ModelProto (onnx.proto, field 14: metadata_props, entries of key 1 and value 2).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from bimodal.models.contract import Kind, Metadata, read_properties
from bimodal.models.errors import ArtifactError
from bimodal.models.scan import LENGTH, _BrokenError, _Field, _fields

METADATA_PROPS, KEY, VALUE = 14, 1, 2


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
                found = [each for each in _fields(data, 0, len(data)) if each.number == METADATA_PROPS]
                entries = [
                    {part.number: data[part.start : part.end].decode() for part in _parts(data, each)} for each in found
                ]
                return {entry[KEY]: entry.get(VALUE, "") for entry in entries}
            except (_BrokenError, UnicodeDecodeError, KeyError):
                return {}


def _parts(data: mmap.mmap, entry: _Field) -> Iterator[_Field]:
    return (part for part in _fields(data, entry.start, entry.end) if part.wire == LENGTH)
