"""Exponential smoothing by a time constant in seconds, whatever the frame rate."""

from __future__ import annotations

import math

from bimodal.broker.messages import Probabilities
from bimodal.workers.fusion.combine import normalised


class Smoother:
    """Follows probabilities over time: the exact answer of τ·y' = x − y, where x runs straight between samples.

    With h = dt / τ and g = (1 − e⁻ʰ) / h:  y₁ = e⁻ʰ·y₀ + (g − e⁻ʰ)·x₀ + (1 − g)·x₁. All three factors are ≥ 0 and
    sum to 1, so probabilities stay probabilities. Because the answer is exact, more samples of the same signal
    change nothing; a plain exponential average (y += (1 − e⁻ʰ)·(x − y)) runs half a frame ahead at low rates.
    """

    def __init__(self, time_constant_s: float) -> None:
        """`time_constant_s`: τ; 0 switches smoothing off."""
        self._time_constant_ns = time_constant_s * 1e9
        self._pts_ns = 0
        self._input: Probabilities | None = None
        self._value: Probabilities | None = None

    def reconfigure(self, time_constant_s: float) -> None:
        """Go on with another time constant, from the value that is held."""
        self._time_constant_ns = time_constant_s * 1e9

    def update(self, pts_ns: int, probabilities: Probabilities) -> Probabilities:
        """The smoothed value at `pts_ns`, over exactly the classes of `probabilities`.

        A class that appears starts at its own value; one that disappears gives its mass to the others. Time that
        stands still or runs backwards leaves the value as it is.
        """
        before, last = self._value, self._input
        if before is None or last is None or self._time_constant_ns <= 0:
            value = probabilities
        else:
            h = max(0, pts_ns - self._pts_ns) / self._time_constant_ns
            kept, previous, newest = _factors(h)
            before, last = _over(probabilities, before), _over(probabilities, last)
            value = normalised(
                {
                    emotion: kept * before[emotion] + previous * last[emotion] + newest * probability
                    for emotion, probability in probabilities.items()
                }
            )
        self._value, self._input, self._pts_ns = value, probabilities, pts_ns
        return value


def _factors(h: float) -> tuple[float, float, float]:
    """What the value before, the sample before and the newest sample count after h time constants."""
    if h <= 0:
        return 1.0, 0.0, 0.0
    kept = math.exp(-h)
    mean = -math.expm1(-h) / h
    return kept, max(0.0, mean - kept), max(0.0, 1.0 - mean)


def _over(wanted: Probabilities, held: Probabilities) -> Probabilities:
    """`held` over the classes of `wanted`; the classes that it lacks start as `wanted` has them."""
    if held.keys() == wanted.keys():
        return held
    masses = {emotion: held.get(emotion, probability) for emotion, probability in wanted.items()}
    return normalised(masses) if math.fsum(masses.values()) > 0 else wanted
