"""Marks on faces: where the head, the gaze and the mesh say, on faces of any size and at any edge."""

from __future__ import annotations

import math
from typing import get_args

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bimodal.broker.events import FaceMeasures, Verdict
from bimodal.drawing.faces import AXES, GAZE, MESH, Head
from bimodal.drawing.marks import MARKS, Mark
from bimodal.drawing.overlay import overlay
from bimodal.drawing.style import FUSED, Style
from bimodal.models.faces.pose import EYE_CM, Pose, pose_of, rotation_from
from tests.drawing.making import HAPPY, event, face
from tests.drawing.test_overlay import picture

BOX = (220, 100, 160, 180)


def doing(box: tuple[int, int, int, int] = BOX, **measures: object) -> object:
    """A face that looks straight ahead, but for `measures`."""
    straight = {"eye_distance": box[2] * 0.45, "yaw_deg": 0.0, "pitch_deg": 0.0, "roll_deg": 0.0}
    straight |= {"gaze_yaw_deg": 0.0, "gaze_pitch_deg": 0.0, "valence": 0.5, "arousal": 0.2}
    return msgspec.structs.replace(face(1, box), face=FaceMeasures(**(straight | measures)))  # type: ignore[arg-type]


def drawn(
    *marks: Mark, faces: tuple[object, ...] = (), meshes: tuple[object, ...] = (), **fields: object
) -> np.ndarray:
    style = Style(bars=False, draw=marks)
    return overlay(picture(640, 360), event(faces or (doing(),), size=(640, 360), **fields), style, meshes)  # type: ignore[arg-type]


def where(pixels: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """The mean place of a colour, (x, y); nan where there is none of it."""
    rows, columns = np.nonzero((np.abs(pixels.astype(int) - colour) < 12).all(axis=-1))
    return np.array((columns.mean(), rows.mean())) if rows.size else np.array((math.nan, math.nan))


def test_a_rotation_has_the_pose_that_it_was_made_of() -> None:
    for pose in (Pose(0, 0, 0), Pose(30, -20, 10), Pose(-75, 40, -120)):
        assert pose_of(rotation_from(pose)) == pytest.approx(pose)


@pytest.mark.parametrize("axis", range(3))
def test_an_axis_points_where_the_head_does(axis: int) -> None:
    """Turned to the right of the picture and up: ahead leads there, up stays up, the person's left goes away."""
    turned = drawn("pose", faces=(doing(yaw_deg=40.0, pitch_deg=20.0),))
    middle = np.array((BOX[0] + BOX[2] / 2, BOX[1] + BOX[3] / 2))
    way = where(turned, AXES[axis]) - middle
    assert (way[0] > 5, way[1] < -5)[axis != 0], way
    if axis == 2:
        assert way[0] > 15


def test_the_gaze_leads_away_from_both_eyes() -> None:
    left, right = (where(drawn("gaze", faces=(doing(gaze_yaw_deg=yaw),)), GAZE)[0] for yaw in (-40.0, 40.0))
    middle = BOX[0] + BOX[2] / 2
    assert left < middle - 20 < middle + 20 < right
    head = Head.of(doing(), (1.0, 1.0))  # type: ignore[arg-type]
    assert head is not None
    eyes = [head.place(np.array((side, 1.0, 1.0)) * EYE_CM) for side in (-1.0, 1.0)]
    assert math.dist(*eyes) == pytest.approx(BOX[2] * 0.45)


def test_a_mesh_is_drawn_where_it_lies() -> None:
    rng = np.random.default_rng(1)
    mesh = (rng.random((478, 3)) * (120, 140, 1) + (240, 120, 0)).astype(np.float32)
    there = drawn("mesh", meshes=(mesh,))
    rows, columns = np.nonzero((np.abs(there.astype(int) - MESH) < 12).all(axis=-1))
    assert 235 <= columns.min() <= columns.max() <= 365
    assert 115 <= rows.min() <= rows.max() <= 265
    assert np.array_equal(drawn("mesh", meshes=(None,)), drawn()), "none that is not known"


def test_the_plane_has_a_dot_where_the_verdict_is() -> None:
    places = {}
    for valence, arousal in ((0.9, 0.0), (-0.9, 0.0), (0.0, 0.9)):
        verdict = Verdict(label="happy", confidence=0.6, probabilities=HAPPY, valence=valence, arousal=arousal)
        places[valence, arousal] = where(drawn("affect", emotion=verdict)[:, 500:], FUSED)
    assert places[0.9, 0.0][0] > places[0.0, 0.9][0] > places[-0.9, 0.0][0]
    assert places[0.0, 0.9][1] < places[0.9, 0.0][1]
    assert np.array_equal(drawn("affect", faces=(face(1, BOX),)), drawn(faces=(face(1, BOX),))), "nothing is known"


def test_small_faces_have_lines_that_can_be_seen() -> None:
    """A face of 24 pixels in a large picture: its axes are longer than its box is half as wide."""
    one = doing((300, 200, 24, 26), yaw_deg=40.0, gaze_yaw_deg=40.0)
    for mark, colour in (("pose", AXES[2]), ("gaze", GAZE)):
        small = drawn(mark, faces=(one,))  # type: ignore[arg-type]
        assert (np.abs(small.astype(int) - colour) < 40).all(axis=-1).sum() >= 5


angles = st.none() | st.floats(-180, 180)


@settings(max_examples=40, deadline=None)
@given(
    box=st.tuples(*[st.integers(-3000, 3000)] * 4),
    eyes=st.none() | st.floats(0, 1e6),
    turned=st.tuples(*[angles] * 5),
    size=st.sampled_from([(160, 120), (640, 360)]),
    point=st.floats(-1e9, 1e9, width=32) | st.just(math.nan),
)
def test_anything_can_be_drawn_anywhere(
    box: tuple[int, int, int, int],
    eyes: float | None,
    turned: tuple[float | None, ...],
    size: tuple[int, int],
    point: float,
) -> None:
    names = ("yaw_deg", "pitch_deg", "roll_deg", "gaze_yaw_deg", "gaze_pitch_deg")
    one = doing(box, eye_distance=eyes, **dict(zip(names, turned, strict=True)))
    mesh = np.full((468, 3), point, np.float32)
    found = overlay(picture(*size), event((one,), size=(640, 360)), Style(draw=MARKS), [mesh])  # type: ignore[arg-type]
    assert found.shape == (size[1], size[0], 3)


def test_the_marks_are_what_they_say() -> None:
    assert get_args(Mark) == MARKS
