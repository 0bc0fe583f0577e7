"""Writes HEIF files (HEIC, AVIF) whose picture is a grid of tiles, as phones do: a tile is one key frame of PyAV's."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

Pixels = np.ndarray


class Coding(NamedTuple):
    """Coding of tiles: PyAV's encoder and its options, item type, configuration box, brand of the file."""

    encoder: str
    options: dict[str, str]
    item: bytes
    configuration: bytes
    brand: bytes


CODINGS = {
    "avif": Coding("libsvtav1", {}, b"av01", b"av1C", b"avif"),
    # With B-frames to wait for, libx265 gives a lone frame a decoding time out of memory that nobody wrote.
    "heic": Coding("libx265", {"x265-params": "bframes=0"}, b"hvc1", b"hvcC", b"heic"),
}


def box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def full(kind: bytes, *parts: bytes, version: int = 0, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def coded(pixels: Pixels, coding: Coding, folder: Path) -> tuple[bytes, bytes]:
    """One picture as a packet, and its codec's configuration, both as MP4 stores them."""
    path = folder / "tile.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(coding.encoder, rate=1, options=coding.options)
        stream.height, stream.width = pixels.shape[:2]
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    at = data.index(coding.configuration)
    size = struct.unpack_from(">I", data, at - 4)[0]
    with av.open(str(path)) as container:
        packet = next(bytes(packet) for packet in container.demux(video=0) if packet.size)
    return packet, data[at + 4 : at - 4 + size]


def write_grid(path: Path, picture: Pixels, rows: int, columns: int, properties: tuple[bytes, ...] = ()) -> Path:
    """A photo made of tiles.

    Args:
        picture: uint8 [H, W, 3]; the last row and column of tiles reach over its edge if they must.
        properties: of the whole, such as `irot`.
    """
    coding = CODINGS[path.suffix.removeprefix(".")]
    height, width = picture.shape[:2]
    high, wide = -(-height // rows // 8) * 8, -(-width // columns // 8) * 8
    canvas = np.zeros((rows * high, columns * wide, 3), np.uint8)
    canvas[:height, :width] = picture
    tiles = [
        coded(np.ascontiguousarray(canvas[r * high : (r + 1) * high, c * wide : (c + 1) * wide]), coding, path.parent)
        for r in range(rows)
        for c in range(columns)
    ]
    grid = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)
    count = len(tiles)
    infos = [_info(1, b"grid"), *(_info(2 + number, coding.item) for number in range(count))]
    ispe = [full(b"ispe", struct.pack(">II", width, height)), full(b"ispe", struct.pack(">II", wide, high))]
    ipco = box(b"ipco", *ispe, box(coding.configuration, tiles[0][1]), *properties)
    own = bytes([1, *(4 + number for number in range(len(properties)))])
    associations = struct.pack(">HB", 1, len(own)) + own
    associations += b"".join(struct.pack(">HB", 2 + number, 2) + bytes([2, 3]) for number in range(count))
    iprp = box(b"iprp", ipco, full(b"ipma", struct.pack(">I", count + 1), associations))
    iref = full(b"iref", box(b"dimg", struct.pack(f">HH{count}H", 1, count, *range(2, 2 + count))))
    ftyp = box(b"ftyp", coding.brand, struct.pack(">I", 0), b"mif1", coding.brand)

    def meta(offset: int) -> bytes:
        places, at = [struct.pack(">HHHII", 1, 0, 1, offset, len(grid))], offset + len(grid)
        for number, (packet, _) in enumerate(tiles):
            places.append(struct.pack(">HHHII", 2 + number, 0, 1, at, len(packet)))
            at += len(packet)
        iloc = full(b"iloc", bytes([0x44, 0]), struct.pack(">H", count + 1), *places)
        return full(
            b"meta",
            full(b"hdlr", b"\0" * 4, b"pict", b"\0" * 13),
            full(b"pitm", struct.pack(">H", 1)),
            iloc,
            full(b"iinf", struct.pack(">H", count + 1), *infos),
            iref,
            iprp,
        )

    begin = len(ftyp) + len(meta(0)) + 8
    path.write_bytes(ftyp + meta(begin) + box(b"mdat", grid, *(packet for packet, _ in tiles)))
    return path


def _info(item: int, kind: bytes) -> bytes:
    return full(b"infe", struct.pack(">HH", item, 0), kind, b"\0", version=2)


def rotated(turns: int) -> bytes:
    """The property `irot`: so many quarter turns counter-clockwise."""
    return box(b"irot", bytes([turns]))


def mirrored(axis: int) -> bytes:
    """The property `imir`: 0 swaps top and bottom, 1 left and right."""
    return box(b"imir", bytes([axis]))
