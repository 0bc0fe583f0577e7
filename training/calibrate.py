"""Temperature scaling (Guo et al. 2017, arXiv:1706.04599): one number that makes confidence mean accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import softmax as scipy_softmax

from bimodal.training.errors import TrainingError
from bimodal.training.metrics import negative_log_likelihood

Logits = NDArray[np.floating]
LOWEST, HIGHEST = 0.05, 20.0


def softmax(logits: Logits, temperature: float = 1.0) -> NDArray[np.float64]:
    """float [N, C] → probabilities float64 [N, C] of logits / temperature."""
    return np.asarray(scipy_softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=1))


def fit_temperature(logits: Logits, true: NDArray[np.int64]) -> float:
    """The temperature between 0.05 and 20 with the least negative log likelihood on examples not trained on.

    Raises TrainingError where there are no examples.
    """
    if len(true) == 0:
        raise TrainingError("calibration needs at least one labelled example that was not trained on")

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(true, softmax(logits, math.exp(log_temperature)))

    found = minimize_scalar(loss, bounds=(math.log(LOWEST), math.log(HIGHEST)), method="bounded")
    return float(math.exp(found.x))


def cross_fitted(measured: Sequence[Logits], fitted: Sequence[tuple[Logits, NDArray[np.int64]]]) -> NDArray[np.float64]:
    """Probabilities of every part of `measured` with a temperature fitted on the other parts of `fitted`, stacked.

    So calibration is measured on examples that it never saw. Both hold the same parts (folds) in the same order.
    """
    rows = []
    for number, logits in enumerate(measured):
        others = [part for index, part in enumerate(fitted) if index != number]
        temperature = fit_temperature(
            np.concatenate([part[0] for part in others]), np.concatenate([part[1] for part in others])
        )
        rows.append(softmax(logits, temperature))
    return np.concatenate(rows)
