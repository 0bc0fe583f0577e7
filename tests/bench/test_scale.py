"""Speed-up by workers, and the broker among simulated ones: structure, whatever the speed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.bench.scale import LARGE_BYTES, LARGE_FLOOR, SMALL_FLOOR, floor_of_two, speed_up, worker_counts
from bimodal.config import Config
from bimodal.config.schema import ModelsConfig
from scripts.measure.broker import BUSY, INFERENCE_S, RATE, broker_alone, flood, joined_per_s, live, pace
from tests.bench.dynamic import WITH_DYNAMIC, counted_runs
from tests.bench.planning import short_plan


@given(cores=st.integers(1, 256))
def test_workers_are_counted_from_one_to_all_cores(cores: int) -> None:
    counts = worker_counts(cores)
    assert counts[0] == 1
    assert counts[-1] == cores
    assert list(counts) == sorted(set(counts))


def test_speed_up_is_against_one_worker_of_the_same_run(tmp_path: Path) -> None:
    asked: list[int] = []

    def run(_config: Config, workers: int) -> float:
        asked.append(workers)
        return 10.0 * workers

    figures, curve = speed_up(short_plan(tmp_path, cores=4), Config(), run)
    assert asked == [1, 2, 4]
    assert [figure.ratio for figure in figures] == [None, 2.0, 4.0]
    assert [figure.floor for figure in figures] == [None, SMALL_FLOOR, None]
    assert (curve.x, curve.y) == ((1.0, 2.0, 4.0), (1.0, 2.0, 4.0))


def test_more_is_wanted_of_models_as_large_as_resnet(tmp_path: Path) -> None:
    large = tmp_path / "model.onnx"
    with large.open("wb") as file:
        file.truncate(LARGE_BYTES)
    config = Config(models=ModelsConfig(face_static=(str(large),)))
    assert floor_of_two(config) == LARGE_FLOOR
    assert floor_of_two(Config()) == SMALL_FLOOR


@given(workers=st.integers(1, 128), streams=st.integers(1, 64), seconds=st.floats(0.01, 60))
def test_loads_keep_workers_busy_and_latency_is_measured_with_free_ones(
    workers: int, streams: int, seconds: float
) -> None:
    assert flood(workers, streams, seconds).credit * streams >= min(workers, 2 * workers - streams)
    assert 0 < pace(workers) <= RATE
    assert pace(workers) * INFERENCE_S <= BUSY * workers + 1e-9
    load = live(workers, streams, pace(workers), seconds)
    assert load.jobs * streams >= pace(workers) * seconds


def test_the_broker_alone(tmp_path: Path) -> None:
    alone = broker_alone(short_plan(tmp_path, cores=2))
    assert all(math.isfinite(figure.value) and figure.value > 0 for figure in alone.figures)
    judged = [figure for figure in alone.figures if figure.floor is not None]
    assert [(figure.floor, figure.at_most, figure.against) for figure in judged] == [(1.0, True, None)]
    p50, p99 = (figure.value for figure in alone.figures[:2])
    assert p50 <= p99
    for curve in alone.curves:
        assert len(curve.x) == len(curve.y) > 0
        assert all(map(math.isfinite, curve.y))
    assert "% of a core" in alone.notes[0]


def test_fusion_alone(tmp_path: Path) -> None:
    assert 0 < joined_per_s(short_plan(tmp_path)) < math.inf


def test_fusion_alone_runs_the_dynamic_model_of_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = counted_runs(monkeypatch, "scripts.measure.broker")
    assert joined_per_s(short_plan(tmp_path, WITH_DYNAMIC)) > 0
    assert runs
