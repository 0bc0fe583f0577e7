"""Detections of one frame: overlaps, suppression, and the roll that keypoints tell."""

from __future__ import annotations

import cmath
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bimodal.models.faces.detections import (
    TEMPLATE,
    Candidate,
    Detections,
    Roll,
    contains,
    overlap,
    suppression,
    weighted_suppression,
)

NAMES = ("right_eye", "left_eye", "nose_tip", "mouth_right", "mouth_left")


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


@given(detections())
@settings(deadline=None)
def test_suppression_keeps_the_best_of_each_place(found: Detections) -> None:
    kept = suppression(found.faces, 0.3, 0.8).faces
    assert list(kept) == sorted(kept, key=lambda face: -face.score)
    assert all(
        overlap(one.row, other.row) <= 0.3 and contains(one.row, other.row) <= 0.8
        for one, other in itertools.combinations(kept, 2)
    )
    for one in found.faces:
        better = [face for face in kept if face.score >= one.score]
        assert one in kept or any(
            overlap(one.row, face.row) > 0.3 or contains(one.row, face.row) > 0.8 for face in better
        )


def test_a_part_of_a_face_is_no_second_one() -> None:
    face, mouth = Candidate(0.9, [0, 0, 100, 100]), Candidate(0.8, [30, 60, 30, 30])
    assert suppression([mouth, face], 0.3, 0.8).faces == [face]


def _row(turn: float, squeeze: float) -> list[float]:
    """A face turned by `turn`, its points moved together across by `squeeze`, as in profile."""
    row = [0.0, 0.0, 1.0, 1.0]
    for name in NAMES:
        point = TEMPLATE[name]
        point = complex(point.real * squeeze, point.imag) * cmath.exp(1j * turn) * 40 + complex(200, 100)
        row += [point.real, point.imag]
    return row


@given(st.floats(-3.1, 3.1), st.floats(0.0, 1.0))
def test_roll_is_told_by_the_points_even_where_the_eyes_coincide(turn: float, squeeze: float) -> None:
    assert math.remainder(Roll(NAMES)(_row(turn, squeeze)) - turn, 2 * math.pi) == pytest.approx(0, abs=1e-6)


def test_roll_is_zero_where_nothing_tells() -> None:
    assert Roll(())([0.0, 0.0, 1.0, 1.0]) == 0
    assert Roll(("right_ear",))([0.0, 0.0, 1.0, 1.0, 5.0, 5.0]) == 0
    assert Roll(NAMES)([0.0, 0.0, 1.0, 1.0] + [3.0, 4.0] * 5) == 0
