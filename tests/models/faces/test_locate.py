"""Where faces are: with a mesh or without, whichever way is up, and nowhere in pictures without one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from bimodal.models.catalog import resolve
from bimodal.models.faces.crop import Outline
from bimodal.models.faces.detections import overlap
from bimodal.models.faces.locate import FaceLocator, Located
from bimodal.models.faces.mesh import eye_angle
from bimodal.models.session import open_artifact
from bimodal.workers.demo import DEMO

Picture = NDArray[np.uint8]

CROWD_FACES = {
    0: [(56, 184, 24, 34), (524, 45, 46, 56)],
    25: [(398, 32, 175, 300)],
    225: [
        (47, 62, 58, 70), (30, 18, 45, 60), (165, 75, 62, 95),
        (313, 32, 72, 102), (389, 74, 62, 102), (588, 52, 45, 68),
    ],
    250: [(43, 60, 58, 66), (172, 70, 62, 98), (321, 32, 74, 100), (397, 74, 64, 102)],
}  # fmt: skip
"""Faces of every 25th frame of hamilton_crowd.mp4 that shows others than the singer alone, marked by hand: x, y, width,
height. Most of the audience is in profile; one is out of focus."""


def locator(name: str = "yunet-n", **how: float) -> FaceLocator:
    detector, landmarks = (open_artifact(resolve(model), provider="cpu") for model in (name, "facemesh-468"))
    return FaceLocator(detector, landmarks, **how)  # type: ignore[arg-type]


def frames(path: Path, every: int) -> Iterator[tuple[int, Picture]]:
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % every == 0:
                yield number, frame.to_ndarray(format="rgb24")


@pytest.fixture(scope="module")
def portrait() -> Picture:
    picture = cv2.cvtColor(cv2.imread(str(DEMO.parent / "portrait.jpg")), cv2.COLOR_BGR2RGB)
    return np.asarray(cv2.copyMakeBorder(picture, 60, 60, 60, 60, cv2.BORDER_REPLICATE), np.uint8)


def roll(outline: Outline) -> float:
    assert outline.points is not None
    return eye_angle(outline.points[33], outline.points[263])


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_mesh_and_detection_agree_which_way_is_up(turn: int, portrait: Picture) -> None:
    """A mesh is also found upside down, and wrong: the mouth where the forehead is."""
    (one,) = locator()(np.ascontiguousarray(np.rot90(portrait, -turn)))
    assert one.presence > 0.9
    assert math.remainder(roll(one.outline) - turn * math.pi / 2, 2 * math.pi) == pytest.approx(0, abs=0.35)


def test_a_mirrored_and_flipped_picture_is_read_upright(portrait: Picture) -> None:
    (upright,) = locator()(portrait)
    (flipped,) = locator()(np.ascontiguousarray(portrait[::-1]))
    assert math.remainder(roll(flipped.outline) - math.pi, 2 * math.pi) == pytest.approx(
        -roll(upright.outline), abs=0.2
    )


def test_small_faces_beside_a_close_up_are_found(portrait: Picture) -> None:
    scene = np.full((720, 1280, 3), 110, np.uint8)
    large = cv2.resize(portrait, (600, round(600 * portrait.shape[0] / portrait.shape[1])))[:720]
    scene[: large.shape[0], :600] = large
    (close,) = locator()(portrait)
    scale = 40 / max(close.face.row[2:4])
    small = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    places = [(100, 780), (100, 1040), (450, 760), (520, 1040)]
    for top, left in places:
        scene[top : top + small.shape[0], left : left + small.shape[1]] = small
    found = locator()(scene)
    assert len(found) == 1 + len(places)
    assert sorted(max(one.face.row[2:4]) < 60 for one in found) == [False, True, True, True, True]


def test_a_face_that_the_detector_draws_a_sixth_too_small_is_kept() -> None:
    find = locator(min_size=24.0)
    assert not find.too_small([100.0, 100.0, 16.0, 20.0])
    assert find.too_small([100.0, 100.0, 16.0, 19.0])


def test_what_is_smaller_than_wanted_is_left_out(portrait: Picture) -> None:
    assert len(locator(min_size=40.0)(portrait)) == 1
    assert locator(min_size=600.0)(portrait) == []


@pytest.mark.shared
def test_the_audience_in_profile_is_found_and_hardly_anything_else(shared: Path) -> None:
    find = locator()
    seen = dict(frames(shared / "data/clips/hamilton_crowd.mp4", 25))
    faces = found = 0
    without_mesh: list[Located] = []
    for number, boxes in CROWD_FACES.items():
        located = find(seen[number])
        faces += len(boxes)
        found += sum(any(overlap(box, one.face.row) >= 0.3 for one in located) for box in boxes)
        without_mesh += [one for one in located if one.outline.points is None]
    assert found >= 0.9 * faces
    assert len(without_mesh) >= 4
    assert all(one.outline.square.side > 20 for one in without_mesh)


@pytest.mark.shared
def test_the_crowd_is_seen_in_every_fifth_frame(shared: Path) -> None:
    find = locator()
    assert sum(len(find(frame)) for _, frame in frames(shared / "data/clips/hamilton_crowd.mp4", 5)) >= 92


@pytest.mark.shared
def test_where_nobody_is_nobody_is_seen(shared: Path) -> None:
    find = locator()
    assert not any(find(frame) for _, frame in frames(shared / "data/clips/pyfeat_no_face.mp4", 7))


def test_in_a_part_of_a_frame_the_same_face_is_found_at_its_place() -> None:
    portrait = cv2.cvtColor(cv2.imread(str(DEMO.with_name("portrait.jpg"))), cv2.COLOR_BGR2RGB)  # type: ignore[arg-type]
    picture = np.full((480, 960, 3), 110, np.uint8)
    small = cv2.resize(portrait, None, fx=300 / portrait.shape[0], fy=300 / portrait.shape[0])
    picture[160:460, 480:] = small
    find = locator()
    (whole,) = find(picture)
    (there,) = find(picture, part=(440, 64, 960, 480))
    assert overlap(whole.face.row, there.face.row) > 0.8
    assert find(picture, part=(0, 0, 440, 480)) == []
    assert find(picture, known=[whole.face.row], part=(440, 64, 960, 480)) == []
