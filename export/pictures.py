"""Real pictures as the detector and the mesh get to see them, to measure parity on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bimodal.export.errors import SourceModelError
from bimodal.export.from_mediapipe import DETECTOR_GEOMETRY, MESH_GEOMETRY
from bimodal.models.faces.detector import Detector
from bimodal.models.faces.mesh import cut_out, square_of_detection
from bimodal.models.faces.resampling import letterbox
from bimodal.models.session import open_artifact

Pictures = NDArray[np.uint8]


def read_picture(path: Path) -> Pictures:
    """uint8 [H, W, 3] RGB.

    Raises SourceModelError where the file is no picture.
    """
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise SourceModelError(f"{path} can't be read as a picture")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]


def detector_inputs(pictures: Sequence[Pictures]) -> Pictures:
    """uint8 [N, 128, 128, 3]."""
    size = DETECTOR_GEOMETRY.size
    return np.array([letterbox(picture, size) for picture in pictures], np.uint8).reshape(-1, size, size, 3)


def mesh_inputs(pictures: Sequence[Pictures], detector: Path) -> Pictures:
    """uint8 [N, 192, 192, 3]: every face that the detector artifact finds in the pictures."""
    size = MESH_GEOMETRY.size
    find = Detector(open_artifact(detector, "face-detector", provider="cpu"))
    faces = [
        cut_out(picture, square_of_detection(face, MESH_GEOMETRY), size)
        for picture in pictures
        for found in [find(picture)]
        for face in found.faces
    ]
    return np.array(faces, np.uint8).reshape(-1, size, size, 3)
