"""Anchors, letterbox, decoding, joining and tiles: the arithmetic around the detector."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bimodal.models.catalog import resolve
from bimodal.models.faces.detector import (
    OVERLAP,
    AnchorLayer,
    Candidate,
    Detections,
    Detector,
    DetectorGeometry,
    Tile,
    anchor_rows,
    cut_off,
    decode,
    geometry_of,
    make_anchors,
    make_tiles,
    overlap,
    weighted_suppression,
)
from bimodal.models.faces.resampling import Letterbox, fit, letterbox
from bimodal.models.session import open_artifact

SIDES = st.integers(16, 3000)
LAYERS = (AnchorLayer(cells=16, repeats=2), AnchorLayer(cells=8, repeats=6))
GEOMETRY = DetectorGeometry(
    size=128, scale=128.0, anchors=LAYERS, score_clip=100.0, suppression=0.3, keypoints=("a", "b", "c", "d", "e", "f")
)


def _found(boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> Detections:
    keypoints = np.repeat((boxes[:, None, :2] + boxes[:, None, 2:] / 2), 6, axis=1)
    rows = np.concatenate([boxes, keypoints.reshape(len(boxes), 12)], axis=1).tolist()
    return Detections([Candidate(score, row) for score, row in zip(scores.tolist(), rows, strict=True)])


@st.composite
def detections(draw: st.DrawFn) -> Detections:
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(0, 30))
    boxes = np.concatenate([random.uniform(0, 300, (count, 2)), random.uniform(5, 150, (count, 2))], axis=1)
    return _found(boxes.astype(np.float32), random.uniform(0.5, 1, count).astype(np.float32))


def test_anchors_are_those_of_the_short_range_detector() -> None:
    anchors = make_anchors(LAYERS)
    assert anchors.shape == (896, 2)
    np.testing.assert_allclose(anchors[0], (0.5 / 16, 0.5 / 16))
    np.testing.assert_allclose(anchors[2], (1.5 / 16, 0.5 / 16))  # x runs first, two a place
    np.testing.assert_allclose(anchors[512:518], np.full((6, 2), 0.5 / 8))
    np.testing.assert_allclose(anchors[-1], (7.5 / 8, 7.5 / 8))


@given(SIDES, SIDES, st.integers(0, 500), st.integers(0, 500))
def test_letterbox_holds_the_whole_rectangle_centred(width: int, height: int, left: int, top: int) -> None:
    place = fit(left, top, width, height, 128)
    start, end, centre = (np.array((place.left, place.top)) + at / place.factor for at in (0, 128, 64))
    np.testing.assert_allclose(centre, (left + width / 2, top + height / 2), atol=0.01)
    assert start[0] <= left + 0.01
    assert start[1] <= top + 0.01
    assert max(end - start) == pytest.approx(max(width, height), rel=1e-4)


def test_letterbox_pads_with_black_and_keeps_the_picture() -> None:
    square = letterbox(np.full((50, 100, 3), 200, np.uint8), 128)
    assert square.shape == (128, 128, 3)
    assert (square[40:88, 4:124] == 200).all()
    assert (square[:30] == 0).all()
    assert (square[98:] == 0).all()


def test_a_raw_box_is_read_relative_to_its_anchor() -> None:
    anchors = make_anchors(LAYERS)
    boxes, scores = np.zeros((896, 16), np.float32), np.full(896, -1000, np.float32)
    boxes[100, :4], boxes[100, 4:6], scores[100] = (8, -4, 32, 16), (1, 2), 3.0
    found = decode(boxes, scores, anchor_rows(GEOMETRY), GEOMETRY, Letterbox(10, 20, 0.5), 0.5)
    (face,) = found
    x, y = anchors[100] * 128
    assert face.row[:4] == pytest.approx(((x + 8 - 16) * 2 + 10, (y - 4 - 8) * 2 + 20, 64, 32))
    assert face.row[4:6] == pytest.approx(((x + 1) * 2 + 10, (y + 2) * 2 + 20))
    assert face.row[6:] == pytest.approx([x * 2 + 10, y * 2 + 20] * 5)
    assert face.score == pytest.approx(1 / (1 + np.exp(-3)))


def test_nothing_likely_is_an_empty_answer() -> None:
    raw = np.full(896, -np.float32(1e6))
    found = decode(np.zeros((896, 16), np.float32), raw, anchor_rows(GEOMETRY), GEOMETRY, Letterbox(0, 0, 1), 0.5)
    assert found == []
    assert len(weighted_suppression(found, 0.3)) == 0


@given(st.floats(0, 1), st.floats(-30, 30))
def test_a_score_is_enough_or_not_whatever_it_is_told_by(min_score: float, raw: float) -> None:
    scores = np.full(1, raw, np.float32)
    found = decode(
        np.zeros((1, 16), np.float32), scores, anchor_rows(GEOMETRY)[:1], GEOMETRY, Letterbox(0, 0, 1), min_score
    )
    assert len(found) == (1 / (1 + math.exp(-float(scores[0]))) >= min_score)


@given(detections())
@settings(deadline=None)
def test_overlaps_are_symmetric_shares(found: Detections) -> None:
    boxes = [candidate.row for candidate in found.faces]
    for box, other in itertools.product(boxes, boxes):
        assert overlap(box, other) == overlap(other, box)
        assert 0 <= overlap(box, other) <= 1 + 1e-9
    assert [overlap(box, box) for box in boxes] == pytest.approx([1] * len(boxes))


def test_boxes_that_share_a_third_or_nothing() -> None:
    assert overlap((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 10, 10), (10, 0, 10, 10)) == 0
    assert overlap((0, 0, 10, 10), (-20, -20, 10, 10)) == 0
    assert overlap((3, 3, 0, 0), (3, 3, 0, 0)) == 0


@given(detections(), st.floats(0.1, 0.9))
@settings(deadline=None)
def test_joining_keeps_the_best_and_stays_within_what_was_found(found: Detections, threshold: float) -> None:
    kept = weighted_suppression(found.faces, threshold)
    assert len(kept) <= len(found)
    assert (np.diff(kept.scores) <= 0).all()
    assert set(kept.scores.tolist()) <= set(found.scores.tolist())
    if len(found):
        assert kept.scores[0] == found.scores.max()
        assert kept.boxes[:, :2].min() >= found.boxes[:, :2].min() - 0.01
        right_eyes = np.array([face.row[4:6] for face in kept.faces])
        np.testing.assert_allclose(right_eyes, kept.boxes[:, :2] + kept.boxes[:, 2:] / 2, atol=0.05)


@given(detections())
@settings(deadline=None)
def test_faces_apart_are_left_as_they_are(found: Detections) -> None:
    apart = found.boxes.copy()
    apart[:, 0] += np.arange(len(found), dtype=np.float32) * 1000
    kept = weighted_suppression(_found(apart, found.scores).faces, 0.3)
    assert len(kept) == len(found)


def test_two_looks_at_one_face_become_their_weighted_mean() -> None:
    boxes = np.array([[0, 0, 100, 100], [10, 0, 100, 100]], np.float32)
    kept = weighted_suppression(_found(boxes, np.array([0.6, 0.9], np.float32)).faces, 0.3)
    np.testing.assert_allclose(kept.boxes, [[6, 0, 100, 100]], rtol=1e-5)
    np.testing.assert_allclose(kept.scores, [0.9])


@given(SIDES, SIDES)
def test_tiles_cover_the_frame_and_overlap(width: int, height: int) -> None:
    tiles = make_tiles(width, height)
    for start, length, of in (("left", "width", width), ("top", "height", height)):
        starts = sorted({getattr(tile, start) for tile in tiles})
        side = getattr(tiles[0], length)
        assert starts[0] == 0
        assert starts[-1] + side == of
        assert all(after - before <= side * (1 - OVERLAP) + 1 for before, after in itertools.pairwise(starts))


def test_boxes_at_inner_edges_of_a_tile_are_cut_off() -> None:
    boxes = ((0, 50, 20, 20), (85, 50, 20, 20), (40, 40, 20, 20))
    assert [cut_off(box, Tile(0, 0, 100, 100), 300, 100) for box in boxes] == [False, True, False]


def test_shipped_detector_says_the_geometry_that_the_decoding_needs() -> None:
    artifact = open_artifact(resolve("blazeface-short"), "face-detector", provider="cpu")
    geometry = geometry_of(artifact, DetectorGeometry)
    assert artifact.inputs[0].shape == (1, geometry.size, geometry.size, 3)
    assert artifact.outputs[0].shape == (1, len(make_anchors(geometry.anchors)), 4 + 2 * len(geometry.keypoints))


@pytest.mark.parametrize("shape", [(48, 64, 3), (7, 300, 3), (1, 1, 3)])
def test_an_empty_scene_has_no_face(shape: tuple[int, int, int]) -> None:
    detector = Detector(open_artifact(resolve("blazeface-short"), provider="cpu"))
    frame = np.full(shape, 127, np.uint8)
    large = detector(frame)
    assert len(large) == 0
    assert len(detector.detect_small(frame, large)) == 0
