"""Geometry in the metadata of detectors and landmark models: how their inputs are cut and their outputs read."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, TypeVar

import msgspec

from bimodal.models.errors import ArtifactError
from bimodal.models.session import Artifact

Positive = Annotated[float, msgspec.Meta(gt=0)]
Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Names = Annotated[tuple[str, ...], msgspec.Meta(max_length=32)]


class AnchorLayer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A square grid of `cells` × `cells` points with `repeats` anchors each; anchors are points, their size is 1."""

    cells: int
    repeats: int


class SsdGeometry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters for decoding a single-shot detector's raw boxes (MediaPipe's TensorsToDetectionsCalculator).

    Attributes:
        size: side of the square input in pixels; the frame is scaled to fit, centred, and padded with black.
        scale: raw box and keypoint values are in units of 1 / scale of the input's side, relative to their anchor.
        anchors: grids in the order of the raw boxes, row by row.
        score_clip: raw scores are clipped to ± this before the sigmoid.
        suppression: boxes with a larger intersection over union are one face.
        keypoints: names in the order of the raw values; "right" and "left" are the person's own.
    """

    size: int
    scale: float
    anchors: tuple[AnchorLayer, ...]
    score_clip: float
    suppression: float
    keypoints: tuple[str, ...]

    @property
    def landmarks(self) -> tuple[float, float]:
        """Box around the landmarks relative to this detector's, as in GridGeometry: MediaPipe takes it as it is."""
        return 1.0, 0.0


class Grid(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A grid of cells over the input.

    Attributes:
        stride: side of a cell in pixels of the input.
        priors: the unit of each row of a cell in pixels; one row of the stride itself where left out.
    """

    stride: Annotated[int, msgspec.Meta(ge=1, le=1024)]
    priors: Annotated[tuple[Positive, ...], msgspec.Meta(max_length=16)] = ()

    @property
    def units(self) -> tuple[float, ...]:
        """The unit of each row of a cell, in pixels."""
        return self.priors or (float(self.stride),)


class GridGeometry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters for decoding detectors of any input size: rows for the cells of grids (YuNet, SCRFD, RetinaFace), or
    finished boxes (YOLO). Scores are probabilities.

    A row's keypoints are read as its centre is; with `corners` and `pixels` they are pixels of the input.

    Attributes:
        grids: in the order of the rows, each row by row of its cells; empty for `corners` and `pixels`.
        box: meaning of a row's first four values. `centre`: offset of the centre from the cell's anchor in units, then
            logarithms of width and height in units; `sides`: distances of the left, top, right and bottom edge from the
            anchor in units; `pixels`: centre, width and height in pixels of the input; `corners`: left, top, right,
            bottom in pixels of the input.
        offset: place of the anchor in its cell: 0 its corner, 0.5 its middle.
        variances: factors of offsets, and of logarithms (RetinaFace: 0.1 and 0.2).
        multiple: both sides of the input are multiples of this.
        smallest: side in pixels of the input of the smallest face that is found reliably.
        suppression: boxes with a larger intersection over union are one face.
        keypoints: names in the order of the row; "right" and "left" are the person's own.
        landmarks: box around the landmarks relative to this detector's: its side over the longer side, and how much
            lower its centre is, in longer sides. The values left out suit boxes as WIDER Face draws them.
    """

    grids: Annotated[tuple[Grid, ...], msgspec.Meta(max_length=16)] = ()
    box: Literal["centre", "sides", "pixels", "corners"] = "centre"
    offset: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    variances: tuple[Positive, Positive] = (1.0, 1.0)
    multiple: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 32
    smallest: Positive = 16.0
    suppression: Share = 0.3
    keypoints: Names = ()
    landmarks: tuple[Positive, float] = (0.9, 0.045)

    def __post_init__(self) -> None:
        if (self.box in ("centre", "sides")) != bool(self.grids):
            raise ValueError(f"box '{self.box}' {'needs grids' if not self.grids else 'has no grids'}")


class MeshGeometry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Geometry of the face crop for a landmark model (MediaPipe's FaceDetectionFrontDetectionToRoi).

    Attributes:
        size: side of the square input in pixels.
        margin: side of the square over the longer side of the detection (or of the last points' box).
        eye_points: the two mesh points that are level in the crop, the one further left in it first.
    """

    size: int
    margin: float
    eye_points: tuple[int, int]


DetectorGeometry: TypeAlias = "SsdGeometry | GridGeometry"

_G = TypeVar("_G", SsdGeometry, GridGeometry, MeshGeometry)


def detector_geometry(artifact: Artifact) -> DetectorGeometry:
    """Read the geometry of a face-detector artifact. Raises ArtifactError if its metadata are invalid."""
    if "anchors" in (artifact.metadata.geometry or {}):
        return geometry_of(artifact, SsdGeometry)
    return geometry_of(artifact, GridGeometry)


def geometry_of(artifact: Artifact, kind: type[_G]) -> _G:
    """Read the typed geometry of an artifact.

    Raises ArtifactError if its metadata are invalid.
    """
    try:
        return msgspec.convert(artifact.metadata.geometry, kind)
    except msgspec.ValidationError as error:
        raise ArtifactError(f"{artifact.path}: metadata 'geometry' is wrong: {error}") from error
