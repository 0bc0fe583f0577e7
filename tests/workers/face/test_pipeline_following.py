"""Faces followed without the detector: the same faces, new ones soon, and none that is not there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from bimodal.broker.messages import Face, FaceResult, Hints, Job, Region
from bimodal.broker.streams import LastSeen
from bimodal.models.catalog import resolve
from bimodal.models.session import Artifact, open_artifact
from bimodal.workers.face.pipeline import COARSE_FRAMES, FULL_FRAMES, FacePipeline
from bimodal.workers.face.settings import FaceSettings
from tests.broker.making import job
from tests.workers.face.test_pipeline import EMPTY, frames

EVERY = 5
FRAME_NS = 33_000_000


class Counted:
    """An artifact whose runs are counted."""

    def __init__(self, artifact: Artifact, runs: Counter[str]) -> None:
        self._artifact, self._runs = artifact, runs

    def __getattr__(self, name: str) -> object:
        return getattr(self._artifact, name)

    def run(self, **inputs: NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:
        self._runs[self._artifact.metadata.kind] += 1
        return self._artifact.run(**inputs)


@pytest.fixture(scope="module")
def artifacts() -> list[Artifact]:
    return [open_artifact(resolve(name), provider="cpu") for name in ("yunet-n", "facemesh-468", "face-compact")]


def pipeline(artifacts: Sequence[Artifact], runs: Counter[str], settings: FaceSettings) -> FacePipeline:
    detector, landmarks, static = (Counted(artifact, runs) for artifact in artifacts)
    return FacePipeline(detector, landmarks, [static], settings)  # type: ignore[arg-type, list-item]


def live(find: FacePipeline, pictures: Iterable[NDArray[np.uint8]], step: int = 1) -> list[list[Face]]:
    """The faces in them as frames of a live stream, with hints as the broker passes them.

    `step`: of so many frames of the stream all but one were dropped before.
    """
    last, seen = LastSeen(), []
    for seq, picture in zip(count(step=step), pictures):
        hints = last.for_job(at(seq, seq * FRAME_NS))
        faces, hints = find.look(picture, seq, seq * FRAME_NS, hints, last.faces if hints is not None else ())
        last.remember(msgspec.structs.replace(said(seq, hints), faces=tuple(faces)))
        seen.append(faces)
    return seen


def moving(count: int) -> list[NDArray[np.uint8]]:
    """Pictures of a room in which a bright square moves."""
    pictures = [EMPTY.copy() for _ in range(count)]
    for number, picture in enumerate(pictures):
        picture[40:80, 10 + number : 50 + number] = 200
    return pictures


def at(seq: int, pts_ns: int) -> Job:
    return msgspec.structs.replace(job("desk", seq), pts_ns=pts_ns)


def said(seq: int, hints: Hints | None) -> FaceResult:
    return FaceResult(
        number=1, stream="desk", run=1, seq=seq, pts_ns=0, grab_ns=0, faces=(), queue_ns=0, inference_ns=0, hints=hints
    )


def test_hints_that_make_no_sense_are_as_none(artifacts: list[Artifact]) -> None:
    runs: Counter[str] = Counter()
    find = pipeline(artifacts, runs, FaceSettings(detect_every=EVERY))
    wild = Region(x=float("nan"), y=0.0, side=10.0, angle=0.0, score=0.9, box=(0.0, 0.0, 1.0, 1.0))
    faces, hints = find.look(EMPTY, 3, 0, Hints(regions=(wild,), until=9))
    assert (faces, hints, runs["face-detector"]) == ([], Hints(regions=(), until=3 + EVERY), 1)


def test_where_nobody_was_nobody_looks_until_it_is_time(artifacts: list[Artifact]) -> None:
    runs: Counter[str] = Counter()
    find = pipeline(artifacts, runs, FaceSettings(detect_every=EVERY))
    assert live(find, [EMPTY] * (2 * EVERY)) == [[]] * (2 * EVERY)
    assert runs == {"face-detector": 2}


def test_with_one_no_hints_are_made_or_followed(artifacts: list[Artifact]) -> None:
    runs: Counter[str] = Counter()
    find = pipeline(artifacts, runs, FaceSettings(detect_every=1))
    assert find.look(EMPTY, 1, 0, Hints(regions=(), until=9)) == ([], None)
    assert runs == {"face-detector": 1}


# ---------------------------------------------------------------------------------- real pictures


@pytest.mark.shared
@pytest.mark.parametrize("clip", ["grid_bbaf2n.mpg", "pyfeat_single_face.mp4"])
def test_a_steady_shot_shows_the_same_faces(artifacts: list[Artifact], shared: Path, clip: str) -> None:
    pictures = list(frames(shared / "data/clips" / clip, 1))[:41]
    runs: Counter[str] = Counter()
    followed = live(pipeline(artifacts, runs, FaceSettings(detect_every=EVERY)), pictures)
    assert runs == {"face-detector": 9, "face-landmarks": 41, "face-static": 41}
    find = pipeline(artifacts, Counter(), FaceSettings(detect_every=1))
    apart, mouths = [], []
    for picture, faces in zip(pictures, followed, strict=True):
        (expected,), (face,) = find(picture), faces
        assert face.box == pytest.approx(expected.box, abs=0.08 * expected.box[2])
        mouths.append(abs(face.mouth - expected.mouth))
        emotions = expected.probabilities
        apart.append(sum(abs(face.probabilities[emotion] - emotions[emotion]) for emotion in emotions) / 2)
    assert np.mean(apart) < 0.01
    assert max(apart) < 0.15
    assert np.mean(mouths) < 0.02


@pytest.mark.shared
def test_a_new_face_is_found_at_most_so_many_frames_late(artifacts: list[Artifact], shared: Path) -> None:
    pictures = list(frames(shared / "data/clips/pyfeat_noface_face.mov", 1))[60:130]
    settings = FaceSettings(detect_every=EVERY)
    find = pipeline(artifacts, Counter(), settings)
    first = next(number for number, picture in enumerate(pictures) if find(picture))
    followed = live(find, pictures)
    late = next(number for number, faces in enumerate(followed) if faces)
    assert first > 0
    assert late - first < EVERY


@pytest.mark.shared
def test_a_place_of_another_shot_is_no_face(artifacts: list[Artifact], shared: Path) -> None:
    """A cut to an empty room, and one to a face somewhere else: the detector looks in that very frame."""
    (person, *_) = frames(shared / "data/clips/pyfeat_single_face.mp4", 20)
    (room, *_) = frames(shared / "data/clips/pyfeat_no_face.mp4", 20)
    elsewhere = np.ascontiguousarray(np.roll(person, 220, axis=1))
    find = pipeline(artifacts, Counter(), FaceSettings(detect_every=50))
    seen = live(find, [person, person, room[: person.shape[0], : person.shape[1]], person])
    assert [len(faces) for faces in seen] == [1, 1, 0, 0]
    _, (face,) = live(find, [person, elsewhere])
    assert face.box == pytest.approx(find(elsewhere)[0].box)


@pytest.mark.shared
def test_many_faces_take_one_run_of_each_model(artifacts: list[Artifact], shared: Path) -> None:
    one, other = (next(frames(shared / "data/clips" / name, 20)) for name in ("grid_bbaf2n.mpg", "grid_lrwp9a.mpg"))
    both = np.concatenate([one, other], axis=1)
    runs: Counter[str] = Counter()
    find = pipeline(artifacts, runs, FaceSettings(detect_every=EVERY))
    assert [len(faces) for faces in live(find, [both, both])] == [2, 2]
    assert runs == {"face-detector": 1, "face-landmarks": 2, "face-static": 2}


# ---------------------------------------------------------------------------------- detect_every: auto


def noisy(picture: NDArray[np.uint8], count: int, noise: float = 4.0) -> list[NDArray[np.uint8]]:
    """A picture as a camera gives it, each time with other noise."""
    random = np.random.default_rng(0)
    return [np.clip(picture + random.normal(0, noise, picture.shape), 0, 255).astype(np.uint8) for _ in range(count)]


def test_an_empty_room_is_looked_at_coarsely_each_half_second(artifacts: list[Artifact]) -> None:
    runs: Counter[str] = Counter()
    find = pipeline(artifacts, runs, FaceSettings())
    assert live(find, noisy(EMPTY, 3 * FULL_FRAMES + 1)) == [[]] * (3 * FULL_FRAMES + 1)
    assert runs == {"face-detector": 4}


def test_a_room_in_which_something_moves_is_looked_at_more_often(artifacts: list[Artifact]) -> None:
    runs: Counter[str] = Counter()
    find = pipeline(artifacts, runs, FaceSettings())
    pictures = moving(2 * FULL_FRAMES + 1)
    assert live(find, pictures) == [[]] * len(pictures)
    assert runs == {"face-detector": 1 + 2 * FULL_FRAMES // COARSE_FRAMES}


def test_frames_that_were_dropped_do_not_hasten_looks(artifacts: list[Artifact]) -> None:
    """Else each frame that is left would cost more the fewer there are."""
    runs: Counter[str] = Counter()
    find = pipeline(artifacts, runs, FaceSettings())
    live(find, moving(2 * COARSE_FRAMES + 1), step=3)
    assert runs == {"face-detector": 3}


def test_at_few_frames_a_second_the_clock_decides(artifacts: list[Artifact]) -> None:
    runs: Counter[str] = Counter()
    find = pipeline(artifacts, runs, FaceSettings())
    last = LastSeen()
    for seq in range(5):
        pts_ns = seq * 400_000_000
        _, hints = find.look(EMPTY, seq, pts_ns, last.for_job(at(seq, pts_ns)))
        last.remember(said(seq, hints))
    assert runs == {"face-detector": 3}


@pytest.mark.shared
def test_a_face_that_is_still_is_read_once(artifacts: list[Artifact], shared: Path) -> None:
    """Until something changes in it: then the models run in that very frame."""
    first, *_, later = list(frames(shared / "data/clips/mead_M003_happy.mp4", 1))[:60]
    runs: Counter[str] = Counter()
    find = pipeline(artifacts, runs, FaceSettings())
    faces = live(find, noisy(first, 12, noise=2.0))
    assert runs["face-static"] == 1
    assert runs["face-landmarks"] == 1
    assert all(now == faces[0] for now in faces)
    runs.clear()
    seen = live(find, [*[first] * 12, later])
    assert runs["face-static"] == 2
    assert seen[-1][0].box != seen[0][0].box


@pytest.mark.shared
def test_a_face_that_moves_is_read_as_often_as_its_shape_changes(artifacts: list[Artifact], shared: Path) -> None:
    pictures = list(frames(shared / "data/clips/grid_bbaf2n.mpg", 1))[:40]
    runs: Counter[str] = Counter()
    followed = live(pipeline(artifacts, runs, FaceSettings()), pictures)
    assert runs["face-static"] < 40
    find = pipeline(artifacts, Counter(), FaceSettings())
    apart = []
    for picture, faces in zip(pictures, followed, strict=True):
        (expected,), (face,) = find(picture), faces
        emotions = expected.probabilities
        apart.append(sum(abs(face.probabilities[emotion] - emotions[emotion]) for emotion in emotions) / 2)
    assert np.mean(apart) < 0.05


@pytest.mark.shared
def test_a_new_close_face_is_found_by_a_coarse_look(artifacts: list[Artifact], shared: Path) -> None:
    pictures = list(frames(shared / "data/clips/pyfeat_noface_face.mov", 1))[60:130]
    find = pipeline(artifacts, Counter(), FaceSettings())
    first = next(number for number, picture in enumerate(pictures) if find(picture))
    late = next(number for number, faces in enumerate(live(find, pictures)) if faces)
    assert late - first <= COARSE_FRAMES


@pytest.mark.shared
def test_faces_in_profile_are_kept_between_looks(artifacts: list[Artifact], shared: Path) -> None:
    pictures = list(frames(shared / "data/clips/hamilton_crowd.mp4", 1))[222:240]
    find = pipeline(artifacts, Counter(), FaceSettings())
    apart = [len(find(picture)) for picture in pictures]
    followed = [len(faces) for faces in live(find, pictures)]
    assert sum(followed) >= 0.9 * sum(apart)
