"""When a worker waits for more jobs, and for how many."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bimodal.workers.inference import SILENT_S, ActiveStreams, Batching, batching, gpu_of
from bimodal.workers.settings import RuntimeSettings


def test_a_gpu_takes_several_and_waits_a_moment_a_core_takes_one_at_once() -> None:
    assert batching(RuntimeSettings(), "cpu") == Batching(1, 0.0)
    assert batching(RuntimeSettings(), "cuda").most > 1
    assert batching(RuntimeSettings(), "cuda").wait_s > 0
    for provider in ("cpu", "cuda"):
        assert batching(RuntimeSettings(max_batch=4, max_wait_ms=0.0), provider) == Batching(4, 0.0)
        assert batching(RuntimeSettings(max_batch=1, max_wait_ms=20.0), provider) == Batching(1, 0.02)


def test_one_stream_alone_is_never_waited_for() -> None:
    streams = ActiveStreams()
    for turn in range(100):
        streams.on_job("desk", turn / 30)
        assert not streams.any_missing({"desk"}, turn / 30)


def test_a_second_stream_is_waited_for_until_it_falls_silent() -> None:
    streams = ActiveStreams()
    streams.on_job("door", 0.0)
    streams.on_job("desk", 0.01)
    assert streams.any_missing({"desk"}, 0.02)
    assert not streams.any_missing({"desk", "door"}, 0.02)
    assert not streams.any_missing({"desk"}, SILENT_S + 0.005)


@given(st.integers(1, 8), st.integers(1, 40))
def test_workers_share_out_the_gpus(gpus: int, workers: int) -> None:
    taken = [gpu_of(f"face {number}", gpus) for number in range(1, workers + 1)]
    assert set(taken) == set(range(min(gpus, workers)))
    assert gpu_of("face 3", 0) == gpu_of("face", gpus) == 0
