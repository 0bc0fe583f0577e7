"""The changes that pictures of faces go through before a network learns from them."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bimodal.training.face.augment import (
    TYPICAL,
    augment,
    augment_hard,
    compress,
    cover,
    cover_eyes,
    cover_lower_face,
    darken,
    motion_blur,
    move,
    move_and_cover,
    open_mouths,
    shrink,
)


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def faces(count: int = 6) -> torch.Tensor:
    """uint8 [N, 48, 48], each with a gradient and a dark spot to one side."""
    ramp = np.tile(np.linspace(40, 220, 48), (48, 1)).astype(np.uint8)
    ramp[10:20, 6:16] = 5
    return torch.from_numpy(np.stack([ramp] * count))


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


def marks(count: int) -> torch.Tensor:
    return 48 * torch.tensor(TYPICAL).expand(count, 5, 2)


def skin(count: int = 100) -> torch.Tensor:
    """Grey faces of one shade with a dark line for a closed mouth. float32 [N, 1, 48, 48]."""
    face = torch.full((count, 1, 48, 48), 160.0)
    face[:, :, 36, 18:30] = 90.0
    return face


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([36, 40, 48]), st.booleans())
def test_hard_changes_repeat_with_their_seed_and_need_no_landmarks(seed: int, size: int, known: bool) -> None:
    places = marks(6) if known else torch.full((6, 5, 2), float("nan"))
    once, again = (augment_hard(faces(), size, seeded(seed), places) for _ in range(2))
    assert once.shape == (6, 1, size, size)
    assert once.isfinite().all()
    assert once.min() >= 0
    assert once.max() <= 255
    assert torch.equal(once, again)


def test_mouths_open_where_the_mouth_is_and_nowhere_above_it() -> None:
    closed = skin()
    opened = open_mouths(closed, marks(100), seeded(), share=0.5)
    changed = (opened != closed).flatten(1).any(dim=1)
    assert 30 < int(changed.sum()) < 70
    assert torch.equal(opened[:, :, :36], closed[:, :, :36])
    gap = opened[changed][:, 0, 37:42, 22:26]
    assert (gap < 100).flatten(1).any(dim=1).float().mean() > 0.5  # dark between the lips, or teeth
    assert torch.equal(opened[..., :8], closed[..., :8])


def test_masks_cover_from_the_nose_down_and_glasses_the_eyes() -> None:
    plain = skin()
    masked = cover_lower_face(plain, marks(100), seeded(), share=1.0)
    assert torch.equal(masked[:, :, :16], plain[:, :, :16])
    assert (masked[:, :, 46, 24] != plain[:, :, 46, 24]).float().mean() > 0.9
    glasses = cover_eyes(plain, marks(100), seeded(), share=1.0)
    assert (glasses[:, :, 19, 20] != plain[:, :, 19, 20]).float().mean() > 0.9
    assert torch.equal(glasses[:, :, 32:], plain[:, :, 32:])
    untouched = cover_lower_face(plain, marks(100), seeded(), share=0.0)
    assert torch.equal(untouched, plain)


def test_motion_keeps_the_light_and_takes_the_detail() -> None:
    checks = 255.0 * (torch.arange(48) % 2).expand(40, 1, 48, 48)
    blurred = motion_blur(checks, seeded(), share=1.0)
    assert (blurred.mean(dim=(1, 2, 3)) - checks.mean()).abs().max() < 4
    assert (blurred.std(dim=(1, 2, 3)) < checks.std()).float().mean() > 0.8
    assert torch.equal(motion_blur(checks, seeded(), share=0.0), checks)


def test_small_dark_and_compressed_pictures_lose_what_they_should() -> None:
    noisy = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (60, 1, 48, 48)).astype(np.float32))
    small = shrink(noisy, seeded(), share=1.0)
    assert (small.std(dim=(1, 2, 3)) < 0.8 * noisy.std()).float().mean() > 0.6
    dark = darken(noisy, seeded(), share=1.0)
    shares = dark.mean(dim=(1, 2, 3)) / noisy.mean(dim=(1, 2, 3))
    assert 0.04 < shares.min() < 0.12
    assert 0.3 < shares.max() < 0.52
    assert torch.equal(dark, dark.round())
    smooth = torch.linspace(0, 255, 48).expand(10, 1, 48, 48).round()
    assert (compress(smooth, seeded(), share=1.0) - smooth).abs().mean() < 8
    assert torch.equal(compress(smooth, seeded(), share=0.0), smooth)
