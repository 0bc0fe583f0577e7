"""The ceiling and the pipeline's share of it, once, very short; and what is made of CPU by process."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from bimodal.bench import limit, pipeline, scale
from bimodal.bench.errors import BenchError
from bimodal.bench.throughput import Throughput
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


@pytest.mark.parametrize("part", [pipeline, scale])
def test_what_can_not_be_made_costs_no_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: ModuleType
) -> None:
    def no_torch(_folder: Path) -> tuple[Path, Path]:
        raise BenchError("there is no torch")

    monkeypatch.setattr(part, "resnet_artifacts", no_torch)
    told: list[str] = []
    with pytest.raises(BenchError, match="no torch"):
        part.measure(msgspec.structs.replace(short_plan(tmp_path), resnet=True, tell=told.append))
    assert told == [f"{part.PART}: making ResNet-50"]


def test_windows_have_a_ceiling_of_their_own(tmp_path: Path) -> None:
    plan = short_plan(tmp_path, Config(), cores=2)
    outcome = limit.measure(plan)
    assert [figure.unit for figure in outcome.figures] == ["frames/s"] * 2 + ["windows/s"] * 2
    assert all(figure.value > 0 for figure in outcome.figures)
    assert len(outcome.notes) == 2
