"""Face landmarks: crops for a landmark model, its points in the frame, and measures of the mesh."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from bimodal.models.faces.geometry import MeshGeometry, geometry_of
from bimodal.models.faces.resampling import Square, stacked, warp
from bimodal.models.session import Artifact


class Mesh(NamedTuple):
    """Landmarks of F faces.

    Attributes:
        points: float32 [F, 468, 3]; x and y in pixels of the frame, z in the scale of x (nearer is smaller).
        presence: float32 [F], confidence of the model that the crop shows a face, 0…1.
    """

    points: NDArray[np.float32]
    presence: NDArray[np.float32]


class Landmarks:
    """Finds the 468 mesh points of all faces of a frame in one run of a face-landmarks artifact.

    Raises ArtifactError if the artifact's geometry is invalid.
    """

    def __init__(self, artifact: Artifact) -> None:
        self.geometry = geometry_of(artifact, MeshGeometry)
        self._artifact = artifact

    def __call__(self, frame: NDArray[np.uint8], squares: Sequence[Square]) -> Mesh:
        """Find the mesh of each face in uint8 [H, W, 3] RGB, given one square per face."""
        if not squares:
            return Mesh(np.zeros((0, 468, 3), np.float32), np.zeros(0, np.float32))
        size = self.geometry.size
        found = self._artifact.run(faces=stacked([cut_out(frame, square, size) for square in squares]))
        points = [to_frame(one, square, size) for one, square in zip(found["points"], squares, strict=True)]
        return Mesh(stacked(points), found["presence"].reshape(-1))


def square_of_points(points: NDArray[np.float32], geometry: MeshGeometry) -> Square:
    """The square for the next frame around the mesh points [468, 2 or 3] of this one, as in MediaPipe's tracking."""
    flat = points[:, :2].T.copy()  # one row per axis: numpy finds extremes five times as fast along rows
    (left, top), (right, bottom) = flat.min(axis=1).tolist(), flat.max(axis=1).tolist()
    side = max(right - left, bottom - top) * geometry.margin
    first, second = geometry.eye_points
    return Square((left + right) / 2, (top + bottom) / 2, side, eye_angle(points[first], points[second]))


def eye_angle(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """The angle in radians, clockwise, of the line from the eye further left in an upright picture to the other."""
    return math.atan2(float(second[1] - first[1]), float(second[0] - first[0]))


def cut_out(frame: NDArray[np.uint8], square: Square, size: int) -> NDArray[np.uint8]:
    """Crop uint8 [H, W, 3] to uint8 [size, size, 3], bilinear; the edge repeats beyond the frame, as in MediaPipe."""
    return warp(frame, square.to_frame(size), size)


def to_frame(points: NDArray[np.float32], square: Square, size: int) -> NDArray[np.float32]:
    """Transform points [P, 3] from pixels of the crop to pixels of the frame; z is scaled likewise."""
    (cos, minus_sin, x), (sin, _, y) = square.to_frame(size)
    step = square.side / size
    affine = np.array(((cos, minus_sin, 0.0, x), (sin, cos, 0.0, y), (0.0, 0.0, step, 0.0)))
    return cv2.transform(points[:, None], affine)[:, 0]  # type: ignore[return-value]


# Measures of the mesh

# Middle of the inner lips in the 468-point mesh.
UPPER_LIP, LOWER_LIP = 13, 14
# Outer and inner corner of the person's right eye, inner and outer of the left.
RIGHT_EYE, LEFT_EYE = (33, 133), (362, 263)
NOSE_TIP = 1
# The corners of an eye, and two pairs of points on its upper and lower lid.
Lids: TypeAlias = "tuple[int, int, int, int, int, int]"
RIGHT_LIDS: Lids = (33, 133, 160, 144, 158, 153)
LEFT_LIDS: Lids = (263, 362, 387, 373, 385, 380)


def eye_distance(points: NDArray[np.float32]) -> float:
    """Distance of the eyes' centres in pixels, in 3-D: turning the head does not shorten it.

    Args:
        points: mesh float32 [468, 3].
    """
    return math.dist(_middle(points, RIGHT_EYE), _middle(points, LEFT_EYE))


def mouth_opening(points: NDArray[np.float32]) -> float:
    """Gap between the inner lips over the distance of the eyes: 0 closed, about 0.5 wide open.

    Args:
        points: mesh float32 [468, 3].
    """
    gap = math.dist(points[UPPER_LIP].tolist(), points[LOWER_LIP].tolist())
    return gap / max(eye_distance(points), 1e-6)


def eye_opening(points: NDArray[np.float32], eye: Lids) -> float:
    """Mean gap between the lids over the length of the eye, in 3-D: about 0.3 open, below 0.15 closed.

    The eye aspect ratio of Soukupová and Čech, "Real-time eye blink detection using facial landmarks" (2016).
    """
    outer, inner, above, below, above_too, below_too = points[list(eye)].tolist()
    gaps = math.dist(above, below) + math.dist(above_too, below_too)
    return gaps / max(2.0 * math.dist(outer, inner), 1e-6)


def frontalness(points: NDArray[np.float32]) -> float:
    """Frontalness of the face, horizontally: 1 frontal, 0 profile.

    It is the position of the nose tip between the outer corners of the eyes, along the line through them.
    """
    first, second = points[RIGHT_EYE[0], :2], points[LEFT_EYE[1], :2]
    way = second - first
    length = float(way @ way)
    if length < 1e-6:
        return 0.0
    place = float((points[NOSE_TIP, :2] - first) @ way) / length
    return float(np.clip(1 - 2 * abs(place - 0.5), 0.0, 1.0))


def _middle(points: NDArray[np.float32], pair: tuple[int, int]) -> list[float]:
    return [
        (first + second) / 2 for first, second in zip(points[pair[0]].tolist(), points[pair[1]].tolist(), strict=True)
    ]
