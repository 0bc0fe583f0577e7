"""CPU and time of a command, CPU and wake-ups of processes, and ratios of figures that are 0."""

from __future__ import annotations

import os

from scripts.measure import whole_versions
from scripts.measure.versions import HERE, lines


def test_a_command_is_charged_for_its_cpu_and_its_time() -> None:
    spent = whole_versions._spent(HERE, ["--version"])
    assert spent.words == ["--version"]
    assert spent.cpu_s > 0
    assert spent.wall_s > 0


def test_a_process_has_used_cpu_and_been_woken() -> None:
    _, cpu_s, wakes = whole_versions._processes(os.getpid())[os.getpid()]
    assert cpu_s > 0
    assert wakes > 0


def test_what_takes_nothing_has_no_ratio() -> None:
    _, row = lines({"live, an empty room: audio, % of a core": ([0.0], [0.1])}, "whole systems")
    assert "nan ×" in row
