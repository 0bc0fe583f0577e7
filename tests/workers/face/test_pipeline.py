"""The face pipeline with the shipped detector and mesh and a tiny static model, on real frames and on none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from bimodal.models.catalog import resolve
from bimodal.models.errors import ArtifactError
from bimodal.models.session import Artifact, open_artifact
from bimodal.workers.face.pipeline import FacePipeline
from bimodal.workers.face.settings import FaceSettings
from bimodal.workers.face.static import crop_size
from tests.artifacts import make_face_static

EMPTY = np.full((120, 160, 3), 90, np.uint8)


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return open_artifact(make_face_static(tmp_path_factory.mktemp("static") / "model.onnx"), "face-static")


def pipeline(static: Artifact, settings: FaceSettings = FaceSettings()) -> FacePipeline:  # noqa: B008 - frozen
    detector, landmarks = (open_artifact(resolve(name), provider="cpu") for name in ("blazeface-short", "facemesh-468"))
    return FacePipeline(detector, landmarks, static, settings)


def frames(path: Path, every: int) -> Iterator[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % every == every // 2:
                yield frame.to_ndarray(format="rgb24")


@pytest.mark.parametrize("tiles", ["off", "auto", "always"])
def test_a_frame_without_a_face_is_an_empty_list(static: Artifact, tiles: str) -> None:
    assert pipeline(static, msgspec.convert({"tiles": tiles}, FaceSettings))(EMPTY) == []


def test_settings_refuse_what_can_not_be() -> None:
    for wrong in ({"max_faces": 0}, {"min_score": 1.5}, {"tiles": "some"}, {"tile": "off"}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, FaceSettings)


def test_crop_size_is_the_static_models_own(static: Artifact, tmp_path: Path) -> None:
    assert crop_size(static) == 48
    assert crop_size(open_artifact(make_face_static(tmp_path / "big.onnx", size=224))) == 224


def test_a_detector_without_geometry_is_refused(static: Artifact) -> None:
    landmarks = open_artifact(resolve("facemesh-468"), provider="cpu")
    with pytest.raises(ArtifactError, match="geometry"):
        FacePipeline(landmarks, landmarks, static, FaceSettings())


@pytest.mark.shared
def test_one_person_is_one_face_read_whole(static: Artifact, shared: Path) -> None:
    find = pipeline(static)
    for frame in frames(shared / "data/clips/grid_bbaf2n.mpg", 25):
        (face,) = find(frame)
        assert sum(face.probabilities.values()) == pytest.approx(1)
        assert set(face.probabilities) == set(static.metadata.labels or ())
        assert face.embedding is not None
        assert len(face.embedding) == 16 * 2, "float16"
        assert face.score > 0.8
        assert 0.5 < face.sharpness <= 1
        assert 0 <= face.mouth < 0.8
        x, y, width, height = face.box
        assert x > 0
        assert y > 0
        assert x + width < frame.shape[1]
        assert y + height < frame.shape[0]


@pytest.mark.shared
def test_the_same_frame_gives_the_same_answer_whatever_came_before(static: Artifact, shared: Path) -> None:
    first, *others = frames(shared / "data/clips/hamilton_crowd.mp4", 60)
    find, fresh = pipeline(static), pipeline(static)
    for frame in others:
        find(frame)
    assert find(first) == fresh(first)


@pytest.mark.shared
def test_several_faces_are_found_largest_first_and_no_more_than_wanted(static: Artifact, shared: Path) -> None:
    *_, crowd = frames(shared / "data/clips/hamilton_crowd.mp4", 30)
    faces = pipeline(static)(crowd)
    assert len(faces) >= 2
    areas = [face.box[2] * face.box[3] for face in faces]
    assert areas == sorted(areas, reverse=True)
    (largest,) = pipeline(static, FaceSettings(max_faces=1))(crowd)
    assert largest.box == faces[0].box
    assert pipeline(static, FaceSettings(min_size=400))(crowd) == []


@pytest.mark.shared
def test_small_faces_need_tiles(static: Artifact, shared: Path) -> None:
    stage = next(frames(shared / "data/clips/hamilton_crowd.mp4", 25))
    assert len(pipeline(static, FaceSettings(tiles="off"))(stage)) == 0
    assert len(pipeline(static, FaceSettings(tiles="auto"))(stage)) == 2


@pytest.mark.shared
@pytest.mark.parametrize("tiles", ["off", "auto"])
def test_where_nobody_is_nobody_is_seen(static: Artifact, shared: Path, tiles: str) -> None:
    find = pipeline(static, msgspec.convert({"tiles": tiles}, FaceSettings))
    assert [len(find(frame)) for frame in frames(shared / "data/clips/pyfeat_no_face.mp4", 7)] == [0] * 14
