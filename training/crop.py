"""How a data set frames its faces, so that live faces can be cut out alike: `python -m training.crop FOLDER`.

Runs the detector and the mesh over pictures of FER2013's split `train` and prints what the `crop` of a face-static
model trained on them should be: the square around a face that its 48×48 picture is.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bimodal.models.faces.crop import EYE_CORNERS
from bimodal.models.faces.detector import Detector
from bimodal.models.faces.mesh import Landmarks, square_of_detection
from bimodal.models.session import open_artifact
from bimodal.training.datasets.fer2013 import SIDE, load_fer2013
from bimodal.training.errors import DatasetError
from bimodal.training.evaluate import find_model

ENLARGED = 192
BORDER = 96
LEVEL_DEGREES = 10.0
PRESENCE = 0.5


@dataclass(frozen=True)
class Framing:
    """How pictures frame their faces; medians, and quartiles of the scale.

    Attributes:
        faces: in how many pictures a face was found.
        scale: side of the picture over the longer side of the box of the mesh points.
        shift_x, shift_y: centre of the picture minus centre of the box, in box widths and heights, right and down.
        scale_quartiles: of `scale`.
        roll_deviation: standard deviation of the angle of the line through the eyes, in degrees.
    """

    faces: int
    scale: float
    shift_x: float
    shift_y: float
    scale_quartiles: tuple[float, float]
    roll_deviation: float


def learn_framing(points: NDArray[np.floating], eyes: NDArray[np.floating], side: float) -> Framing:
    """Mesh points float [N, 468, 2] and eyes float [N, 2, 2] (left in the picture first), in pixels → framing.

    Scale and shifts come from faces that stand nearly level, whose box does not depend on the roll; the roll from all.
    Raises DatasetError where no face stands within 10° of level.
    """
    line = eyes[:, 1] - eyes[:, 0]
    roll = np.degrees(np.arctan2(line[:, 1], line[:, 0]))
    level = points[np.abs(roll) < LEVEL_DEGREES]
    if not len(level):
        raise DatasetError("no picture shows a face that is nearly level, so there is no framing to learn")
    low, high = level.min(axis=1), level.max(axis=1)
    size, centre = high - low, (low + high) / 2
    scale = side / size.max(axis=1)
    shift = (side / 2 - centre) / size
    quartiles = np.percentile(scale, [25, 75])
    return Framing(
        faces=len(points),
        scale=float(np.median(scale)),
        shift_x=float(np.median(shift[:, 0])),
        shift_y=float(np.median(shift[:, 1])),
        scale_quartiles=(float(quartiles[0]), float(quartiles[1])),
        roll_deviation=float(roll.std()),
    )


def enlarge(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey [S, S] or RGB [S, S, 3] → RGB [384, 384, 3] with its border repeated, so that a detector sees a whole head.

    A picture of more than 192 pixels keeps its size and gets half of it as border.
    """
    side = max(ENLARGED, len(picture))
    large = cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC) if len(picture) < side else picture
    border = side * BORDER // ENLARGED
    framed = cv2.copyMakeBorder(large, border, border, border, border, cv2.BORDER_REPLICATE)
    return np.asarray(framed if framed.ndim == 3 else np.repeat(framed[..., None], 3, axis=2), dtype=np.uint8)


def to_picture(points: NDArray[np.floating], side: int) -> NDArray[np.float64]:
    """Places in an enlarged picture → places in the picture itself, in its pixels."""
    return (np.asarray(points, dtype=np.float64) - BORDER) * side / ENLARGED


class Finder:
    """The mesh of the face of a picture, by the detector and landmark artifacts that live workers use."""

    def __init__(self) -> None:
        self._detector = Detector(open_artifact(find_model("blazeface-short"), "face-detector", provider="cpu"))
        self._landmarks = Landmarks(open_artifact(find_model("facemesh-468"), "face-landmarks", provider="cpu"))

    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """RGB [H, W, 3] → points float32 [468, 3] of the surest face in its pixels, or None."""
        found = self._detector(picture)
        if not found.faces:
            return None
        square = square_of_detection(found.faces[0], self._landmarks.geometry)
        mesh = self._landmarks(picture, [square])
        return mesh.points[0] if mesh.presence[0] >= PRESENCE else None


def framing_of(pictures: NDArray[np.uint8], finder: Finder) -> Framing:
    """Grey pictures [N, 48, 48] → how they frame their faces. Raises DatasetError where no face is found."""
    found = [points for picture in pictures if (points := finder(enlarge(picture))) is not None]
    if not found:
        raise DatasetError("no face was found in any picture, so there is no framing to learn")
    places = to_picture(np.stack(found)[:, :, :2], SIDE)
    return learn_framing(places, places[:, list(EYE_CORNERS)], SIDE)


if __name__ == "__main__":
    training = load_fer2013(Path(sys.argv[1]), "train")
    print(framing_of(training.pictures[:: max(1, len(training) // 1000)], Finder()))
