"""A second, finer look at faces with a mesh: irises, gaze and blendshapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from bimodal.models.errors import ArtifactError
from bimodal.models.faces.mesh import Landmarks, square_of_points
from bimodal.models.session import Artifact

IRISES = 478
"""Points of a mesh with irises."""

# Centre of the iris, outer and inner corner, of the person's own right and left eye.
RIGHT_IRIS, LEFT_IRIS = (468, 33, 133), (473, 263, 362)
STRAIGHT = 0.25
"""How far above the line of its corners the iris of an eye sits that looks straight ahead, in radii of the eyeball: the
mean of four people on GRID and MEAD clips who look into the camera."""
EYEBALL = 0.4
"""Radius of an eyeball, 12 mm, over the length of an eye, 30 mm."""

NEUTRAL = "_neutral"
"""What the blendshape model calls the rest."""


class Details(NamedTuple):
    """What a finer look finds in a face.

    Attributes:
        points: mesh with irises, float32 [478, 3] in pixels of the frame, z in the scale of x.
        blend: blendshapes by name, 0…1.
    """

    points: NDArray[np.float32]
    blend: dict[str, float]


class FineLook:
    """Runs a landmark model with irises, and a blendshape model on its points.

    Args:
        landmarks: a face-landmarks artifact of 478 points.
        blendshapes: a face-blendshapes artifact.

    Raises ArtifactError where the landmark model has no irises.
    """

    def __init__(self, landmarks: Artifact, blendshapes: Artifact) -> None:
        count = next(tensor.shape[1] for tensor in landmarks.outputs if tensor.name == "points")
        if count != IRISES:
            raise ArtifactError(f"{landmarks.path} has no irises: blendshapes need a landmark model of {IRISES} points")
        self._landmarks = Landmarks(landmarks)
        self._blendshapes = blendshapes
        self._names = cast("tuple[str, ...]", blendshapes.metadata.labels)

    def __call__(self, frame: NDArray[np.uint8], meshes: Sequence[NDArray[np.float32] | None]) -> list[Details | None]:
        """Look at the faces of uint8 [H, W, 3] RGB whose mesh [468, 3] is known; None for the others."""
        seen = [mesh for mesh in meshes if mesh is not None]
        squares = [square_of_points(mesh, self._landmarks.geometry) for mesh in seen]
        found = iter(self._landmarks(frame, squares).points if seen else ())
        return [None if mesh is None else self._details(next(found)) for mesh in meshes]

    def _details(self, points: NDArray[np.float32]) -> Details:
        (values,) = self._blendshapes.run(points=points[None])["blendshapes"].tolist()
        blend = {
            name: min(1.0, max(0.0, value)) for name, value in zip(self._names, values, strict=True) if name != NEUTRAL
        }
        return Details(points, blend)


def gaze_of(points: NDArray[np.float32], rotation: NDArray[np.float64]) -> tuple[float, float]:
    """Direction of both eyes, as yaw and pitch in degrees with the signs of the head's (models/faces/pose.py).

    In the head's own frame, an iris that is off the middle of its eye's corners shows how far the eyeball is turned.

    Args:
        points: mesh float32 [478, 3] in pixels, z in the scale of x.
        rotation: of the head [3, 3], from `rotation_of`.
    """
    flipped = points[[*RIGHT_IRIS, *LEFT_IRIS]].astype(np.float64) * (1.0, -1.0, -1.0)
    own = flipped @ rotation
    turns = []
    for iris, outer, inner in (own[:3], own[3:]):
        length = max(math.dist(outer[:2], inner[:2]), 1e-6)
        across, up = ((iris - (outer + inner) / 2)[:2] / length / EYEBALL).tolist()
        turns.append((min(0.9, max(-0.9, across)), min(0.9, max(-0.9, up - STRAIGHT))))
    across, up = ((turns[0][place] + turns[1][place]) / 2 for place in (0, 1))
    direction = rotation @ np.array((across, up, math.sqrt(max(0.0, 1.0 - across**2 - up**2))))
    x, y, z = direction.tolist()
    return math.degrees(math.atan2(x, z)), math.degrees(math.asin(min(1.0, max(-1.0, y))))
