"""Jobs that are done together give what each gives alone, and none can harm another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bimodal.broker.messages import Face
from bimodal.models.binding import Arrays, PlainRun
from bimodal.models.catalog import resolve
from bimodal.models.session import Artifact, open_artifact
from bimodal.workers.face.pipeline import FacePipeline
from bimodal.workers.face.settings import FaceSettings
from bimodal.workers.micro_batches import MicroBatcher
from tests.artifacts import make_face_static
from tests.media import scene

MOST = 4


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return open_artifact(make_face_static(tmp_path_factory.mktemp("tiny") / "model.onnx"), provider="cpu")


@pytest.fixture(scope="module")
def batcher() -> Iterator[MicroBatcher]:
    found = MicroBatcher(MOST)
    yield found
    found.close()


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of every run of a model, as they happen."""
    seen: list[int] = []
    run = PlainRun.__call__

    def counted(plain: PlainRun, inputs: Arrays) -> dict[str, NDArray[Any]]:
        seen.append(len(next(iter(inputs.values()))))
        return run(plain, inputs)

    monkeypatch.setattr(PlainRun, "__call__", counted)
    return seen


def crops(count: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 48, 48, 3), dtype=np.uint8)


def looks(artifact: Artifact, batches: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
    """A job that asks for one run after another."""
    return [artifact.run(faces=faces)["embedding"] for faces in batches]


def test_jobs_that_ask_for_the_same_get_it_from_one_run(tiny: Artifact, batcher: MicroBatcher, runs: list[int]) -> None:
    joined = batcher.join(tiny)
    faces = [[crops(place + 1, place)] for place in range(MOST)]
    found = batcher.run_all([partial(looks, joined, one) for one in faces])
    assert runs == [1 + 2 + 3 + 4]
    for mine, given_ in zip(found, faces, strict=True):
        np.testing.assert_allclose(mine[0], tiny.run(faces=given_[0])["embedding"], atol=1e-6)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(1, 3), max_size=4), min_size=1, max_size=MOST))
def test_any_jobs_get_what_each_gets_alone(tiny: Artifact, batcher: MicroBatcher, asked: list[list[int]]) -> None:
    jobs = [[crops(count, 10 * place + turn) for turn, count in enumerate(job)] for place, job in enumerate(asked)]
    found = batcher.run_all([partial(looks, batcher.join(tiny), job) for job in jobs])
    for mine, alone in zip(found, [looks(tiny, job) for job in jobs], strict=True):
        assert len(mine) == len(alone)
        for one, other in zip(mine, alone, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


def test_what_can_not_go_together_is_run_one_by_one(tiny: Artifact, batcher: MicroBatcher, runs: list[int]) -> None:
    detector = open_artifact(resolve("blazeface-short"), provider="cpu")
    assert not detector.batches
    assert tiny.batches
    runs.clear()
    look, read = batcher.join(detector), batcher.join(tiny)
    picture = np.zeros((1, 128, 128, 3), np.uint8)
    jobs: list[Callable[[], object]] = [partial(look.run, image=picture)] * 2
    batcher.run_all([*jobs, *[partial(read.run, faces=crops(1, 0))] * 2])
    assert sorted(runs) == [1, 1, 2]


def test_a_job_that_fails_takes_no_other_along(tiny: Artifact, batcher: MicroBatcher) -> None:
    joined = batcher.join(tiny)

    def careful(faces: NDArray[Any]) -> str:
        try:
            return str(joined.run(faces=faces)["embedding"].shape)
        except Exception:
            return "failed"

    def broken() -> str:
        raise RuntimeError("before it asks for anything")

    wrong = np.zeros((1, 40, 40, 3), np.uint8)
    jobs = [partial(careful, faces) for faces in (crops(2, 0), wrong, crops(1, 1), wrong)]
    assert batcher.run_all(jobs) == ["(2, 16)", "failed", "(1, 16)", "failed"]
    with pytest.raises(RuntimeError, match="before it asks"):
        batcher.run_all([broken, partial(careful, crops(1, 2))])
    assert batcher.run_all(jobs[:1]) == ["(2, 16)"]


def test_a_run_that_fails_only_for_one_is_repeated_for_each(
    tiny: Artifact, batcher: MicroBatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Artifact.run

    def picky(artifact: Artifact, **inputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        if (inputs["faces"] == 255).all(axis=(1, 2, 3)).any():
            raise RuntimeError("not this one")
        return run(artifact, **inputs)

    monkeypatch.setattr(Artifact, "run", picky)
    joined = batcher.join(tiny)

    def careful(faces: NDArray[Any]) -> int:
        try:
            return len(joined.run(faces=faces)["embedding"])
        except RuntimeError:
            return -1

    white = np.full((1, 48, 48, 3), 255, np.uint8)
    assert batcher.run_all([partial(careful, one) for one in (crops(1, 0), white, crops(3, 1))]) == [1, -1, 3]


def test_frames_that_are_looked_at_together_show_what_each_shows_alone(batcher: MicroBatcher, runs: list[int]) -> None:
    detector, landmarks, static = (
        open_artifact(resolve(name), provider="cpu") for name in ("blazeface-short", "facemesh-468", "face-compact")
    )
    frames = [scene(1), scene(2), scene(0), scene(1, 0.6)]
    wanted = [FacePipeline(detector, landmarks, static, FaceSettings())(frame) for frame in frames]
    alone = len(runs)
    join = batcher.join
    pipelines = [FacePipeline(join(detector), join(landmarks), join(static), FaceSettings()) for _ in frames]
    found = batcher.run_all([partial(look, frame) for look, frame in zip(pipelines, frames, strict=True)])
    assert len(runs) - alone < alone
    assert [len(faces) for faces in found] == [len(faces) for faces in wanted] == [1, 2, 0, 1]
    for mine, yours in zip(chain(*found), chain(*wanted), strict=True):
        same(mine, yours)


def same(mine: Face, yours: Face) -> None:
    assert mine.box == pytest.approx(yours.box, abs=1e-3)
    assert mine.probabilities == pytest.approx(yours.probabilities, abs=1e-3)
    assert mine.mouth == pytest.approx(yours.mouth, abs=1e-3)
