"""What a face network learns from: targets, draws, and the changes that pictures go through."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bimodal.training.face.train import augment, cover, draw_weights, move, move_and_cover, smoothed, soft_targets

votes = arrays(np.float32, st.tuples(st.integers(1, 12), st.just(7)), elements=st.integers(0, 10)).filter(
    lambda given: bool((given.sum(axis=1) > 0).all())
)


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def faces(count: int = 6) -> torch.Tensor:
    """uint8 [N, 48, 48], each with a gradient and a dark spot to one side."""
    ramp = np.tile(np.linspace(40, 220, 48), (48, 1)).astype(np.uint8)
    ramp[10:20, 6:16] = 5
    return torch.from_numpy(np.stack([ramp] * count))


@given(votes)
def test_targets_are_shares_and_one_vote_of_several_is_noise(given_votes: np.ndarray) -> None:
    shares = soft_targets(given_votes)
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-6)
    for row, share in zip(given_votes, shares, strict=True):
        if (row > 1).any():
            assert not share[row <= 1].any()
        assert share.argmax() == row.argmax()


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


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([36, 40, 48]))
def test_changed_pictures_have_the_size_asked_for_and_stay_pictures(seed: int, size: int) -> None:
    for change in (augment, move_and_cover):
        once, again = (change(faces(), size, seeded(seed)) for _ in range(2))
        assert once.shape == (6, 1, size, size)
        assert once.dtype == torch.float32
        assert once.min() >= 0
        assert once.max() <= 255
        assert torch.equal(once, again), "a seed repeats a run"


def test_moves_mirror_some_and_change_no_light() -> None:
    moved = move(faces(64)[:, None].float(), 48, seeded())
    left, right = moved[..., :16].mean(dim=(1, 2, 3)), moved[..., 32:].mean(dim=(1, 2, 3))
    mirrored = int((left > right).sum())
    assert 16 < mirrored < 48
    assert moved.max() <= 220.5
    assert moved.min() >= 4.5


def test_a_cover_is_one_grey_rectangle_on_some_pictures_and_leaves_the_rest() -> None:
    pictures = faces(200)[:, None].float()
    covered = cover(pictures, seeded())
    touched = [index for index in range(200) if not torch.equal(covered[index], pictures[index])]
    assert 40 < len(touched) < 120
    for index in touched:
        changed = (covered[index, 0] != pictures[index, 0]).nonzero()
        (top, left), (bottom, right) = changed.min(dim=0).values.tolist(), changed.max(dim=0).values.tolist()
        assert max(bottom - top, right - left) < 0.4 * 48 + 1
        assert len(covered[index, 0][covered[index, 0] != pictures[index, 0]].unique()) == 1


def test_the_camera_changes_light_and_the_moves_alone_do_not() -> None:
    plain = torch.full((200, 48, 48), 120, dtype=torch.uint8)
    lit, moved = augment(plain, 48, seeded()), move_and_cover(plain, 48, seeded())
    assert lit.amax(dim=(1, 2, 3)).unique().numel() > 50
    untouched = (moved == 120).all(dim=3).all(dim=2).all(dim=1)
    assert untouched.sum() > 80
