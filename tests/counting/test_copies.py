"""Pixels are copied once, into their slot; after that, nothing as large as a frame is ever made of it."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bimodal.broker.frames import Ring, RingReader
from bimodal.broker.messages import Job
from bimodal.models.catalog import resolve
from bimodal.models.session import open_artifact
from bimodal.workers.face.pipeline import FacePipeline
from bimodal.workers.face.settings import FaceSettings
from tests.artifacts import make_face_static
from tests.media import scene

FRAMES = 30
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def frame() -> NDArray[np.uint8]:
    """One face in 1280×720."""
    return np.ascontiguousarray(scene(1, width=1280, height=720), dtype=np.uint8)


@pytest.fixture(scope="module")
def look(tmp_path_factory: pytest.TempPathFactory) -> FacePipeline:
    detector, landmarks = (open_artifact(resolve(name), provider="cpu") for name in ("blazeface-short", "facemesh-468"))
    static = open_artifact(make_face_static(tmp_path_factory.mktemp("static") / "model.onnx"), "face-static")
    return FacePipeline(detector, landmarks, static, FaceSettings(detect_every=1))


def most_bytes(work: Callable[[], object]) -> int:
    """The most that Python and numpy held at once while this was done, beyond what they held before."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def test_a_frame_is_written_and_read_without_another_copy(frame: NDArray[np.uint8], tmp_path: Path) -> None:
    ring = Ring(tmp_path, "ring", 4, frame.nbytes)
    assert most_bytes(lambda: ring.write(1, frame)) < frame.nbytes / 100, "copied straight into the slot"
    job = Job(
        stream="s", run=1, modality="face", seq=0, pts_ns=0, grab_ns=0, ring="ring", slot=1, generation=2,
        shape=frame.shape,
    )  # fmt: skip
    reader = RingReader(tmp_path / "ring")
    assert most_bytes(lambda: reader.view(job)) < frame.nbytes / 100
    view = reader.view(job)
    assert not view.flags.owndata
    assert not view.flags.writeable
    assert np.array_equal(view, frame)


def test_looking_at_a_frame_makes_nothing_as_large_as_it(look: FacePipeline, frame: NDArray[np.uint8]) -> None:
    assert len(look(frame)) == 1, "there is a face to be cut out"
    # A face of half the frame's height is cut out with a margin, once for each network, and let go between.
    assert most_bytes(lambda: look(frame)) < 0.75 * frame.nbytes


def test_a_frame_leaves_nothing_behind(look: FacePipeline, frame: NDArray[np.uint8]) -> None:
    look(frame)
    tracemalloc.start()
    try:
        look(frame)
        before = _held()
        for _ in range(FRAMES):
            look(frame)
        left = _held() - before
        kept = look(frame)
        seen = _held() - before
    finally:
        tracemalloc.stop()
    assert left < FRAMES, "not a single object a frame"
    assert kept
    assert seen > left, "what is kept is seen"


def _held() -> int:
    """How many allocations of our own files are alive."""
    gc.collect()
    ours = tracemalloc.Filter(True, str(REPOSITORY / "bimodal" / "*"))
    return len(tracemalloc.take_snapshot().filter_traces([ours]).traces)
