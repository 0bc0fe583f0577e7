"""Faces and sound of a video, cut out as the live workers cut them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from models.catalog import resolve
from models.contract import Crop
from models.faces.crop import crop_face
from models.faces.detections import Detections
from models.faces.detector import Detector
from models.faces.mesh import Landmarks, square_of_detection
from models.session import Artifact, open_artifact
from training.errors import DatasetError

HEIGHT = 720
"""Higher frames are scaled down to this first, as capture does."""
PRESENCE = 0.5
"""Score of the detector × presence of the mesh, below which a worker sees no face."""
INTERVAL_S = 0.2


class Cut(NamedTuple):
    """One face of a video: its moment, and uint8 [size, size, 3] RGB."""

    time_s: float
    face: NDArray[np.uint8]


class FaceCutter:
    """The largest face of a frame as the worker cuts it for one face-static model.

    Args:
        static: the opened face-static artifact whose crop is wanted.
    """

    def __init__(self, static: Artifact) -> None:
        self._detector = Detector(open_artifact(resolve("blazeface-short"), "face-detector", provider="cpu"))
        self._landmarks = Landmarks(open_artifact(resolve("facemesh-468"), "face-landmarks", provider="cpu"))
        self._crop = static.metadata.crop or Crop()
        side = static.inputs[0].shape[1]
        self.size = side if isinstance(side, int) else 112

    def __call__(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        """RGB [H, W, 3] → the face, or None. Looks closer where the whole frame shows none."""
        large = self._detector(frame)
        face = self._largest(frame, large)
        return face if face is not None else self._largest(frame, self._detector.look_closer(frame, large))

    def _largest(self, frame: NDArray[np.uint8], found: Detections) -> NDArray[np.uint8] | None:
        if not len(found):
            return None
        squares = [
            square_of_detection(box, points, self._landmarks.geometry)
            for box, points in zip(found.boxes, found.keypoints, strict=True)
        ]
        mesh = self._landmarks(frame, squares)
        areas = np.where(mesh.presence * found.scores >= PRESENCE, found.boxes[:, 2] * found.boxes[:, 3], 0)
        best = int(areas.argmax())
        return crop_face(frame, mesh.points[best], self._crop, self.size) if areas[best] > 0 else None


def cut_faces(path: Path, cutter: FaceCutter, interval_s: float = INTERVAL_S) -> Iterator[Cut]:
    """The face at each whole multiple of `interval_s`: that of the newest frame at or before it, as fusion takes it.

    Raises DatasetError where the file is missing or holds no picture.
    """
    for time_s, frame in _frames(path, interval_s):
        face = cutter(frame)
        if face is not None:
            yield Cut(time_s, face)


def _frames(path: Path, interval_s: float) -> Iterator[tuple[float, NDArray[np.uint8]]]:
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
