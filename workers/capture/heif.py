"""Photographs stored as a grid of tiles (HEIC and AVIF as phones write them): which tiles make the picture, and how.

FFmpeg gives each tile as a stream of its own, whose id is that of the item. Boxes and items: ISO/IEC 14496-12
(ISOBMFF), 23008-12 (HEIF).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from bimodal.workers.capture.pixels import AS_STORED, Orientation

MOST_META_BYTES = 16 * 2**20
BRANDS = {b"mif1", b"heic", b"heix", b"avif", b"avis", b"msf1", b"hevc", b"hevx", b"heim", b"heis"}


class Grid(NamedTuple):
    """The primary picture of a file, made of tiles.

    Attributes:
        rows, columns: of tiles, which are ordered row by row.
        width, height: of the whole, in pixels; tiles may reach over its right and lower edge.
        tiles: ids of the items.
        turn: how it is shown.
    """

    rows: int
    columns: int
    width: int
    height: int
    tiles: tuple[int, ...]
    turn: Orientation = AS_STORED


class NotHeifError(ValueError):
    """The file is no HEIF, or not one that is understood."""


def grid_of(path: Path) -> Grid | None:
    """Read the grid of a file's primary picture; None where it is stored whole, or the file is no HEIF."""
    try:
        return _grid(path)
    except (NotHeifError, OSError, struct.error, LookupError, ValueError):
        return None


def _grid(path: Path) -> Grid | None:
    data, meta = _meta(path)
    boxes = {kind: (begin, end) for kind, begin, end in _boxes(data, meta + 4, len(data))}
    primary = _primary(data, *boxes[b"pitm"]) if b"pitm" in boxes else 0
    if _kinds(data, *boxes[b"iinf"]).get(primary) != b"grid":
        return None
    content = _content(path, data, boxes, primary)
    wide = content[1] & 1
    rows, columns = content[2] + 1, content[3] + 1
    width, height = struct.unpack_from(">II" if wide else ">HH", content, 4)
    tiles = _references(data, *boxes[b"iref"])[primary]
    if len(tiles) != rows * columns or not width or not height:
        raise NotHeifError("its grid does not fit its tiles")
    return Grid(rows, columns, width, height, tiles, _turn(data, boxes, primary))


def _meta(path: Path) -> tuple[bytes, int]:
    """The content of the box `meta`, with offset 0; raises NotHeifError without one."""
    with path.open("rb") as file:
        head = file.read(16)
        if head[4:8] != b"ftyp":
            raise NotHeifError("it has no file type")
        place, kind = 0, b"ftyp"
        while True:
            file.seek(place)
            header = file.read(16)
            if len(header) < 8:
                raise NotHeifError("it has no box 'meta'")
            size, kind = struct.unpack_from(">I4s", header)
            skip = 8
            if size == 1:
                size, skip = struct.unpack_from(">Q", header, 8)[0], 16
            if kind == b"ftyp" and not BRANDS & {header[8:12], *_brands(file, place, size)}:
                raise NotHeifError("its brand is another")
            if kind == b"meta":
                if size > MOST_META_BYTES:
                    raise NotHeifError("its box 'meta' is too large")
                file.seek(place + skip)
                return file.read(size - skip), 0
            if size < 8:
                raise NotHeifError("it has no box 'meta'")
            place += size


def _brands(file: BinaryIO, place: int, size: int) -> list[bytes]:
    file.seek(place + 16)
    data = file.read(max(0, min(size, 1024) - 16))
    return [data[at : at + 4] for at in range(0, len(data), 4)]


def _boxes(data: bytes, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The boxes between two offsets: kind, begin and end of their content."""
    while begin + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, begin)
        skip = 8
        if size == 1:
            size, skip = struct.unpack_from(">Q", data, begin + 8)[0], 16
        stop = end if size == 0 else begin + size
        if stop > end or stop < begin + skip:
            raise NotHeifError("a box is cut off")
        yield kind, begin + skip, stop
        begin = stop


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _primary(data: bytes, begin: int, _end: int) -> int:
    return _number(data, begin + 4, 2 if data[begin] == 0 else 4)


def _kinds(data: bytes, begin: int, end: int) -> dict[int, bytes]:
    """Type of each item."""
    first = begin + (6 if data[begin] == 0 else 8)
    found = {}
    for kind, at, _ in _boxes(data, first, end):
        if kind == b"infe" and data[at] >= 2:
            size = 2 if data[at] == 2 else 4
            found[_number(data, at + 4, size)] = data[at + 4 + size + 2 : at + 4 + size + 6]
    return found


def _references(data: bytes, begin: int, end: int) -> dict[int, tuple[int, ...]]:
    """The items that a derived picture is made of (`dimg`)."""
    size = 2 if data[begin] == 0 else 4
    found = {}
    for kind, at, _ in _boxes(data, begin + 4, end):
        count = _number(data, at + size, 2)
        ids = tuple(_number(data, at + size + 2 + number * size, size) for number in range(count))
        if kind == b"dimg":
            found[_number(data, at, size)] = ids
    return found


def _content(path: Path, data: bytes, boxes: dict[bytes, tuple[int, int]], item: int) -> bytes:
    """The bytes of an item, from the file or from the box `idat`."""
    at, _ = boxes[b"iloc"]
    version = data[at]
    offset_size, length_size = data[at + 4] >> 4, data[at + 4] & 15
    base_size, index_size = data[at + 5] >> 4, data[at + 5] & 15 if version else 0
    wide = 4 if version == 2 else 2
    count, at = _number(data, at + 6, wide), at + 6 + wide
    for _ in range(count):
        number, at = _number(data, at, wide), at + wide
        method = 0
        if version:
            method, at = data[at + 1] & 15, at + 2
        base, at = _number(data, at + 2, base_size), at + 2 + base_size
        extents, at = _number(data, at, 2), at + 2
        parts = []
        for _ in range(extents):
            at += index_size
            offset, at = _number(data, at, offset_size), at + offset_size
            length, at = _number(data, at, length_size), at + length_size
            parts.append((base + offset, length))
        if number == item:
            return b"".join(_extent(path, data, boxes, method, *part) for part in parts)
    raise NotHeifError("its primary picture is nowhere")


def _extent(
    path: Path, data: bytes, boxes: dict[bytes, tuple[int, int]], method: int, offset: int, length: int
) -> bytes:
    if method == 1:
        begin, end = boxes[b"idat"]
        return data[begin + offset : min(end, begin + offset + length)]
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(min(length, 64))


def _turn(data: bytes, boxes: dict[bytes, tuple[int, int]], item: int) -> Orientation:
    """How an item is shown: its properties `irot` (counter-clockwise) and `imir`, in their order."""
    inner = {kind: (begin, end) for kind, begin, end in _boxes(data, *boxes[b"iprp"])}
    properties = list(_boxes(data, *inner[b"ipco"]))
    turn = AS_STORED
    for index in _associated(data, *inner[b"ipma"]).get(item, ()):
        kind, at, _ = properties[index - 1]
        if kind == b"irot":
            for _ in range(data[at] & 3):
                turn = turn.then(Orientation(transposed=True, flip_rows=True))
        elif kind == b"imir":
            turn = turn.then(Orientation(flip_columns=True) if data[at] & 1 else Orientation(flip_rows=True))
    return turn


def _associated(data: bytes, begin: int, _end: int) -> dict[int, list[int]]:
    """Numbers of each item's properties, from 1."""
    version, flags = data[begin], _number(data, begin + 1, 3)
    count, at = _number(data, begin + 4, 4), begin + 8
    found: dict[int, list[int]] = {}
    for _ in range(count):
        size = 2 if version < 1 else 4
        item, at = _number(data, at, size), at + size
        several, at = data[at], at + 1
        wide, mask = (2, 0x7FFF) if flags & 1 else (1, 0x7F)
        found[item] = [_number(data, at + number * wide, wide) & mask for number in range(several)]
        at += several * wide
    return found
