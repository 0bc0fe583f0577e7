"""Meshes are found again in a film's pictures, at any size of them, wherever the box of the event is a little off."""

from __future__ import annotations

import cv2
import msgspec
import numpy as np
import pytest

from bimodal.broker.events import FaceMeasures, TrackedFace
from bimodal.models.catalog import resolve
from bimodal.models.faces.locate import FaceLocator
from bimodal.models.faces.mesh import eye_distance
from bimodal.models.session import open_artifact
from bimodal.workers.film.meshes import MeshFinder
from tests.drawing.making import event, face
from tests.media import scene


def test_the_mesh_of_the_event_is_found_again() -> None:
    pixels = scene(1, 0.0)
    height, width = pixels.shape[:2]
    locate = FaceLocator(open_artifact(resolve("yunet-n")), open_artifact(resolve("facemesh-468")))
    (found,) = locate(pixels)
    points = found.outline.points
    assert points is not None

    def seen(box: list[float]) -> TrackedFace:
        one = face(1, tuple(round(side) for side in box))  # type: ignore[arg-type]
        return msgspec.structs.replace(one, face=FaceMeasures(eye_distance=eye_distance(points), roll_deg=0.0))

    box = list(found.face.row[:4])
    off = [box[0] + 0.1 * box[2], box[1] - 0.05 * box[3], 0.85 * box[2], 0.9 * box[3]]
    finder = MeshFinder(resolve("facemesh-478"))
    for one in (seen(box), seen(off)):
        mesh, none = finder(pixels, event([one, face(2, (0, 0, 40, 40))], size=(width, height)))
        assert none is None, "a face that had no mesh"
        assert mesh is not None
        assert mesh.shape == (478, 3)
        assert np.abs(mesh[[33, 263, 1], :2] - points[[33, 263, 1], :2]).max() < 0.06 * box[2]
    small = cv2.resize(pixels, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    (mesh,) = finder(np.asarray(small, np.uint8), event([seen(box)], size=(width, height)))
    assert mesh is not None
    assert 2 * mesh[1, :2] == pytest.approx(points[1, :2], abs=0.06 * box[2])
