"""A camera by index or device path, and numbered pictures (`f_%04d.jpg`), both through OpenCV."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

# OpenCV reads both once, when it is loaded: no messages of its own, and no driver call that blocks for 10 s.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "3")

import cv2
import numpy as np
from numpy.typing import NDArray

from bimodal.workers.capture.device_io import put_until_closed, quiet_stderr
from bimodal.workers.capture.pixels import scaled_size
from bimodal.workers.capture.types import Picture, SourceInfo
from bimodal.workers.errors import SourceError

NANO = 1_000_000_000
SEQUENCE_FPS = 25.0
QUEUED = 2
POLL_S = 0.1
JOIN_S = 1.0

Grabbed = tuple[int, NDArray[np.uint8]]


class Camera:
    """An open camera that has delivered its first picture.

    A thread of its own reads the driver, so that a camera that hangs causes an error and does not block the process.
    If the caller is slower than the camera, the thread waits and the driver drops pictures.

    Attributes:
        info: size as the camera gives it; `live` is False for numbered pictures.
    """

    def __init__(
        self,
        source: int | str,
        *,
        anchor_ns: int = 0,
        max_height: int | None = None,
        size: tuple[int, int] | None = None,
        fps: float | None = None,
        silence_s: float = 5.0,
    ) -> None:
        """Open the camera and wait for its first picture.

        Args:
            source: an index, a device path (`/dev/video0`), or a pattern of numbered picture files.
            anchor_ns: the moment of the monotonic clock that is 0 on the stream's time line.
            size, fps: requested from the camera, which may deliver others; fps of numbered pictures: their frame rate.
            silence_s: seconds without a picture, at the start and later, after which it counts as lost.

        Raises SourceError if it can't be opened or delivers no picture.
        """
        self._source = int(source) if isinstance(source, str) and source.isdecimal() else source
        self._anchor_ns, self._max_height = anchor_ns, max_height
        self._wanted_size, self._wanted_fps, self._silence_s = size, fps, silence_s
        self._numbered = isinstance(self._source, str) and "%" in self._source
        self._name = f"camera {self._source}" if isinstance(self._source, int) else self._source
        self._queue: queue.Queue[Grabbed | SourceError | None] = queue.Queue(QUEUED)
        self._closed = threading.Event()
        self._fps = 0.0
        self._count = 0
        self._last_ns = -1
        self._thread = threading.Thread(target=self._read, name="camera", daemon=True)
        # A thread inside OpenCV while Python shuts down would abort the process.
        weakref.finalize(self, _end, self._closed, self._thread)
        self._thread.start()
        try:
            first = self._next()
            if first is None:
                raise SourceError(f"{self._name} holds no picture")
        except SourceError:
            self.close()
            raise
        self._first: Grabbed | None = first
        self.info = self._describe(first[1])

    # The caller's side.

    def pictures(self, stop: threading.Event) -> Iterator[Picture]:
        """Yield pictures until `stop` is set, or numbered pictures until their last.

        Times are the monotonic clock's at the grab, less the anchor; of numbered pictures, number / fps.
        Raises SourceError if the camera is unplugged or delivers nothing for `silence_s`.
        """
        grabbed, self._first = self._first, None
        while not stop.is_set() and not self._closed.is_set():
            grabbed = grabbed or self._next(stop)
            if grabbed is None:
                return
            yield self._picture(*grabbed)
            grabbed = None

    def close(self) -> None:
        """Release the camera; a thread stuck in the driver is abandoned."""
        _end(self._closed, self._thread)

    def __enter__(self) -> Camera:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _next(self, stop: threading.Event | None = None) -> Grabbed | None:
        """Wait for the next picture; None at the end of numbered ones or when stopped."""
        give_up = time.monotonic() + self._silence_s
        while time.monotonic() < give_up:
            if self._closed.is_set() or (stop is not None and stop.is_set()):
                return None
            try:
                found = self._queue.get(timeout=POLL_S)
            except queue.Empty:
                continue
            if isinstance(found, SourceError):
                raise found
            return found
        raise SourceError(f"{self._name} gave no picture for {self._silence_s:g} s; is it plugged in and free?")

    def _picture(self, grab_ns: int, bgr: NDArray[np.uint8]) -> Picture:
        pts_ns = grab_ns - self._anchor_ns
        if self._numbered:
            pts_ns = round(self._count * NANO / self._fps)
        self._count += 1
        self._last_ns = max(pts_ns, self._last_ns + 1)
        return Picture(self._last_ns, grab_ns, rgb_of(bgr, self._max_height), (bgr.shape[1], bgr.shape[0]))

    def _describe(self, bgr: NDArray[np.uint8]) -> SourceInfo:
        return SourceInfo(
            has_picture=True,
            has_sound=False,
            width=bgr.shape[1],
            height=bgr.shape[0],
            fps=self._fps,
            frames_estimate=None,
            duration_ns=None,
            sample_rate=0,
            live=not self._numbered,
            name=self._name,
        )

    # The camera's thread.

    def _read(self) -> None:
        """Open the camera and queue pictures until closed; queue None (end of numbered pictures) or the error last."""
        last: SourceError | None = None
        try:
            self._read_all(self._open())
        except SourceError as error:
            last = error
        except cv2.error as error:
            last = SourceError(f"{self._name} can't be read: {error}")
        self._put_until_closed(last)

    def _read_all(self, capture: Any) -> None:
        try:
            while not self._closed.is_set():
                grabbed = capture.grab()
                grab_ns = time.monotonic_ns()
                pixels = capture.retrieve()[1] if grabbed else None
                if pixels is not None:
                    self._put_until_closed((grab_ns, pixels))
                elif self._numbered:
                    return
                else:
                    raise SourceError(f"{self._name} stopped giving pictures; was it unplugged?")
        finally:
            capture.release()

    def _open(self) -> Any:
        if not self._numbered and isinstance(self._source, str) and not Path(self._source).is_char_device():
            raise SourceError(self._why_not())
        with quiet_stderr():
            capture = cv2.VideoCapture(self._source, cv2.CAP_IMAGES if self._numbered else cv2.CAP_ANY)
        if not capture.isOpened():
            raise SourceError(self._why_not())
        if self._numbered:
            self._fps = self._wanted_fps or SEQUENCE_FPS
            return capture
        width, height = self._wanted_size or (None, None)
        wanted = {
            cv2.CAP_PROP_FRAME_WIDTH: width,
            cv2.CAP_PROP_FRAME_HEIGHT: height,
            cv2.CAP_PROP_FPS: self._wanted_fps,
        }
        for name, value in wanted.items():
            if value is not None:
                capture.set(name, value)
        self._fps = max(0.0, float(capture.get(cv2.CAP_PROP_FPS)))
        return capture

    def _why_not(self) -> str:
        if self._numbered:
            return f"there are no pictures {self._name}"
        path = Path(f"/dev/video{self._source}" if isinstance(self._source, int) else self._source)
        if not path.exists() and (sys.platform == "linux" or isinstance(self._source, str)):
            return f"there is no camera {self._source} ({path} does not exist); see 'bimodal devices'"
        if path.is_file():
            return f"{self._source} is a file, not a camera: give it as 'file'"
        if path.exists() and not os.access(path, os.R_OK | os.W_OK):
            return f"{path} may not be opened: add this user to the group 'video'"
        return f"{self._name} can't be opened; is another program using it? See 'bimodal devices'"

    def _put_until_closed(self, item: Grabbed | SourceError | None) -> None:
        put_until_closed(item, self._queue, self._closed)


def _end(closed: threading.Event, thread: threading.Thread) -> None:
    closed.set()
    if thread.is_alive() and thread is not threading.current_thread():
        thread.join(JOIN_S)


def rgb_of(bgr: NDArray[np.uint8], max_height: int | None) -> NDArray[np.uint8]:
    """Convert OpenCV's BGR or grey picture to uint8 [H, W, 3] RGB, scaled down to `max_height`."""
    height, width = bgr.shape[:2]
    size = scaled_size(width, height, max_height)
    if size != (width, height):
        bgr = np.asarray(cv2.resize(bgr, size, interpolation=cv2.INTER_AREA), np.uint8)
    code = cv2.COLOR_GRAY2RGB if bgr.ndim == 2 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(bgr, code), np.uint8)
