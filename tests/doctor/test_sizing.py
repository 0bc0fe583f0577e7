"""What is measured, and what is chosen from it."""

from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st

from bimodal.config import check_config
from bimodal.doctor.sizing import ALIKE, Arrangement, Measured, arrangements, choose, config_lines, serves, streams

positive = st.floats(0.1, 1e4)
found = st.builds(
    Measured,
    workers=st.integers(1, 64),
    threads=st.integers(1, 64),
    frames_s=positive,
    frame_ms=positive,
    memory_mb=positive,
)


def row(workers: int, threads: int, frames_s: float, frame_ms: float, memory_mb: float = 100.0) -> Measured:
    return Measured(workers=workers, threads=threads, frames_s=frames_s, frame_ms=frame_ms, memory_mb=memory_mb)


@given(st.integers(1, 256))
def test_what_is_measured_fits_the_cores_and_reaches_them(cores: int) -> None:
    wanted = arrangements(cores)
    assert len(set(wanted)) == len(wanted) <= 50
    assert all(workers * threads <= cores for workers, threads in wanted)
    assert {Arrangement(1, 1), Arrangement(cores, 1)} <= set(wanted)


def test_a_gpu_is_measured_with_one_worker_and_with_two() -> None:
    assert arrangements(64, gpus=2) == [Arrangement(2, 1), Arrangement(4, 1)]
    assert arrangements(2) == [Arrangement(1, 1), Arrangement(2, 1), Arrangement(1, 2)]


@given(st.lists(found, min_size=1, max_size=20), st.floats(1.0, 1e5))
def test_the_choice_is_about_the_fastest_of_those_that_fit(measured: list[Measured], memory_mb: float) -> None:
    chosen = choose(measured, memory_mb)
    assert chosen in measured
    fitting = [one for one in measured if one.memory_mb <= memory_mb / 2]
    if not fitting:
        assert chosen.memory_mb == min(one.memory_mb for one in measured)
        return
    assert chosen in fitting
    assert chosen.frames_s >= ALIKE * max(one.frames_s for one in fitting)
    assert not [one for one in fitting if one.frames_s >= chosen.frames_s and one.frame_ms < chosen.frame_ms]


def test_processes_beat_threads_unless_they_gain_nothing() -> None:
    processes, threads = row(2, 1, 47.7, 42.0), row(1, 2, 44.0, 23.0)
    assert choose([processes, threads], 8000) == processes
    assert choose([row(2, 1, 45.0, 42.0), threads], 8000) == threads
    assert choose([processes, row(1, 1, 24.0, 42.0)], 300) == processes
    assert choose([row(2, 1, 47.7, 42.0, 200.0), row(1, 1, 24.0, 42.0)], 300) == row(1, 1, 24.0, 42.0)


def test_streams_are_counted_whole_and_said_in_words() -> None:
    assert [streams(frames_s) for frames_s in (0.0, 37.0, 38.0, 75.1, 750.0)] == [0, 0, 1, 2, 20]
    assert serves(750.0) == "serves 20 live streams of 30 frames a second"
    assert serves(38.0) == "serves 1 live stream of 30 frames a second"
    assert serves(20.0).startswith("looks at 16 of the 30 frames a second")


@given(found)
def test_the_lines_to_paste_are_a_config(chosen: Measured) -> None:
    config = check_config(yaml.safe_load(config_lines(chosen)), "config.yaml")
    assert config.workers.face.count == chosen.workers
    assert config.runtime.threads == chosen.threads
