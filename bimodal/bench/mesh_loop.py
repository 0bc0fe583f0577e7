"""Detector and mesh in ONNX Runtime in a loop, as MediaPipe's FaceMesh works (`python -m bench.mesh_loop`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from bimodal.bench.looping import serve
from bimodal.models.faces.detector import Detector
from bimodal.models.faces.mesh import Landmarks, Square, square_of_detection, square_of_points
from bimodal.models.session import open_artifact

PRESENT = 0.5
"""FaceMesh's own least confidence, of detection and of following."""


class MeshOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What the loop works with.

    Attributes:
        frames: a .npy file, uint8 [N, H, W, 3] RGB.
        detector, landmarks: paths of artifacts.
        each_anew: detect in each frame (FaceMesh's `static_image_mode`); else the mesh of the frame before says where
            to look, until there is no face.
    """

    frames: str
    detector: str
    landmarks: str
    each_anew: bool


class FaceMesh:
    """One face at most, as it was measured against."""

    def __init__(self, order: MeshOrder) -> None:
        cv2.setNumThreads(1)
        self._frames: NDArray[np.uint8] = np.load(Path(order.frames), mmap_mode="r", allow_pickle=False)
        self._detector = Detector(
            open_artifact(order.detector, "face-detector", provider="cpu", threads=1), min_score=PRESENT
        )
        self._landmarks = Landmarks(open_artifact(order.landmarks, "face-landmarks", provider="cpu", threads=1))
        self._each_anew = order.each_anew
        self._square: Square | None = None
        self._seen = 0

    def look(self) -> int:
        """The next frame: how many faces there are, 0 or 1."""
        frame = self._frames[self._seen % len(self._frames)]
        self._seen += 1
        square = self._detect(frame) if self._each_anew or self._square is None else self._square
        self._square = None
        if square is None:
            return 0
        mesh = self._landmarks(frame, [square])
        if mesh.presence[0] < PRESENT:
            return 0
        self._square = square_of_points(mesh.points[0], self._landmarks.geometry)
        return 1

    def _detect(self, frame: NDArray[np.uint8]) -> Square | None:
        found = self._detector(frame)
        if not found.faces:
            return None
        return square_of_detection(max(found.faces, key=lambda face: face.score), self._landmarks.geometry)


def prepare(order: MeshOrder) -> Callable[[], int]:
    """What looks at one frame."""
    return FaceMesh(order).look


if __name__ == "__main__":
    serve(MeshOrder, prepare)
