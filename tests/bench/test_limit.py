"""The ceiling and the pipeline's share of it, once, very short; and what is made of CPU by process."""

from __future__ import annotations

from pathlib import Path

import pytest

from bimodal.bench import limit, pipeline
from bimodal.bench.pipeline import Throughput
from bimodal.config import Config
from tests.bench.planning import short_plan


def test_cpu_is_summed_by_role_and_over_all() -> None:
    runs = [
        Throughput(10.0, {"face 1": 1.0, "face 2": 2.0, "broker": 0.5}, 1.0),
        Throughput(20.0, {"broker": 0.25}, 1.0),
    ]
    assert pipeline.by_role(runs) == {"face": [3.0], "broker": [0.5, 0.25], "all": [3.5, 0.25]}


def test_the_pipeline_stands_beside_the_limit_of_the_same_models(tmp_path: Path) -> None:
    plan = short_plan(tmp_path, cores=2)
    found = {figure.name: figure for figure in pipeline.measure(plan).figures}
    bare, whole = found["bare ONNX Runtime"], found["the pipeline"]
    assert whole.against == bare.name
    assert bare.value > 0
    assert whole.value > 0
    assert found["share of the limit, pair by pair"].floor == 0.80
    assert {f"CPU a frame, {role}" for role in ("face", "broker", "fusion", "capture", "supervisor", "all")} < set(
        found
    )
    assert found["CPU a frame, all"].value >= found["CPU a frame, face"].value > 0
    assert found["CPU a frame, bare"].low is None, "one value a repeat, of all its processes together"
    assert found["a picture"].value == 640 * 360 * 3 / 1e3
    copied, messages = found["pixels copied a frame"], found["messages a frame"]
    assert copied.ratio == pytest.approx(1, abs=0.5), "as many more as lay in slots at the end as at the beginning"
    assert messages.ratio is not None
    assert 0 < messages.ratio < 0.05


def test_windows_have_a_ceiling_of_their_own(tmp_path: Path) -> None:
    plan = short_plan(tmp_path, Config(), cores=2)
    outcome = limit.measure(plan)
    assert [figure.unit for figure in outcome.figures] == ["frames/s"] * 2 + ["windows/s"] * 2
    assert all(figure.value > 0 for figure in outcome.figures)
    assert len(outcome.notes) == 2
