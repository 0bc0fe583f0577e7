"""Temperature lowers the negative log likelihood; figures agree with their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score

from bimodal.training.errors import TrainingError
from bimodal.training.evaluate.metrics import (
    cross_fitted,
    expected_calibration_error,
    fit_temperature,
    measure,
    negative_log_likelihood,
    softmax,
)


def guesses(seed: int, examples: int, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits `sharpness` times as sure as they should be, and the classes drawn from the honest ones."""
    random = np.random.default_rng(seed)
    honest = random.normal(0, 2, (examples, 7))
    true = np.array([random.choice(7, p=row) for row in softmax(honest)])
    return honest * sharpness, true


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(5, 300), st.floats(0.3, 5))
def test_calibration_never_raises_the_loss(seed: int, examples: int, sharpness: float) -> None:
    logits, true = guesses(seed, examples, sharpness)
    before = negative_log_likelihood(true, softmax(logits))
    after = negative_log_likelihood(true, softmax(logits, fit_temperature(logits, true)))
    assert after <= before + 1e-4


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_overconfidence(sharpness: float) -> None:
    logits, true = guesses(1, 4000, sharpness)
    temperature = fit_temperature(logits, true)
    assert temperature == pytest.approx(sharpness, rel=0.1)
    assert expected_calibration_error(true, softmax(logits, temperature)) < 0.03


def test_calibration_without_examples_is_refused() -> None:
    with pytest.raises(TrainingError, match="at least one"):
        fit_temperature(np.zeros((0, 7)), np.zeros(0, np.int64))


def test_cross_fitting_gives_each_part_the_temperature_of_the_others() -> None:
    sure, true = guesses(2, 500, 4.0)
    unsure, other = guesses(3, 500, 1.0)
    rows = cross_fitted([sure, unsure], [(sure, true), (unsure, other)])
    assert np.allclose(rows[:500], softmax(sure, fit_temperature(unsure, other)))
    assert np.allclose(rows[500:], softmax(unsure, fit_temperature(sure, true)))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 80))
def test_figures_agree_with_scikit_learn(seed: int, examples: int) -> None:
    random = np.random.default_rng(seed)
    true, logits = random.integers(0, 7, examples), random.normal(size=(examples, 7))
    figures = measure(true, softmax(logits), [str(label) for label in range(7)])
    found, present = logits.argmax(axis=1), np.unique(true)
    assert figures.n == sum(map(sum, figures.confusion)) == examples
    assert figures.accuracy == pytest.approx(np.mean(found == true))
    assert figures.uar == pytest.approx(np.mean([np.mean(found[true == label] == label) for label in present]))
    if len(present) > 1 and set(found) <= set(present):
        assert figures.uar == pytest.approx(balanced_accuracy_score(true, found))
    assert figures.macro_f1 == pytest.approx(f1_score(true, found, labels=present, average="macro", zero_division=0))
    assert set(figures.recall) == {str(label) for label in present}
    assert 0 <= figures.ece <= 1


def test_calibration_error_of_known_cases() -> None:
    sure = np.tile([1.0, 0.0], (10, 1))
    assert expected_calibration_error(np.zeros(10, np.int64), sure) == pytest.approx(0.0)
    assert expected_calibration_error(np.ones(10, np.int64), sure) == pytest.approx(1.0)
    half = np.array([0, 1] * 5)
    assert expected_calibration_error(half, np.tile([0.8, 0.2], (10, 1))) == pytest.approx(0.3)
