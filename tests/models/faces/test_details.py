"""Gaze of made irises, and a finer look at a face with the models that ship."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bimodal.models.catalog import resolve
from bimodal.models.errors import ArtifactError
from bimodal.models.faces.details import EYEBALL, LEFT_IRIS, RIGHT_IRIS, STRAIGHT, FineLook, gaze_of
from bimodal.models.faces.locate import FaceLocator
from bimodal.models.faces.units import BLENDSHAPES
from bimodal.models.session import open_artifact
from tests.models.faces.test_pose import rotation
from tests.workers.face.test_pipeline import frames


def eyes(turned: NDArray[np.float64], yaw: float, pitch: float) -> NDArray[np.float32]:
    """A mesh of a turned head whose eyes, 30 pixels long, look yaw and pitch degrees off its own direction."""
    own = np.zeros((478, 3))
    across, up = math.sin(math.radians(yaw)) * math.cos(math.radians(pitch)), math.sin(math.radians(pitch))
    for x, (iris, outer, inner) in ((-45.0, RIGHT_IRIS), (45.0, LEFT_IRIS)):
        side = -1 if x < 0 else 1
        own[outer], own[inner] = (x + side * 15, 0, 0), (x - side * 15, 0, 0)
        own[iris] = (x + 30 * EYEBALL * across, 30 * EYEBALL * (up + STRAIGHT), 0)
    points: NDArray[np.float32] = ((own @ turned.T) * (1, -1, -1)).astype(np.float32)
    return points


@pytest.mark.parametrize("head", [(0, 0, 0), (30, -10, 15)])
@pytest.mark.parametrize("look", [(0, 0), (20, 0), (-20, 10), (0, -15)])
def test_gaze_is_the_heads_direction_and_that_of_the_eyes_in_it(
    head: tuple[float, float, float], look: tuple[float, float]
) -> None:
    turned = rotation(*head)
    x, y, z = turned @ rotation(look[0], look[1], 0) @ np.array((0, 0, 1.0))
    wanted = (math.degrees(math.atan2(x, z)), math.degrees(math.asin(y)))
    assert gaze_of(eyes(turned, *look), turned) == pytest.approx(wanted, abs=1.0)


def test_a_landmark_model_without_irises_is_refused() -> None:
    with pytest.raises(ArtifactError, match="478"):
        FineLook(
            open_artifact(resolve("facemesh-468"), provider="cpu"),
            open_artifact(resolve("face-blendshapes"), provider="cpu"),
        )


@pytest.mark.shared
def test_a_smile_is_a_smile(shared: Path) -> None:
    names = ("yunet-n", "facemesh-468", "facemesh-478", "face-blendshapes")
    detector, landmarks, irises, blendshapes = (open_artifact(resolve(name), provider="cpu") for name in names)
    locate, look = FaceLocator(detector, landmarks), FineLook(irises, blendshapes)
    smiles = []
    for clip in ("mead_M003_happy.mp4", "mead_W015_neutral.mp4"):
        picture = next(frames(shared / "data/clips" / clip, 60))
        (found,) = locate(picture)
        (details, nothing) = look(picture, [found.outline.points, None])
        assert nothing is None
        assert details is not None
        assert set(details.blend) == set(BLENDSHAPES)
        assert np.abs(details.points[:468, :2] - found.outline.points[:, :2]).mean() < 0.05 * found.face.row[2]
        smiles.append(details.blend["mouthSmileLeft"])
    assert smiles[0] > 0.3 > smiles[1]
