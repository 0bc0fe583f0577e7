"""The square that a landmark model looks at, and its points back in the frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from bimodal.models.faces.detector import Candidate, MeshGeometry, geometry_of
from bimodal.models.faces.resampling import Affine, stacked, warp
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


# What can be told of a face from its mesh and its crop without a network.


UPPER_LIP, LOWER_LIP = 13, 14
"""Middle of the inner lips in the 468-point mesh."""

RIGHT_EYE, LEFT_EYE = (33, 133), (362, 263)
"""Outer and inner corner of the person's right eye, inner and outer of the left."""

NOSE_TIP = 1

SHARPNESS_SIZE = 64
HALF_SHARP = 0.02
"""A face with this much detail is half sharp: blurred by a fiftieth of its width. Sharp ones have 0.2 to 0.5."""


def eye_distance(points: NDArray[np.float32]) -> float:
    """Distance of the eyes' middles in pixels, in space: turning the head does not shorten it.

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


def frontalness(points: NDArray[np.float32]) -> float:
    """How straight the face looks into the camera, sideways: 1 frontal, 0 profile.

    The nose tip's place between the outer corners of the eyes, along the line through them.
    """
    first, second = points[RIGHT_EYE[0], :2], points[LEFT_EYE[1], :2]
    way = second - first
    length = float(way @ way)
    if length < 1e-6:
        return 0.0
    place = float((points[NOSE_TIP, :2] - first) @ way) / length
    return float(np.clip(1 - 2 * abs(place - 0.5), 0.0, 1.0))


def sharpness(crop: NDArray[np.uint8]) -> float:
    """How sharp a crop is, 0…1, whatever its size, brightness and contrast.

    The variance of the Laplacian over the variance of the picture, at one size, squeezed into 0…1; 0 for a picture
    of one colour.

    Args:
        crop: uint8 [H, W, 3] RGB or [H, W] grey.
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY) if crop.ndim == 3 else crop
    grey = cv2.resize(grey, (SHARPNESS_SIZE, SHARPNESS_SIZE), interpolation=cv2.INTER_AREA)
    contrast = _variance(grey)
    if contrast < 1.0:
        return 0.0
    detail = _variance(cv2.Laplacian(grey, cv2.CV_16S, borderType=cv2.BORDER_REPLICATE)) / contrast
    return detail / (detail + HALF_SHARP)


def _middle(points: NDArray[np.float32], pair: tuple[int, int]) -> list[float]:
    return [
        (first + second) / 2 for first, second in zip(points[pair[0]].tolist(), points[pair[1]].tolist(), strict=True)
    ]


def _variance(grey: NDArray[Any]) -> float:
    return float(cv2.meanStdDev(grey)[1].item()) ** 2
