"""The detector around its artifact: sizes of looks, close looks, and real faces."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bimodal.models.catalog import resolve
from bimodal.models.errors import ArtifactError
from bimodal.models.faces.decoding import make_anchors
from bimodal.models.faces.detections import Candidate
from bimodal.models.faces.detector import (
    CLEAR,
    LEAST_SIDE,
    Detector,
    close_look,
    fitted_look,
    look_of,
    scaled,
)
from bimodal.models.faces.geometry import Grid, GridGeometry, SsdGeometry, detector_geometry, geometry_of
from bimodal.models.faces.resampling import Square, fit, letterbox
from bimodal.models.session import open_artifact
from bimodal.workers.demo import DEMO
from tests.artifacts import without_numbers

SIDES = st.integers(16, 3000)
GRIDS = GridGeometry(grids=(Grid(stride=8), Grid(stride=32)), multiple=32, smallest=16)
DETECTORS = ("yunet-n", "yunet-s", "blazeface-short")


def detector(name: str, **how: float) -> Detector:
    return Detector(open_artifact(resolve(name), "face-detector", provider="cpu"), **how)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def portrait() -> NDArray[np.uint8]:
    """The shipped portrait on a wider ground, so that turned it is whole."""
    picture = cv2.cvtColor(cv2.imread(str(DEMO.parent / "portrait.jpg")), cv2.COLOR_BGR2RGB)
    return np.asarray(cv2.copyMakeBorder(picture, 80, 80, 80, 80, cv2.BORDER_REPLICATE), np.uint8)


@pytest.mark.parametrize("name", DETECTORS)
def test_scores_that_are_no_numbers_are_an_error_and_not_an_empty_picture(
    name: str, portrait: NDArray[np.uint8]
) -> None:
    artifact = open_artifact(resolve(name), "face-detector", provider="cpu")
    assert Detector(artifact)(portrait)
    with pytest.raises(ArtifactError, match=f"{name}@.* answered with something that is no number"):
        Detector(without_numbers(artifact, "scores"))(portrait)


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


@given(SIDES, SIDES, st.integers(4, 400), st.sampled_from([320, 640, 1280]))
def test_a_look_is_as_small_as_the_smallest_face_allows(width: int, height: int, smallest: int, largest: int) -> None:
    look = look_of(width, height, smallest, GRIDS, largest)
    assert look.width % 32 == look.height % 32 == 0
    assert max(width, height) * look.factor <= max(largest, LEAST_SIDE) + 1
    assert look.width >= min(round(width * look.factor), largest)
    bounded = max(width, height) * look.factor > largest / 1.5 or max(width, height) <= LEAST_SIDE
    assert bounded or look.factor == 1 or smallest * look.factor >= GRIDS.smallest * 0.99


def test_looks_at_usual_pictures() -> None:
    assert look_of(1280, 720, 24, GRIDS, 1280) == (864, 480, pytest.approx(1 / 1.5))
    assert look_of(1280, 720, 48, GRIDS, 1280) == (448, 256, pytest.approx(1 / 3))
    assert look_of(3840, 2160, 24, GRIDS, 1280)[:2] == (1280, 736)
    assert look_of(48, 48, 24, GRIDS, 1280) == (160, 160, pytest.approx(160 / 48))
    assert fitted_look(1280, 720, 640, 640) == (640, 640, 0.5)


@given(SIDES.filter(lambda side: side < 900), SIDES.filter(lambda side: side < 900), st.integers(8, 200))
def test_a_scaled_frame_lies_at_the_upper_left(width: int, height: int, smallest: int) -> None:
    look = look_of(width, height, smallest, GRIDS, 640)
    picture = scaled(np.full((height, width, 3), 200, np.uint8), look)
    assert picture.shape == (look.height, look.width, 3)
    inside = min(round(height * look.factor), look.height), min(round(width * look.factor), look.width)
    assert (picture[: inside[0] - 1, : inside[1] - 1] == 200).all()
    assert (picture[inside[0] + 1 :] == 0).all()
    assert (picture[:, inside[1] + 1 :] == 0).all()


@pytest.mark.parametrize("name", DETECTORS)
def test_shipped_detectors_say_the_geometry_that_the_decoding_needs(name: str) -> None:
    artifact = open_artifact(resolve(name), "face-detector", provider="cpu")
    geometry = detector_geometry(artifact)
    columns = 4 + 2 * len(geometry.keypoints)
    if isinstance(geometry, SsdGeometry):
        assert artifact.inputs[0].shape == (1, geometry.size, geometry.size, 3)
        assert artifact.outputs[0].shape == (1, len(make_anchors(geometry.anchors)), columns)
    else:
        assert artifact.outputs[0].shape[2] == columns
        rows = artifact.run(image=np.zeros((1, 64, 96, 3), np.uint8))
        assert rows["boxes"].shape[1] == rows["scores"].shape[1] == 12 * 8 + 6 * 4 + 3 * 2


def test_a_geometry_of_nothing_known_is_refused() -> None:
    artifact = open_artifact(resolve("facemesh-468"), provider="cpu")
    with pytest.raises(ArtifactError, match="geometry"):
        detector_geometry(artifact)
    with pytest.raises(ArtifactError, match="geometry"):
        geometry_of(artifact, SsdGeometry)


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("shape", [(48, 64, 3), (7, 300, 3), (1, 1, 3)])
def test_an_empty_scene_has_no_face(name: str, shape: tuple[int, int, int]) -> None:
    assert len(detector(name)(np.full(shape, 127, np.uint8))) == 0


@pytest.mark.parametrize("name", DETECTORS)
def test_the_same_face_is_found_at_the_same_place(name: str, portrait: NDArray[np.uint8]) -> None:
    find = detector(name)
    (face,) = find(portrait).faces
    assert face.score > 0.8
    assert abs(face.angle) < 0.3
    square, usual = find.square(face), detector("yunet-n").square(detector("yunet-n")(portrait).faces[0])
    assert math.dist(square[:2], usual[:2]) < 0.35 * usual.side
    assert 0.6 < square.side / usual.side < 1.6


def test_a_square_goes_with_the_roll_of_its_face() -> None:
    """MediaPipe's is level with the eyes, and no larger or lower than the box."""
    square = detector("blazeface-short").square(Candidate(0.9, [80, 90, 100, 60], math.pi / 4))
    assert square == pytest.approx((130, 120, 100, math.pi / 4))
    below = detector("yunet-n").square(Candidate(0.9, [80, 90, 100, 60], math.pi))
    assert below == pytest.approx((130, 120 - 4.5, 90, math.pi))


@pytest.mark.parametrize("name", ["yunet-n", "blazeface-short"])
@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_a_close_look_tells_which_way_is_up(name: str, turn: int, portrait: NDArray[np.uint8]) -> None:
    picture = np.ascontiguousarray(np.rot90(portrait, -turn))  # clockwise
    find = detector(name, min_score=0.2)
    face = find(picture).faces[0]
    (look,) = find.look_closely(picture, [face])
    assert look.score > 0.8
    if name == "yunet-n":
        assert math.remainder(look.angle - turn * math.pi / 2, 2 * math.pi) == pytest.approx(0, abs=0.5)


def test_a_close_look_at_nothing_finds_nothing(portrait: NDArray[np.uint8]) -> None:
    find = detector("yunet-n")
    corner = Candidate(0.6, [0.0, 0.0, 30.0, 40.0])
    looks = find.look_closely(portrait, [corner] * 9)
    assert len(looks) == 9
    assert all(look.score < 0.4 for look in looks)
    assert find.look_closely(portrait, []) == []


def test_only_what_is_clearly_better_turns_a_face() -> None:
    squares = [Square(0, 0, 64, turn * math.pi / 2) for turn in range(4)]

    def turned(*scores: float) -> tuple[float, bool]:
        seen = [Candidate(score, [0.0] * 4, 0.1) if score else None for score in scores]
        look = close_look(seen, squares)
        return look.score, look.turned

    assert turned(0.9, 0.0, 0.92, 0.0) == (0.9, False)
    assert turned(0.7, 0.0, 0.92, 0.1) == (0.92, True)
    assert turned(0.5, 0.0, CLEAR - 0.01, 0.1) == (0.5, False)
    assert turned(0.0, 0.0, 0.0, 0.0) == (0.0, False)
    look = close_look([None, None, Candidate(0.93, [0.0] * 4, 0.2), None], squares)
    assert look.angle == pytest.approx(math.remainder(math.pi + 0.2, 2 * math.pi))


@pytest.mark.shared
def test_a_file_of_the_authors_is_what_shipped(shared: Path, tmp_path: Path) -> None:
    """Exported again, the artifact is the one that ships, byte for byte."""
    from typer.testing import CliRunner

    from bimodal.export.commands import app

    source = shared / "models/yunet_n_dynamic.onnx"
    result = CliRunner().invoke(app, ["yunet", str(source), "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "yunet-n/model.onnx").read_bytes() == resolve("yunet-n").read_bytes()
