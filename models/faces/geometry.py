"""What a detector's and a landmark model's metadata say about their geometry (`geometry` in `metadata_props`)."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from bimodal.models.errors import ArtifactError
from bimodal.models.session import Artifact


class AnchorLayer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A square grid of `cells` × `cells` points with `repeats` anchors each; anchors are points, their size is 1."""

    cells: int
    repeats: int


class DetectorGeometry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How raw boxes of a single-shot detector are read (MediaPipe's TensorsToDetectionsCalculator).

    Attributes:
        size: side of the square input in pixels; the frame is scaled to fit, centred, and padded with black.
        scale: raw box and keypoint values are in units of 1 / scale of the input's side, relative to their anchor.
        anchors: grids in the order of the raw boxes, row by row.
        score_clip: raw scores are clipped to ± this before the sigmoid.
        suppression: boxes that overlap more than this (intersection over union) are one face.
        keypoints: names in the order of the raw values, "right" and "left" as the person's own.
    """

    size: int
    scale: float
    anchors: tuple[AnchorLayer, ...]
    score_clip: float
    suppression: float
    keypoints: tuple[str, ...]


class MeshGeometry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a face is cut out for a landmark model (MediaPipe's FaceDetectionFrontDetectionToRoi).

    Attributes:
        size: side of the square input in pixels.
        margin: side of the cut-out square over the longer side of the detection (or of the last points' box).
        eye_points: the two mesh points that are level in the cut-out, the one further left in it first.
    """

    size: int
    margin: float
    eye_points: tuple[int, int]


_G = TypeVar("_G", DetectorGeometry, MeshGeometry)


def geometry_of(artifact: Artifact, kind: type[_G]) -> _G:
    """The typed geometry of an artifact.

    Raises ArtifactError where its metadata hold something else.
    """
    try:
        return msgspec.convert(artifact.metadata.geometry, kind)
    except msgspec.ValidationError as error:
        raise ArtifactError(f"{artifact.path}: metadata 'geometry' is wrong: {error}") from error
