"""Pictures that FFmpeg alone does not show whole: grids of tiles (HEIC and AVIF of phones), animated WebP."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av
import av.container
import numpy as np
from numpy.typing import NDArray

from bimodal.workers.capture.heif import Grid, grid_of
from bimodal.workers.capture.pixels import PixelConverter, ShownPixels, scaled_to
from bimodal.workers.errors import SourceError

MS = 1_000_000
# A frame of an animation that gives no time is shown so long, as in browsers.
UNTIMED_MS = 100
MOST_PIXELS = 400_000_000


class TimedPicture(NamedTuple):
    """A picture and its time."""

    pts_ns: int
    shown: ShownPixels


def composed(container: av.container.InputContainer, grid: Grid, max_height: int | None) -> ShownPixels:
    """Put the tiles of a grid together, as it is shown.

    Raises SourceError if tiles are missing or can't be decoded.
    """
    streams = {stream.id: stream for stream in container.streams.video}
    if not set(grid.tiles) <= streams.keys() or grid.width * grid.height > MOST_PIXELS:
        raise SourceError("some of the tiles of its picture are missing")
    pixels = np.zeros((grid.height, grid.width, 3), np.uint8)
    convert = PixelConverter(None)
    frames = _one_each(container, [streams[item] for item in dict.fromkeys(grid.tiles)])
    for number, item in enumerate(grid.tiles):
        frame = frames.get(item)
        if frame is None:
            raise SourceError("some of the tiles of its picture can't be decoded")
        tile = convert.rgb(frame, frame.width, frame.height)
        top, left = number // grid.columns * frame.height, number % grid.columns * frame.width
        room = pixels[top : top + frame.height, left : left + frame.width]
        room[:] = tile[: room.shape[0], : room.shape[1]]
    whole = grid.turn.apply(pixels)
    return ShownPixels(scaled_to(whole, max_height), (whole.shape[1], whole.shape[0]))


def _one_each(container: av.container.InputContainer, streams: list[av.VideoStream]) -> dict[int, av.VideoFrame]:
    """The first frame of each stream, by the stream's id."""
    found: dict[int, av.VideoFrame] = {}
    for packet in container.demux(streams):
        with contextlib.suppress(av.FFmpegError):
            for frame in packet.decode():
                if isinstance(frame, av.VideoFrame):
                    found.setdefault(packet.stream.id, frame)
    return found


def grid_in(path: Path, container: av.container.InputContainer) -> Grid | None:
    """The grid of tiles that an opened file's picture is made of, else None."""
    return grid_of(path) if container.format.name.startswith("mov") else None


# Animated WebP


def is_animated_webp(path: Path) -> bool:
    """True for a WebP file with the flag of animations. FFmpeg reads the others."""
    try:
        with path.open("rb") as file:
            head = file.read(21)
    except OSError:
        return False
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and len(head) == 21 and bool(head[20] & 2)


def webp_times_ms(path: Path) -> list[int]:
    """When each frame ends, in milliseconds. Raises SourceError if the file is damaged."""
    times, total = [], 0
    with path.open("rb") as file:
        data = file.read()
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"ANMF":
            total += int.from_bytes(data[at + 20 : at + 23], "little") or UNTIMED_MS
            times.append(total)
        at += 8 + size + size % 2
    if not times:
        raise SourceError(f"{path} is an animation without pictures")
    return times


def webp_pictures(path: Path, max_height: int | None) -> Iterator[TimedPicture]:
    """Yield the frames of an animated WebP.

    Raises SourceError if it can't be decoded.
    """
    # For this format only: it takes 0.1 s to load.
    from PIL import Image

    ends_ms = webp_times_ms(path)
    try:
        with Image.open(path) as animation:
            for number, end_ms in enumerate(ends_ms):
                animation.seek(number)
                pixels: NDArray[np.uint8] = np.asarray(animation.convert("RGB"))
                begin_ms = ends_ms[number - 1] if number else 0
                assert end_ms >= begin_ms
                size = (pixels.shape[1], pixels.shape[0])
                yield TimedPicture(begin_ms * MS, ShownPixels(scaled_to(pixels, max_height), size))
    except (OSError, EOFError, ValueError) as error:
        raise SourceError(f"{path} can't be decoded: {error}") from error
