"""What is compared, in turn: the machine's speed drifts, and so each has its share of every moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

_T = TypeVar("_T")


def in_turn(measured: Mapping[str, Callable[[], _T]], repeats: int, tell: Callable[[str], None]) -> dict[str, list[_T]]:
    """Measure each by name, then each again, `repeats` times; what each gave, in its order."""
    found: dict[str, list[_T]] = {name: [] for name in measured}
    for repeat in range(1, repeats + 1):
        for name, measure in measured.items():
            tell(f"{name} ({repeat} of {repeats})")
            found[name].append(measure())
    return found
