"""Course of a measure over time: means in bins that widen as the clip gets longer, and their lines. Pure."""

from __future__ import annotations

import itertools

MOST_BINS = 512
FINEST_S = 0.2


class Course:
    """Mean of a measure in bins of time, at most `MOST_BINS` from the first to the last; values come in any order."""

    __slots__ = ("_bins", "width")

    def __init__(self) -> None:
        self.width = FINEST_S
        self._bins: dict[int, tuple[float, int]] = {}

    def add(self, t: float, value: float | None) -> None:
        """Add a value at `t` seconds; None adds nothing."""
        if value is None:
            return
        number = int(t // self.width)
        total, count = self._bins.get(number, (0.0, 0))
        self._bins[number] = (total + value, count + 1)
        if not count:
            while max(self._bins) - min(self._bins) >= MOST_BINS:
                self._widen()

    def _widen(self) -> None:
        """Merge every two bins."""
        self.width *= 2
        merged: dict[int, tuple[float, int]] = {}
        for number, (total, count) in self._bins.items():
            before, frames = merged.get(number // 2, (0.0, 0))
            merged[number // 2] = (before + total, frames + count)
        self._bins = merged

    def __bool__(self) -> bool:
        return bool(self._bins)

    def runs(self) -> list[list[tuple[float, float]]]:
        """Time (the middle of each bin) and mean, in unbroken runs: none is drawn across a gap."""
        found: list[list[tuple[float, float]]] = []
        before: int | None = None
        for number, (total, count) in sorted(self._bins.items()):
            # One empty bin is no gap: slow streams have fewer frames than bins.
            if before is None or number - before > 2:
                found.append([])
            found[-1].append(((number + 0.5) * self.width, total / count))
            before = number
        return found


def polylines(
    runs: list[list[tuple[float, float]]],
    bounds: tuple[float, float],
    limits: tuple[float, float],
    size: tuple[float, float],
) -> list[str]:
    """The runs as `points` of SVG polylines.

    Args:
        bounds: first and last time of the picture, in seconds.
        limits: value at the lower and at the upper edge; what is beyond is drawn at the edge.
        size: width and height of the picture.
    """
    (first, last), (low, high), (width, height) = bounds, limits, size
    span, step = max(last - first, 1e-9), max(high - low, 1e-9)
    found = []
    for run in runs:
        points = [
            (min(1.0, max(0.0, (t - first) / span)) * width, (1 - (min(high, max(low, value)) - low) / step) * height)
            for t, value in run
        ]
        if len(points) == 1:  # a line without length would not be seen
            points.append((points[0][0] + 2.0, points[0][1]))
        found.append(" ".join(f"{x:.1f},{y:.1f}" for x, y in points))
    return found


def limits_of(runs: list[list[tuple[float, float]]], least: float) -> tuple[float, float]:
    """Symmetric limits that hold all values, in steps of `least`."""
    largest = max((abs(value) for _, value in itertools.chain.from_iterable(runs)), default=0.0)
    reach = least * max(1, -(-largest // least))
    return -reach, reach
