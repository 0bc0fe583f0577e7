"""`transport`: both ways bring every picture, and what is found of them."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from bimodal.bench.figures import BenchError
from bimodal.bench.loops import start, stop
from bimodal.broker.sockets import SHARED_MEMORY
from scripts.measure.transport import SIZES, WAYS, Receiver, measure, received
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


def test_a_sender_that_ends_is_told_of_with_its_sentence(tmp_path: Path) -> None:
    receiver = Receiver(f"ipc://{tmp_path / 'pixels.ipc'}", tmp_path)
    command = [sys.executable, "-P", "-c", "print('there is no room left')"]
    process = start(command, what="the sending process", stdout=subprocess.PIPE)
    try:
        with pytest.raises(BenchError, match="ended after 0 of 6 frames: there is no room left"):
            received(receiver, process, 6, tmp_path)
    finally:
        stop(process)
        receiver.close()
