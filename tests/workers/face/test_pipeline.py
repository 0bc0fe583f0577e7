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
    detector, landmarks = (open_artifact(resolve(name), provider="cpu") for name in ("yunet-n", "facemesh-468"))
    return FacePipeline(detector, landmarks, static, settings)


def frames(path: Path, every: int) -> Iterator[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % every == every // 2:
                yield frame.to_ndarray(format="rgb24")


def test_a_frame_without_a_face_is_an_empty_list(static: Artifact) -> None:
    assert pipeline(static)(EMPTY) == []


def test_settings_refuse_what_can_not_be() -> None:
    for wrong in (
        {"max_faces": 0},
        {"min_score": 1.5},
        {"detect_every": "often"},
        {"largest_look": 1},
        {"tiles": "off"},
    ):
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
def test_several_faces_are_found_and_no_more_than_wanted(static: Artifact, shared: Path) -> None:
    *_, crowd = frames(shared / "data/clips/hamilton_crowd.mp4", 30)
    faces = pipeline(static)(crowd)
    assert len(faces) >= 2
    (first,) = pipeline(static, FaceSettings(max_faces=1))(crowd)
    assert first.box in [face.box for face in faces[:2]]
    assert pipeline(static, FaceSettings(min_size=400))(crowd) == []


@pytest.mark.shared
def test_a_face_in_profile_has_a_verdict_and_little_presence(static: Artifact, shared: Path) -> None:
    profile = next(frames(shared / "data/clips/hamilton_crowd.mp4", 50))
    (largest, *_) = pipeline(static)(profile)
    assert sum(largest.probabilities.values()) == pytest.approx(1)
    assert largest.presence < 0.5
    assert largest.mouth is None
    assert largest.score > 0.7


@pytest.mark.shared
def test_of_more_faces_than_wanted_the_large_and_sharp_ones_count(static: Artifact, shared: Path) -> None:
    *_, crowd = frames(shared / "data/clips/hamilton_crowd.mp4", 30)
    everyone, few = pipeline(static)(crowd), pipeline(static, FaceSettings(max_faces=2))(crowd)
    worth = [face.box[2] * face.box[3] * face.sharpness for face in everyone]
    assert worth == sorted(worth, reverse=True)
    assert len(few) == 2
    assert {face.box for face in few} <= {face.box for face in everyone[:3]}
