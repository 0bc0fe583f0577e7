"""The square that a landmark model looks at, and its points back in the frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from bimodal.models.faces.detections import Candidate
from bimodal.models.faces.geometry import MeshGeometry, geometry_of
from bimodal.models.faces.warp import Affine, stacked, warp
from bimodal.models.session import Artifact


class Square(NamedTuple):
    """A turned square of the frame.

    Attributes:
        x, y: its centre in pixels.
        side: in pixels.
        angle: of its x axis against the frame's, in radians, clockwise on screen.
    """

    x: float
    y: float
    side: float
    angle: float

    def to_frame(self, size: int) -> Affine:
        """Affine 2×3 from pixels of a picture of `size` pixels, cut out of this square, to pixels of the frame."""
        step = self.side / size
        cos, sin = math.cos(self.angle) * step, math.sin(self.angle) * step
        half = size / 2
        return (cos, -sin, self.x - half * (cos - sin)), (sin, cos, self.y - half * (sin + cos))


class Mesh(NamedTuple):
    """Landmarks of F faces.

    Attributes:
        points: float32 [F, 468, 3]; x and y in pixels of the frame, z in the scale of x (nearer is smaller).
        presence: float32 [F], how sure the model is that it looks at a face, 0…1.
    """

    points: NDArray[np.float32]
    presence: NDArray[np.float32]


class Landmarks:
    """Finds the 468 mesh points of all faces of a frame in one run of a face-landmarks artifact.

    Raises ArtifactError where the artifact's geometry can't be read.
    """

    def __init__(self, artifact: Artifact) -> None:
        self.geometry = geometry_of(artifact, MeshGeometry)
        self._artifact = artifact

    def __call__(self, frame: NDArray[np.uint8], squares: Sequence[Square]) -> Mesh:
        """uint8 [H, W, 3] RGB and one square a face → the mesh of each."""
        if not squares:
            return Mesh(np.zeros((0, 468, 3), np.float32), np.zeros(0, np.float32))
        size = self.geometry.size
        found = self._artifact.run(faces=stacked([cut_out(frame, square, size) for square in squares]))
        points = [to_frame(one, square, size) for one, square in zip(found["points"], squares, strict=True)]
        return Mesh(stacked(points), found["presence"].reshape(-1))


def square_of_detection(face: Candidate, geometry: MeshGeometry) -> Square:
    """The square around a detected face, level with its eyes, which are its first two keypoints."""
    x, y, width, height, right_x, right_y, left_x, left_y = face.row[:8]
    angle = math.atan2(left_y - right_y, left_x - right_x)
    return Square(x + width / 2, y + height / 2, max(width, height) * geometry.margin, angle)


def square_of_points(points: NDArray[np.float32], geometry: MeshGeometry) -> Square:
    """The mesh points [468, 2 or 3] of a frame → the square to look at in the next, as MediaPipe follows a face."""
    flat = points[:, :2].T.copy()  # axis by axis: numpy finds extremes five times as fast along whole rows
    (left, top), (right, bottom) = flat.min(axis=1).tolist(), flat.max(axis=1).tolist()
    side = max(right - left, bottom - top) * geometry.margin
    first, second = geometry.eye_points
    return Square((left + right) / 2, (top + bottom) / 2, side, eye_angle(points[first], points[second]))


def eye_angle(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Angle in radians of the way from the eye further left in an upright picture to the other, clockwise."""
    return math.atan2(float(second[1] - first[1]), float(second[0] - first[0]))


def cut_out(frame: NDArray[np.uint8], square: Square, size: int) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] → uint8 [size, size, 3], bilinear; beyond the frame its edge goes on, as in MediaPipe."""
    return warp(frame, square.to_frame(size), size)


def to_frame(points: NDArray[np.float32], square: Square, size: int) -> NDArray[np.float32]:
    """Points [P, 3] in pixels of the cut-out → pixels of the frame; z scaled alike."""
    (cos, minus_sin, x), (sin, _, y) = square.to_frame(size)
    step = square.side / size
    affine = np.array(((cos, minus_sin, 0.0, x), (sin, cos, 0.0, y), (0.0, 0.0, step, 0.0)))
    return cv2.transform(points[:, None], affine)[:, 0]  # type: ignore[return-value]
