"""Pictures on their way to a worker on another machine: raw, or compressed as JPEG or WebP.

The broker compresses in threads of its own (OpenCV works without Python's lock), since one 720p frame takes some
milliseconds; a worker's frames leave in the order in which they were given out.
"""

from __future__ import annotations

import io
import os
import zlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bimodal.broker.errors import SlotError
from bimodal.broker.messages import MAX_DATA_BYTES, Assignment, Encoding, Pixels

Connection = tuple[str, bytes]
"""A worker's name, and its address."""
MOST_THREADS = 4
SUFFIXES: dict[Encoding, str] = {"jpeg": ".jpg", "webp": ".webp"}
# OpenCV writes WebP without loss above 100.
QUALITY = {"jpeg": cv2.IMWRITE_JPEG_QUALITY, "webp": cv2.IMWRITE_WEBP_QUALITY}


def encoding_of(pixels: Pixels, *, live: bool, shape: tuple[int, ...]) -> Encoding:
    """How a job's data is sent: sound and frames of files as they are unless asked; `auto` is JPEG for live frames."""
    if len(shape) != 3:
        return "raw"
    if pixels == "auto":
        return "jpeg" if live else "raw"
    return pixels


def encode(picture: NDArray[np.uint8], encoding: Encoding, quality: int) -> bytes:
    """Compress a picture, uint8 [H, W, 3] RGB. Raises SlotError where it can't be."""
    done, data = cv2.imencode(SUFFIXES[encoding], picture[..., ::-1], [QUALITY[encoding], quality])
    if not done:
        raise SlotError(f"a picture of {picture.shape[1]}×{picture.shape[0]} can't be compressed as {encoding}")
    return bytes(data)


def decode(data: bytes, shape: tuple[int, ...]) -> NDArray[Any]:
    """The picture, uint8 [H, W, 3] RGB, of compressed data.

    Raises SlotError where it is none, or has another size than `shape`; a small file that claims a large picture is not
    decoded.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "WEBP")) as image:
            size = image.size
    except Exception as error:  # what Pillow raises depends on what is wrong
        raise SlotError("the picture of a job can't be read") from error
    if len(shape) != 3 or size != (shape[1], shape[0]):
        raise SlotError(f"the picture of a job has {size[0]}×{size[1]} pixels, not {shape}")
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if picture is None or picture.shape != shape:
        raise SlotError("the picture of a job is damaged")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


class Encoder:
    """Compresses the pictures of assignments, and hands them over in the order of each worker.

    Args:
        on_done: called by other threads when `take` has something to give.
    """

    def __init__(self, on_done: Callable[[], None]) -> None:
        self._on_done = on_done
        self._waiting: deque[tuple[Connection, Assignment, Future[bytes]]] = deque()
        count = min(MOST_THREADS, os.cpu_count() or 1)
        # A thread of its own for each share of the workers: their frames stay in order.
        self._pools = [ThreadPoolExecutor(1, thread_name_prefix="pixels") for _ in range(count)]

    def submit(self, worker: Connection, assignment: Assignment, read: Callable[[], bytes]) -> None:
        """Have `read` compress the picture of a worker's assignment."""
        pool = self._pools[zlib.crc32(worker[0].encode()) % len(self._pools)]
        future = pool.submit(read)
        self._waiting.append((worker, assignment, future))
        future.add_done_callback(lambda _: self._on_done())

    def take(self) -> list[tuple[Connection, Assignment, bytes | SlotError]]:
        """What is done: the worker, its assignment, and the data or why there is none."""
        found: list[tuple[Connection, Assignment, bytes | SlotError]] = []
        late: set[Connection] = set()
        for _ in range(len(self._waiting)):
            worker, assignment, future = entry = self._waiting.popleft()
            if worker in late or not future.done():
                late.add(worker)
                self._waiting.append(entry)
                continue
            error = future.exception()
            if error is None:
                found.append((worker, assignment, future.result()))
            else:
                reason = error if isinstance(error, SlotError) else SlotError(f"{type(error).__name__} in compressing")
                found.append((worker, assignment, reason))
        return found

    def close(self) -> None:
        """End the threads; what is not done is forgotten."""
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=True)


def compress(view: NDArray[Any], holds: Callable[[], bool], encoding: Encoding, quality: int) -> bytes:
    """Compress a slot's picture. Raises SlotError where it was overwritten meanwhile, or is too large."""
    data = encode(view, encoding, quality)
    if not holds():
        raise SlotError("the slot was overwritten while it was read")
    if len(data) > MAX_DATA_BYTES:
        raise SlotError(f"{len(data) >> 20} MB are more than is sent to another machine")
    return data
