"""Agreement of labels: accuracy, Cohen's κ, Krippendorff's α, McNemar's test, bootstrap intervals. Pure.

A unit is what several raters label: a clip, or a stretch of one. Labels are words; None is a missing one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

Label = str | None
Unit = Sequence[Label]
"""Labels of one unit, one a rater, in the order of the raters."""

RESAMPLES = 1_000
INTERVAL = 0.95


class Estimate(NamedTuple):
    """A figure with its bootstrap interval (95 %); NaN where it can't be told."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        value, low, high = ("–" if math.isnan(one) else f"{one:.3f}" for one in self)
        return f"{value} [{low}, {high}]"


class McNemar(NamedTuple):
    """Two runs against people: units that only the first, and only the second, has right, and the exact two-sided
    probability of a difference so large if neither were better."""

    only_first: int
    only_second: int
    p: float


def accuracy(units: Sequence[Unit]) -> float:
    """Share of units whose first two labels are equal, of those that have both."""
    pairs = _pairs(units)
    return sum(a == b for a, b in pairs) / len(pairs) if pairs else math.nan


def cohen_kappa(units: Sequence[Unit]) -> float:
    """Cohen's κ of the first two raters: agreement beyond what their own frequencies give by chance."""
    pairs = _pairs(units)
    if not pairs:
        return math.nan
    observed = sum(a == b for a, b in pairs) / len(pairs)
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    chance = sum(first[label] * second[label] for label in first) / len(pairs) ** 2
    return math.nan if chance >= 1.0 else (observed - chance) / (1.0 - chance)


def krippendorff_alpha(units: Sequence[Unit]) -> float:
    """Krippendorff's α of all raters for nominal labels (Krippendorff 2011, "Computing Krippendorff's
    Alpha-Reliability"); units with fewer than two labels do not count."""
    totals: dict[str, float] = {}
    disagreed = paired = 0.0
    for unit in units:
        labels = [label for label in unit if label is not None]
        if len(labels) < 2:
            continue
        counts = Counter(labels)
        paired += len(labels)
        for label, count in counts.items():
            totals[label] = totals.get(label, 0.0) + count
            disagreed += count * (len(labels) - count) / (len(labels) - 1)
    if paired < 2:
        return math.nan
    expected = sum(count * (paired - count) for count in totals.values()) / (paired - 1)
    return math.nan if expected == 0 else 1.0 - disagreed / expected


def _pairs(units: Sequence[Unit]) -> list[tuple[str, str]]:
    return [(unit[0], unit[1]) for unit in units if unit[0] is not None and unit[1] is not None]


def bootstrap(
    groups: Sequence[Sequence[Unit]], figure: Callable[[Sequence[Unit]], float], resamples: int = RESAMPLES
) -> Estimate:
    """A figure with its interval, by drawing whole groups again: units of one clip or speaker are not independent.

    Args:
        groups: the units of each clip or speaker.
    """
    value = figure([unit for group in groups for unit in group])
    if len(groups) < 2:
        return Estimate(value, math.nan, math.nan)
    draw = np.random.default_rng(0)
    found = []
    for _ in range(resamples):
        chosen = draw.integers(len(groups), size=len(groups))
        found.append(figure([unit for place in chosen for unit in groups[place]]))
    kept = [one for one in found if not math.isnan(one)]
    if not kept:
        return Estimate(value, math.nan, math.nan)
    edge = (1.0 - INTERVAL) / 2
    low, high = np.quantile(kept, [edge, 1.0 - edge])
    return Estimate(value, float(low), float(high))


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """Compare two runs on the same units: which of them has each unit right."""
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    differ, fewer = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(differ, count) for count in range(fewer + 1)) / 2**differ
    return McNemar(only_first, only_second, min(1.0, 2.0 * tail))


def confusion(units: Sequence[Unit], labels: Sequence[str]) -> list[list[int]]:
    """Counts of label pairs: rows are the second rater's (people), columns the first's (ours)."""
    counts = Counter((b, a) for a, b in _pairs(units))
    return [[counts[row, column] for column in labels] for row in labels]


def majority(labels: Sequence[Label]) -> Label:
    """The most frequent label; None where there is none, or two are as frequent."""
    counts = Counter(label for label in labels if label is not None).most_common(2)
    if not counts or (len(counts) == 2 and counts[0][1] == counts[1][1]):
        return None
    return counts[0][0]
