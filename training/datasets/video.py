"""Crop faces from videos as the live workers do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from bimodal.models.catalog import resolve
from bimodal.models.contract import Crop
from bimodal.models.faces.crop import crop_face
from bimodal.models.faces.locate import FaceLocator
from bimodal.models.session import Artifact, open_artifact
from bimodal.training.errors import DatasetError

HEIGHT = 720
"""Higher frames are first scaled down to this, as in capture."""
INTERVAL_S = 0.2
DEFAULT_SIDE = 112


class Cut(NamedTuple):
    """One face of a video: its time, and uint8 [size, size, 3] RGB."""

    time_s: float
    face: NDArray[np.uint8]


class FaceFinder:
    """Finds the mesh of the largest face of a frame, with the artifacts of the live worker."""

    def __init__(self) -> None:
        detector, landmarks = (open_artifact(resolve(name), provider="cpu") for name in ("yunet-n", "facemesh-468"))
        self._locate = FaceLocator(detector, landmarks)

    def __call__(self, frame: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """RGB [H, W, 3] → points float32 [468, 3] in its pixels, or None."""
        meshed = [one for one in self._locate(frame) if one.outline.points is not None]
        best = max(meshed, key=lambda one: one.face.row[2] * one.face.row[3], default=None)
        return None if best is None else best.outline.points


class FaceCutter:
    """Crops the largest face of a frame as the worker does for one face-static model.

    Args:
        static: the opened face-static artifact.
    """

    def __init__(self, static: Artifact) -> None:
        self._find = FaceFinder()
        self._crop = static.metadata.crop or Crop()
        self.size = side_of(static)

    def __call__(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        """RGB [H, W, 3] → the face, or None."""
        points = self._find(frame)
        return None if points is None else crop_face(frame, points, self._crop, self.size)


def side_of(static: Artifact) -> int:
    """Side of the crops for a face-static artifact in live use, in pixels."""
    side = static.inputs[0].shape[1]
    return side if isinstance(side, int) else DEFAULT_SIDE


def cut_faces(path: Path, cutter: FaceCutter, interval_s: float = INTERVAL_S) -> Iterator[Cut]:
    """Yield the face at each multiple of `interval_s`, of the newest frame at or before it, as in fusion.

    Raises DatasetError if the file is missing or holds no picture.
    """
    for time_s, frame in frames_of(path, interval_s):
        face = cutter(frame)
        if face is not None:
            yield Cut(time_s, face)


def frames_of(path: Path, interval_s: float = INTERVAL_S) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Yield (seconds, uint8 [H, W, 3] RGB) of the newest frame at each multiple of `interval_s`.

    Raises DatasetError as `cut_faces`.
    """
    newest: av.VideoFrame | None = None
    step = 0
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                while newest is not None and (frame.time or 0.0) > step * interval_s:
                    yield step * interval_s, _pixels(newest)
                    step += 1
                newest = frame
    except (av.FFmpegError, OSError, IndexError) as error:
        raise DatasetError(f"{path} can't be decoded: {error}") from error
    if newest is None:
        raise DatasetError(f"{path} holds no picture")
    yield step * interval_s, _pixels(newest)


def _pixels(frame: av.VideoFrame) -> NDArray[np.uint8]:
    pixels = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    if frame.height <= HEIGHT:
        return pixels
    width = round(frame.width * HEIGHT / frame.height)
    return np.asarray(cv2.resize(pixels, (width, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)
