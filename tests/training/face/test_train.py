"""What a face network learns from: targets and draws."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bimodal.models.catalog import ROOT
from bimodal.models.session import open_artifact
from bimodal.training.config import FaceConfig
from bimodal.training.datasets.fer2013 import Faces
from bimodal.training.evaluate.evaluate import face_probabilities
from bimodal.training.face.train import draw_weights, smoothed, soft_targets, taught

votes = arrays(np.float32, st.tuples(st.integers(1, 12), st.just(7)), elements=st.integers(0, 10)).filter(
    lambda given: bool((given.sum(axis=1) > 0).all())
)


@given(votes)
def test_targets_are_shares_and_one_vote_of_several_is_noise(given_votes: np.ndarray) -> None:
    shares = soft_targets(given_votes)
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-6)
    for row, share in zip(given_votes, shares, strict=True):
        if (row > 1).any():
            assert not share[row <= 1].any()
        assert share.argmax() == row.argmax()


def test_a_teachers_answers_count_beside_the_votes() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 48, 48), dtype=np.uint8)
    held = np.eye(7, dtype=np.float32)[[0, 1, 5]] * 10
    faces = Faces(pictures=pictures, votes=held, majority=np.array([0, 1, 5]), names=["a", "b", "c"])
    config = FaceConfig(name="x", version="1", data=Path("x"), output=Path("x"), sizes=(48,), seed=0, threads=1,
                        batch=2, learning_rate=0.1, weight_decay=0.0)  # fmt: skip
    targets = soft_targets(held)
    assert taught(targets, config, faces) is targets
    path = ROOT / "face-compact/model.onnx"
    answers = face_probabilities(open_artifact(path, "face-static", provider="cpu"), faces)
    taught_by = taught(targets, msgspec.structs.replace(config, teacher=path, teacher_share=0.25), faces)
    np.testing.assert_allclose(taught_by, 0.75 * targets + 0.25 * answers, atol=1e-6)


@given(votes, st.floats(0, 0.9))
def test_smoothing_gives_every_emotion_a_part_and_keeps_the_order(given_votes: np.ndarray, share: float) -> None:
    targets = soft_targets(given_votes)
    smooth = smoothed(targets, share)
    assert np.allclose(smooth.sum(axis=1), 1, atol=1e-5)
    assert (smooth >= share / 7 - 1e-6).all()
    assert (smooth.argmax(axis=1) == targets.argmax(axis=1)).all()
    assert np.array_equal(smoothed(targets, 0.0), targets)


def test_balance_draws_rare_emotions_more_often_and_none_draws_all_alike() -> None:
    targets = np.eye(7, dtype=np.float32)[[0] * 9 + [5]]
    assert np.allclose(draw_weights(targets, 0.0), 0.1)
    half = draw_weights(targets, 0.5)
    assert half.sum() == pytest.approx(1)
    assert half[9] == pytest.approx(3 * half[0])
    even = draw_weights(targets, 1.0)
    assert even[9] == pytest.approx(even[:9].sum())
