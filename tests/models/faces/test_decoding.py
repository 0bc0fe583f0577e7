"""Raw outputs of detectors → boxes, for anchors and for grids."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.models.faces.decoding import anchor_rows, decode_anchors, decode_grids, make_anchors, make_cells
from bimodal.models.faces.detections import weighted_suppression
from bimodal.models.faces.geometry import AnchorLayer, Grid, GridGeometry, SsdGeometry
from bimodal.models.faces.resampling import Letterbox

LAYERS = (AnchorLayer(cells=16, repeats=2), AnchorLayer(cells=8, repeats=6))
GEOMETRY = SsdGeometry(
    size=128, scale=128.0, anchors=LAYERS, score_clip=100.0, suppression=0.3, keypoints=("a", "b", "c", "d", "e", "f")
)
YUNET = GridGeometry(grids=(Grid(stride=8), Grid(stride=16)), keypoints=("nose_tip",))


def test_anchors_are_those_of_the_short_range_detector() -> None:
    anchors = make_anchors(LAYERS)
    assert anchors.shape == (896, 2)
    np.testing.assert_allclose(anchors[0], (0.5 / 16, 0.5 / 16))
    np.testing.assert_allclose(anchors[2], (1.5 / 16, 0.5 / 16))  # x runs first, two a place
    np.testing.assert_allclose(anchors[512:518], np.full((6, 2), 0.5 / 8))
    np.testing.assert_allclose(anchors[-1], (7.5 / 8, 7.5 / 8))


def test_a_raw_box_is_read_relative_to_its_anchor() -> None:
    anchors = make_anchors(LAYERS)
    boxes, scores = np.zeros((896, 16), np.float32), np.full(896, -1000, np.float32)
    boxes[100, :4], boxes[100, 4:6], scores[100] = (8, -4, 32, 16), (1, 2), 3.0
    found = decode_anchors(boxes, scores, anchor_rows(GEOMETRY), GEOMETRY, Letterbox(10, 20, 0.5), 0.5)
    (face,) = found
    x, y = anchors[100] * 128
    assert face.row[:4] == pytest.approx(((x + 8 - 16) * 2 + 10, (y - 4 - 8) * 2 + 20, 64, 32))
    assert face.row[4:6] == pytest.approx(((x + 1) * 2 + 10, (y + 2) * 2 + 20))
    assert face.row[6:] == pytest.approx([x * 2 + 10, y * 2 + 20] * 5)
    assert face.score == pytest.approx(1 / (1 + np.exp(-3)))


def test_nothing_likely_is_an_empty_answer() -> None:
    raw = np.full(896, -np.float32(1e6))
    found = decode_anchors(
        np.zeros((896, 16), np.float32), raw, anchor_rows(GEOMETRY), GEOMETRY, Letterbox(0, 0, 1), 0.5
    )
    assert found == []
    assert len(weighted_suppression(found, 0.3)) == 0


@given(st.floats(0, 1), st.floats(-30, 30))
def test_a_score_is_enough_or_not_whatever_it_is_told_by(min_score: float, raw: float) -> None:
    scores = np.full(1, raw, np.float32)
    found = decode_anchors(
        np.zeros((1, 16), np.float32), scores, anchor_rows(GEOMETRY)[:1], GEOMETRY, Letterbox(0, 0, 1), min_score
    )
    assert len(found) == (1 / (1 + math.exp(-float(scores[0]))) >= min_score)


def test_cells_run_row_by_row_grid_by_grid() -> None:
    cells = make_cells(YUNET, 32, 16)
    assert len(cells.x) == 4 * 2 + 2 * 1
    assert cells.x[:5].tolist() == [0, 8, 16, 24, 0]
    assert cells.y[:5].tolist() == [0, 0, 0, 0, 8]
    assert cells.unit.tolist() == [8] * 8 + [16] * 2


def test_priors_are_rows_of_one_cell() -> None:
    cells = make_cells(GridGeometry(grids=(Grid(stride=8, priors=(16, 32)),), offset=0.5), 16, 8)
    assert cells.x.tolist() == [4, 4, 12, 12]
    assert cells.unit.tolist() == [16, 32, 16, 32]


def _one(geometry: GridGeometry, row: list[float], place: int, rows: int) -> list[float]:
    boxes, scores = np.zeros((rows, len(row)), np.float32), np.zeros(rows, np.float32)
    boxes[place], scores[place] = row, 0.9
    (found,) = decode_grids(boxes, scores, geometry, (32, 16), 0.5, 0.5)
    assert found.score == pytest.approx(0.9)
    return found.row


def test_centres_and_logarithms_are_in_units_of_the_cell() -> None:
    """As in OpenCV's FaceDetectorYN: centre (column + dx) · stride, side exp(d) · stride."""
    row = _one(YUNET, [0.5, 0.25, math.log(2), math.log(3), 1.0, -1.0], 6, 10)
    centre, sides = ((2 + 0.5) * 8, (1 + 0.25) * 8), (16, 24)
    assert row == pytest.approx(
        [(centre[0] - 8) * 2, (centre[1] - 12) * 2, sides[0] * 2, sides[1] * 2, (16 + 8) * 2, (8 - 8) * 2], abs=1e-4
    )


def test_sides_are_distances_from_the_cells_corner() -> None:
    """As in InsightFace's SCRFD: distance2bbox of multiples of the stride."""
    geometry = GridGeometry(grids=(Grid(stride=8, priors=(8, 8)),), box="sides")
    row = _one(geometry, [1.0, 0.5, 2.0, 1.5], 3, 16)  # the second row of the second cell
    assert row == pytest.approx([(8 - 8) * 2, (0 - 4) * 2, (8 + 16) * 2, (4 + 12) * 2])


def test_variances_scale_offsets_and_logarithms() -> None:
    """As in RetinaFace: prior + loc · variance · size, size · exp(loc · variance)."""
    geometry = GridGeometry(grids=(Grid(stride=16, priors=(32,)),), offset=0.5, variances=(0.1, 0.2))
    row = _one(geometry, [1.0, 0.0, math.log(2) / 0.2, 0.0], 1, 2)
    assert row == pytest.approx([(24 + 3.2 - 32) * 2, (8 - 16) * 2, 64 * 2, 32 * 2], rel=1e-5)


@pytest.mark.parametrize(("form", "row"), [("pixels", [10, 8, 4, 6]), ("corners", [8, 5, 12, 11])])
def test_finished_boxes_are_pixels_of_the_input(form: str, row: list[float]) -> None:
    geometry = GridGeometry(box=form)  # type: ignore[arg-type]
    assert _one(geometry, row, 1, 3) == pytest.approx([16, 10, 8, 12])


@given(st.floats(-(2.0**100), 2.0**100, width=32), st.floats(-(2.0**100), 2.0**100, width=32))
def test_wild_rows_are_no_faces_and_no_errors(offset: float, logarithm: float) -> None:
    boxes = np.full((10, 6), offset, np.float32)
    boxes[:, 2:4] = logarithm
    with np.errstate(all="ignore"):
        found = decode_grids(boxes, np.ones(10, np.float32), YUNET, (32, 16), 1.0, 0.5)
    assert all(math.isfinite(sum(one.row)) and min(one.row[2:4]) > 0 for one in found)


def test_grids_and_form_belong_together() -> None:
    for wrong in ({"box": "centre"}, {"box": "pixels", "grids": (Grid(stride=8),)}):
        with pytest.raises(ValueError, match="grids"):
            GridGeometry(**wrong)  # type: ignore[arg-type]
