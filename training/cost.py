"""What an artifact costs: its size, and milliseconds of one core an answer, one at a time as in a worker.

The time that the thread itself worked is counted, not the clock on the wall, so a busy machine gives no other figure.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bimodal.models.session import open_artifact

ITEMS = 200
"""At most so many answers are timed."""
LEAST = 50
"""At least so many: what there is is asked again."""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """Time and size of an artifact.

    Attributes:
        milliseconds: of one core that an answer takes, the median.
        answers: that were timed.
        of: shape of one input, without its batch.
        megabytes: of the file, millions of bytes.
    """

    milliseconds: float
    answers: int
    of: tuple[int, ...]
    megabytes: float


def cost_of(path: Path, name: str, items: NDArray[Any]) -> Cost:
    """Time an artifact on `items` [N, …], at least one, given one by one as its input `name`.

    Raises ArtifactError as `open_artifact`.
    """
    artifact = open_artifact(path, provider="cpu", threads=1)
    times = []
    for place in range(min(ITEMS, max(LEAST, len(items)))):
        item = items[place % len(items)][None]
        begun = time.thread_time()
        artifact.run(**{name: item})
        times.append(time.thread_time() - begun)
    return Cost(
        milliseconds=float(np.median(times)) * 1000,
        answers=len(times),
        of=tuple(items.shape[1:]),
        megabytes=path.stat().st_size / 1e6,
    )
