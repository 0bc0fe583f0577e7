"""Faces under other conditions: what changes, where, by how much, and that it is the same in every run."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from bimodal.models.emotions import EMOTIONS
from bimodal.training.evaluate.command import evaluate
from bimodal.training.evaluate.evaluate import evaluate_face, expert_probabilities
from bimodal.training.evaluate.face_conditions import (
    CONDITIONS,
    DEGRADED,
    Picture,
    back_light,
    changed_by,
    covered,
    jpeg,
    light,
    motion,
    small,
    under_condition,
)
from bimodal.training.evaluate.metrics import risk_coverage
from bimodal.training.evaluate.report import degraded_uar, figures_json
from tests.artifacts import make_face_static


def noise(side: int = 48, seed: int = 0) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(sorted(CONDITIONS)), st.integers(16, 130), st.integers(0, 99))
def test_every_condition_keeps_the_shape_and_repeats(name: str, side: int, place: int) -> None:
    picture = noise(side)
    before = picture.copy()
    changed = changed_by(name, picture, place)
    assert changed.shape == picture.shape
    assert changed.dtype == np.uint8
    np.testing.assert_array_equal(changed, changed_by(name, picture, place))
    np.testing.assert_array_equal(picture, before)


def test_pictures_are_changed_each_in_its_own_way() -> None:
    same = np.stack([noise()] * 2)
    one, other = under_condition("motion blur of 7 px", same)
    assert (one != other).any()


def test_light_keeps_its_share() -> None:
    bright = np.full((48, 48, 3), 200, np.uint8)
    assert light(bright, 0.12, np.random.default_rng(0)).mean() == pytest.approx(24, abs=0.3)


def test_motion_blurs_along_its_line_only() -> None:
    dot = np.zeros((48, 48, 3), np.uint8)
    dot[24, 24] = 255
    across = motion(dot, 7, 0)[..., 0]
    assert across[24, 21:28].min() > 25
    assert across[24].sum() == pytest.approx(255, abs=8)
    assert across[:23].sum() == across[26:].sum() == 0
    larger = motion(np.kron(dot, np.ones((2, 2, 1), np.uint8)), 7, 0)[..., 0]
    assert (larger.max(axis=0) > 10).sum() >= 14  # 7 px of a face of 48 are 14 of one of 96


def test_what_is_covered_is_gone_and_the_rest_stays() -> None:
    picture = noise()
    changed = DEGRADED["lower half covered"](picture, np.random.default_rng(0))
    np.testing.assert_array_equal(changed[:24], picture[:24])
    assert len(np.unique(changed[24:].reshape(-1, 3), axis=0)) == 1
    eyes = covered(picture, (0.27, 0.5), (0, 1), (0, 0, 0))
    assert eyes[13:24].max() == 0
    np.testing.assert_array_equal(eyes[24:], picture[24:])


def test_small_faces_lose_what_is_small() -> None:
    checks = np.indices((48, 48)).sum(axis=0)[..., None] % 2 * np.full(3, 255)
    flat = small(checks.astype(np.uint8), 16)
    assert np.ptp(flat.astype(int)) < 80


def test_compression_and_back_light_leave_a_picture() -> None:
    smooth = cv2.GaussianBlur(noise(), (0, 0), 5)
    assert np.abs(jpeg(smooth, 15).astype(int) - smooth).mean() < 12
    lit = back_light(smooth)
    assert lit[0, 0].min() > 200
    assert lit[20:30, 20:30].mean() < smooth[20:30, 20:30].mean()


def pictures(folder: Path) -> Path:
    random = np.random.default_rng(0)
    for emotion in ("happy", "anger"):
        (folder / "valid" / emotion).mkdir(parents=True)
        for number in range(3):
            picture = random.integers(0, 256, (64, 60, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / "valid" / emotion / f"{number}.png"), picture)
    return folder


def test_conditions_are_measured_and_their_mean_is_said(tmp_path: Path) -> None:
    data = pictures(tmp_path / "faces")
    path = make_face_static(tmp_path / "m.onnx")
    plain = evaluate_face(path, data)
    assert plain.under == {}
    assert degraded_uar(plain) is None
    found = evaluate_face(path, data, conditions=CONDITIONS)
    assert set(found.under) == set(found.doubted) == set(CONDITIONS)
    assert all(0 <= value <= 1 for value in found.doubted.values())
    assert found.figures == plain.figures
    mean = np.mean([found.under[name].uar for name in DEGRADED])
    written = figures_json(found)
    assert written["degraded_uar"] == pytest.approx(mean)
    assert set(written["under"]["16 px"]) == {"accuracy", "uar", "ece", "aurc", "ece_with_doubt"}  # type: ignore[index]
    result = CliRunner().invoke(
        evaluate, ["face", "--data", str(data), "--model", str(path), "--conditions", "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 0, result.output
    assert f"{mean:.4f}" in result.output.split("degraded faces")[1].splitlines()[0]
    assert "motion blur of 7 px" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_several_models_are_averaged_over_those_that_know_the_emotion(tmp_path: Path) -> None:
    from bimodal.models.session import open_artifact
    from bimodal.training.datasets.loading import picture_items
    from bimodal.training.evaluate.evaluate import picture_probabilities

    data = pictures(tmp_path / "faces")
    paths = [
        make_face_static(tmp_path / "a.onnx", name="a"),
        make_face_static(tmp_path / "b.onnx", name="b", labels=EMOTIONS[:5]),
    ]
    artifacts = [open_artifact(path, "face-static") for path in paths]
    items = picture_items(data, "valid")
    one, other = (picture_probabilities(artifact, items) for artifact in artifacts)
    wanted = np.concatenate([(one + other)[:, :5] / 2, one[:, 5:]], axis=1)
    found = expert_probabilities(artifacts, items)
    np.testing.assert_allclose(found, wanted / wanted.sum(axis=1, keepdims=True), atol=1e-6)
    assert evaluate_face(paths, data).model == "a@1+b@1"


def test_risk_falls_where_confidence_knows() -> None:
    true = np.array([0, 0, 1, 1])
    knows = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    assert risk_coverage(true, knows).tolist() == pytest.approx([0, 0, 0, 0.25])
    same = np.array([[0.6, 0.4]] * 4)
    assert risk_coverage(true, same).tolist() == pytest.approx([0.5] * 4)
