"""Meshes of the faces in a film's pictures: found again in each picture, since events hold none."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bimodal.broker.events import Emotion, TrackedFace
from bimodal.drawing.style import Pixels
from bimodal.models.faces.mesh import Landmarks, square_of_points
from bimodal.models.faces.resampling import Square
from bimodal.models.session import open_artifact

LEAST_PRESENCE = 0.5


class MeshFinder:
    """Finds the mesh of each face of an event that had one when it was analysed.

    Twice: in a square around its box, then in the one around the mesh of the first time, as when a face is followed.

    Args:
        landmarks: path of a face-landmarks artifact.

    Raises ArtifactError where it can't be used.
    """

    def __init__(self, landmarks: str | Path) -> None:
        # On the CPU in one thread, so that inference keeps cores and graphics memory.
        self._landmarks = Landmarks(open_artifact(landmarks, "face-landmarks", provider="cpu"))

    def __call__(self, pixels: Pixels, event: Emotion) -> list[NDArray[np.float32] | None]:
        """Find the meshes in uint8 [H, W, 3] RGB, the event's picture at any size.

        Returns float32 [468 or 478, 3] in pixels of this picture for each of the event's faces; None for one whose
        mesh is not known, or not found.
        """
        height, width = pixels.shape[:2]
        across, down = (1.0, 1.0) if event.size is None else (width / event.size[0], height / event.size[1])
        geometry = self._landmarks.geometry
        squares = {
            place: _square(face, across, down, geometry.margin)
            for place, face in enumerate(event.faces)
            if face.face is not None and face.face.eye_distance is not None
        }
        first = self._landmarks(pixels, list(squares.values())).points
        again = self._landmarks(pixels, [square_of_points(points, geometry) for points in first])
        found: list[NDArray[np.float32] | None] = [None] * len(event.faces)
        for place, points, presence in zip(squares, again.points, again.presence.tolist(), strict=True):
            found[place] = points if presence >= LEAST_PRESENCE else None
        return found


def _square(face: TrackedFace, across: float, down: float, margin: float) -> Square:
    x, y, width, height = face.box
    side = max(1.0, width * across, height * down) * margin
    roll = 0.0 if face.face is None else face.face.roll_deg or 0.0
    return Square((x + width / 2) * across, (y + height / 2) * down, side, math.radians(roll))
