"""Figures of a classifier: accuracy, unweighted average recall, macro F1, recall by class, calibration error."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from bimodal.training.errors import TrainingError

Labels = NDArray[np.int64]
Probabilities = NDArray[np.floating]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of an evaluation.

    Attributes:
        n: number of examples.
        accuracy: share of correct ones.
        uar: mean of the recalls of the classes that occur.
        macro_f1: mean F1 of the classes that occur.
        recall: by class; a class that does not occur is absent.
        ece: expected calibration error, 15 bins of equal width.
        nll: mean negative log likelihood, in nats.
        aurc: area under the risk–coverage curve, see `risk_coverage`; 0 is best.
        confusion: rows true, columns found, in the order of `labels`.
    """

    n: int
    accuracy: float
    uar: float
    macro_f1: float
    recall: dict[str, float]
    ece: float
    nll: float
    labels: tuple[str, ...]
    confusion: list[list[int]]
    aurc: float = math.nan


def measure(true: Labels, probabilities: Probabilities, labels: Sequence[str]) -> Figures:
    """Compute the figures of true classes int [N] and probabilities float [N, C], N at least 1."""
    found = np.asarray(probabilities).argmax(axis=1)
    table = confusion(true, found, len(labels))
    occurs = table.sum(axis=1) > 0
    recall = np.diag(table) / np.maximum(table.sum(axis=1), 1)
    f1 = 2 * np.diag(table) / np.maximum(table.sum(axis=1) + table.sum(axis=0), 1)
    return Figures(
        n=len(true),
        accuracy=accuracy(true, found),
        uar=float(recall[occurs].mean()),
        macro_f1=float(f1[occurs].mean()),
        recall={label: float(recall[row]) for row, label in enumerate(labels) if occurs[row]},
        ece=expected_calibration_error(true, probabilities),
        nll=negative_log_likelihood(true, probabilities),
        labels=tuple(labels),
        confusion=table.tolist(),
        aurc=float(risk_coverage(true, probabilities).mean()),
    )


def wilson(right: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """95 % confidence interval of a share (Wilson 1927), valid for few examples and shares near 0 and 1.

    (0, 1) without examples.
    """
    if n == 0:
        return 0.0, 1.0
    share = right / n
    middle = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def per_class(figures: Figures) -> dict[str, dict[str, float]]:
    """Recall of each class that occurs, with its 95 % interval and number of examples."""
    table = {}
    for label, row, place in zip(figures.labels, figures.confusion, range(len(figures.labels)), strict=True):
        if sum(row):
            low, high = wilson(row[place], sum(row))
            table[label] = {"recall": row[place] / sum(row), "low": low, "high": high, "n": sum(row)}
    return table


def recall_intervals(figures: Figures) -> dict[str, list[float]]:
    """[low, high] of the 95 % interval of each class's recall, rounded, for an artifact's metadata."""
    return {label: [round(row["low"], 3), round(row["high"], 3)] for label, row in per_class(figures).items()}


def mean_recall(figures: Figures, at_least: int) -> tuple[float, list[str]]:
    """(mean recall of the classes with so many examples, these classes); nan if there is none."""
    rows = {label: row["recall"] for label, row in per_class(figures).items() if row["n"] >= at_least}
    return (sum(rows.values()) / len(rows) if rows else math.nan), list(rows)


def accuracy(true: Labels, found: Labels) -> float:
    """Share of correct examples."""
    return float(np.mean(true == found))


def uar(true: Labels, found: Labels) -> float:
    """Unweighted average recall over the classes that occur in `true`."""
    return float(np.mean([np.mean(found[true == label] == label) for label in np.unique(true)]))


def confusion(true: Labels, found: Labels, classes: int) -> NDArray[np.int64]:
    """int64 [classes, classes], rows true, columns found."""
    table = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(table, (true, found), 1)
    return table


def negative_log_likelihood(true: Labels, probabilities: Probabilities) -> float:
    """Mean −ln p(true class)."""
    return float(-np.log(np.maximum(np.asarray(probabilities)[np.arange(len(true)), true], 1e-12)).mean())


def reliability(
    true: Labels, probabilities: Probabilities, bins: int = 15
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """(sum of confidences, number correct, number of examples) in bins of confidence of equal width, each [bins]."""
    values = np.asarray(probabilities, dtype=np.float64)
    confidence = values.max(axis=1)
    right = values.argmax(axis=1) == true
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    sums = [
        np.asarray(np.bincount(bin_of, weights=weights, minlength=bins), np.float64)
        for weights in (confidence, right.astype(np.float64))
    ]
    return sums[0], sums[1], np.bincount(bin_of, minlength=bins).astype(np.int64)


def expected_calibration_error(true: Labels, probabilities: Probabilities, bins: int = 15) -> float:
    """ECE of Guo et al. 2017 (arXiv:1706.04599): confidence against accuracy in bins of equal width."""
    confidence, right, _ = reliability(true, probabilities, bins)
    return float(np.abs(right - confidence).sum() / len(true))


def risk_coverage(true: Labels, probabilities: Probabilities) -> NDArray[np.float64]:
    """Share of wrong answers among the 1, 2 … N surest ones, float64 [N]; its mean is the AURC.

    Answers of the same confidence share the risk of all of them, so that their order does not matter. Source: Geifman
    and El-Yaniv 2017 (arXiv:1705.08500).
    """
    values = np.asarray(probabilities, dtype=np.float64)
    confidence, wrong = values.max(axis=1), (values.argmax(axis=1) != true).astype(np.float64)
    order = np.argsort(-confidence, kind="stable")
    _, group, counts = np.unique(-confidence[order], return_inverse=True, return_counts=True)
    expected = (np.bincount(group, wrong[order]) / counts)[group]
    return np.asarray(np.cumsum(expected) / np.arange(1, len(expected) + 1))


# Temperature scaling (Guo et al. 2017, arXiv:1706.04599).

Logits = NDArray[np.floating]
LOWEST, HIGHEST = 0.05, 20.0


def softmax(logits: Logits, temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities float64 [N, C] of logits float [N, C] / temperature."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    raised = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def fit_temperature(logits: Logits, true: NDArray[np.int64]) -> float:
    """Fit the temperature, between 0.05 and 20, with the least negative log likelihood on held-out examples.

    Raises TrainingError if there are no examples.
    """
    from scipy.optimize import minimize_scalar  # only training needs scipy: evaluating works in a plain install

    if len(true) == 0:
        raise TrainingError("calibration needs at least one labelled example that was not trained on")

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(true, softmax(logits, math.exp(log_temperature)))

    found = minimize_scalar(loss, bounds=(math.log(LOWEST), math.log(HIGHEST)), method="bounded")
    return float(math.exp(found.x))


def cross_fitted(measured: Sequence[Logits], fitted: Sequence[tuple[Logits, NDArray[np.int64]]]) -> NDArray[np.float64]:
    """Probabilities of every part of `measured`, with a temperature fitted on the other parts of `fitted`, stacked.

    Thus calibration is measured on unseen examples. Both have the same parts (folds) in the same order.
    """
    rows = []
    for number, logits in enumerate(measured):
        others = [part for index, part in enumerate(fitted) if index != number]
        temperature = fit_temperature(
            np.concatenate([part[0] for part in others]), np.concatenate([part[1] for part in others])
        )
        rows.append(softmax(logits, temperature))
    return np.concatenate(rows)
