"""`transport`: both ways bring every picture, and what is found of them."""

from __future__ import annotations

import math
from pathlib import Path

from bench.transport import SIZES, WAYS, measure
from broker.sockets import SHARED_MEMORY
from tests.bench.planning import short_plan


def test_both_ways_are_measured_in_every_size(tmp_path: Path) -> None:
    found = measure(short_plan(tmp_path))
    names = [figure.name for figure in found.figures]
    assert len(names) == len(set(names)) == len(SIZES) * 3 * len(WAYS)
    for figure in found.figures:
        assert math.isfinite(figure.value)
        assert figure.value > 0
        assert (figure.against in names) is (" shared:" in figure.name)
    assert [len(curve.x) for curve in found.curves] == [len(SIZES)] * 4
    assert not list(SHARED_MEMORY.glob("bimodal-bench-*"))
