"""The dynamic model sees the steps it was trained on: its own interval, whatever the frame rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bimodal.models.contract import Metadata
from bimodal.models.emotions import EMOTIONS, Mapped
from bimodal.models.errors import ArtifactError
from bimodal.models.session import open_artifact
from bimodal.workers.fusion.dynamic import DynamicModel, DynamicTrack, decode_embedding, dynamic_model
from tests.artifacts import make_face_dynamic
from tests.workers.fusion.making import MS, sure

SECOND = 1000 * MS


class Recorder:
    """A dynamic model that keeps what it was shown and names the emotion at the newest step's first value."""

    def __init__(self, steps: int = 4, interval_s: float = 0.2, dimensions: int | None = 1) -> None:
        self.shown: list[NDArray[np.float32]] = []
        self.model = DynamicModel(self._predict, interval_s, steps, dimensions, "recorder@1")

    def _predict(self, embeddings: NDArray[np.float32]) -> Mapped:
        self.shown.append(embeddings)
        return answer(int(embeddings[0, -1, 0]))

    def windows(self) -> list[list[float]]:
        return [window[0, :, 0].tolist() for window in self.shown]


def answer(number: int) -> Mapped:
    return Mapped(sure(EMOTIONS[number % len(EMOTIONS)]), {})


def value(number: float) -> NDArray[np.float32]:
    return np.array([number], np.float32)


def test_it_is_silent_until_its_window_is_full_and_its_answer_holds() -> None:
    recorder = Recorder(steps=4)
    track = DynamicTrack(recorder.model)
    answers = [track.observe(index * 40 * MS, value(index // 5)) for index in range(25)]
    assert answers[:15] == [None] * 15
    assert answers[15:20] == [answer(3)] * 5
    assert answers[20:] == [answer(4)] * 5
    assert recorder.windows() == [[0, 1, 2, 3], [1, 2, 3, 4]]
    assert recorder.shown[0].shape == (1, 4, 1)
    assert recorder.shown[0].dtype == np.float32


@given(st.sampled_from([5, 10, 20, 25, 50]))
def test_the_steps_do_not_depend_on_the_frame_rate(fps: int) -> None:
    recorder = Recorder(steps=3)
    track = DynamicTrack(recorder.model)
    for index in range(2 * fps + 1):
        track.observe(index * SECOND // fps, value(index / fps))
    starts = [0.2 * step for step in range(len(recorder.windows()))]
    expected = [[start, start + 0.2, start + 0.4] for start in starts]
    assert len(starts) == 9
    assert np.allclose(recorder.windows(), expected, atol=1e-6)


@given(st.lists(st.integers(1, 700), min_size=5, max_size=40), st.integers(0, 5000))
def test_a_step_is_the_newest_embedding_at_or_before_it(gaps_ms: list[int], start_ms: int) -> None:
    recorder = Recorder(steps=5)
    track, times, expected, pts_ns = DynamicTrack(recorder.model), [], [], start_ms * MS
    interval, first = 200 * MS, -(-start_ms // 200)
    done = first
    for gap_ms in gaps_ms:
        times.append(pts_ns)
        track.observe(pts_ns, value(len(times) - 1))
        beyond = pts_ns // interval + 1
        if beyond > done and beyond - first >= 5:
            expected.append(
                [
                    max(index for index, time in enumerate(times) if time <= step * interval)
                    for step in range(beyond - 5, beyond)
                ]
            )
        done = max(done, beyond)
        pts_ns += gap_ms * MS
    assert recorder.windows() == expected


def test_steps_missed_out_of_sight_keep_the_last_embedding() -> None:
    recorder = Recorder(steps=3)
    track = DynamicTrack(recorder.model)
    track.observe(0, value(1))
    track.observe(590 * MS, value(2))
    assert recorder.windows() == [[1, 1, 1]]
    track.observe(10**18, value(3))
    assert recorder.windows()[-1] == [2, 2, 3]


def test_other_embeddings_are_passed_over_or_begin_afresh() -> None:
    recorder = Recorder(steps=2)
    track = DynamicTrack(recorder.model)
    track.observe(0, value(1))
    assert track.observe(200 * MS, value(1)) == answer(1)
    assert track.observe(400 * MS, None) == answer(1)
    assert track.observe(600 * MS, np.ones(3, np.float32)) == answer(1)
    anything = DynamicTrack(Recorder(steps=2, dimensions=None).model)
    anything.observe(0, value(1))
    assert anything.observe(200 * MS, value(1)) == answer(1)
    assert anything.observe(400 * MS, np.ones(3, np.float32)) is None


def test_time_that_runs_backwards_does_no_harm() -> None:
    recorder = Recorder(steps=2)
    track = DynamicTrack(recorder.model)
    for pts_ns in (SECOND, 200 * MS, SECOND, 1200 * MS):
        track.observe(pts_ns, value(1))
    assert recorder.windows() == [[1, 1]]


def test_an_answer_that_is_no_number_is_no_answer() -> None:
    track = DynamicTrack(DynamicModel(lambda _: Mapped(dict.fromkeys(EMOTIONS, float("nan")), {}), 0.2, 1))
    assert track.observe(0, value(1)) is None


def test_embeddings_survive_the_wire() -> None:
    data = np.array([0.5, -2.0, 3.0], "<f2").tobytes()
    embedding = decode_embedding(data)
    assert embedding is not None
    assert embedding.dtype == np.float32
    assert embedding.tolist() == [0.5, -2.0, 3.0]
    assert decode_embedding(data[:-1]) is None
    assert decode_embedding(np.array([np.inf], "<f2").tobytes()) is None
    assert decode_embedding(b"") is None
    assert decode_embedding(None) is None


def test_a_real_artifact_answers(tmp_path: Path) -> None:
    path = make_face_dynamic(tmp_path / "model.onnx", steps=10, embedding=16, interval_s=0.2)
    model = dynamic_model(open_artifact(path, "face-dynamic", provider="cpu"), "tiny")
    assert (model.steps, model.dimensions, model.interval_s) == (10, 16, 0.2)
    assert model.identity == "tiny-face-dynamic@1"
    track = DynamicTrack(model)
    embedding = np.zeros(16, np.float32)
    embedding[EMOTIONS.index("fear")] = 5.0
    answers = [track.observe(index * 40 * MS, embedding) for index in range(46)]
    assert answers[44] is None
    assert answers[45] is not None
    found = answers[45].probabilities
    assert max(found, key=found.__getitem__) == "fear"
    assert sum(found.values()) == pytest.approx(1.0)


def test_embeddings_of_another_network_are_refused(tmp_path: Path) -> None:
    artifact = open_artifact(make_face_dynamic(tmp_path / "model.onnx"), provider="cpu")
    with pytest.raises(ArtifactError, match=r"'tiny'.*'resnet'"):
        dynamic_model(artifact, "resnet")


def test_a_window_in_seconds_tells_the_steps(tmp_path: Path) -> None:
    class Dynamic:
        """An artifact whose graph leaves the number of steps open."""

        path, identity = tmp_path, "open@1"

        def __init__(self, window_s: float | None) -> None:
            tensor = open_artifact(make_face_dynamic(tmp_path / "model.onnx"), provider="cpu")
            self.inputs = (tensor.inputs[0].__class__("embeddings", "tensor(float)", ("N", "T", 16)),)
            self.metadata = Metadata(
                contract="1",
                kind="face-dynamic",
                name="open",
                version="1",
                license="MIT",
                source="test",
                labels=EMOTIONS,
                embedding_space="tiny",
                interval_s=0.2,
                window_s=window_s,
            )

    assert dynamic_model(Dynamic(2.0)).steps == 10  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match="window_s"):
        dynamic_model(Dynamic(None))  # type: ignore[arg-type]
