"""Whether a process grows: pure functions over samples of what it takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from statistics import median
from typing import NamedTuple

import msgspec

# A process grows where it gains more than this an hour, and has gained more than an allocator may hold back: so a
# short soak finds large leaks only, and ten hours find one of a megabyte an hour.
MOST_MB_AN_HOUR = 1.0
MOST_MB = 8.0
MOST_DESCRIPTORS = 4.0


class Sample(NamedTuple):
    """A process at one moment: `at_h` in hours; `pid`, since a restart begins anew; private memory in MiB."""

    at_h: float
    pid: int
    memory_mb: float
    descriptors: int


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a process over a soak.

    Attributes:
        memory_mb, descriptors: in its newest sample.
        mb_an_hour: the slope of its memory, None where there are too few samples for one.
        descriptors_an_hour: the same of its descriptors.
        restarts: how often it was started again.
        because: why that is too much, None where all is well.
    """

    name: str
    memory_mb: float
    mb_an_hour: float | None
    descriptors: int
    descriptors_an_hour: float | None
    restarts: int
    because: str | None


def slope(lives: Iterable[Sequence[tuple[float, float]]]) -> float | None:
    """The median of the slopes between any two points of the same life (Theil 1950, Sen 1968): up to 29 % of the points
    may be anything. None without two points of different x."""
    slopes = [
        (later[1] - sooner[1]) / (later[0] - sooner[0])
        for points in lives
        for sooner, later in combinations(points, 2)
        if later[0] != sooner[0]
    ]
    return median(slopes) if slopes else None


def growth(name: str, samples: Sequence[Sample], restarts: int, warm_up_h: float) -> Growth:
    """Judge one process by its samples (one at least, in order of time); those of the first `warm_up_h` hours of each
    life count for nothing."""
    lives = [life[_first_warm(life, warm_up_h) :] for life in _lives(samples)]
    memory = slope([[(sample.at_h, sample.memory_mb) for sample in life] for life in lives])
    opened = slope([[(sample.at_h, float(sample.descriptors)) for sample in life] for life in lives])
    longest_h = max((life[-1].at_h - life[0].at_h for life in lives if life), default=0.0)
    return Growth(
        name=name,
        memory_mb=samples[-1].memory_mb,
        mb_an_hour=memory,
        descriptors=samples[-1].descriptors,
        descriptors_an_hour=opened,
        restarts=restarts,
        because=_because(memory, opened, restarts, longest_h),
    )


def _lives(samples: Sequence[Sample]) -> list[list[Sample]]:
    lives: list[list[Sample]] = []
    for sample in samples:
        if not lives or lives[-1][-1].pid != sample.pid:
            lives.append([])
        lives[-1].append(sample)
    return lives


def _first_warm(life: Sequence[Sample], warm_up_h: float) -> int:
    return sum(sample.at_h - life[0].at_h < warm_up_h for sample in life)


def _because(memory: float | None, opened: float | None, restarts: int, hours: float) -> str | None:
    found = []
    if memory is not None and memory > MOST_MB_AN_HOUR and memory * hours > MOST_MB:
        found.append(f"its memory grows by {memory:.1f} MiB an hour")
    if opened is not None and opened * hours > MOST_DESCRIPTORS:
        found.append(f"it opens {opened:.1f} descriptors an hour and does not close them")
    if restarts:
        found.append("it was started again " + ("once" if restarts == 1 else f"{restarts} times"))
    return ", ".join(found) or None
