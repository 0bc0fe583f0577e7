"""Why CUDA is not active: what the doctor says about machines of every kind."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from bimodal.config import Config, check_config
from bimodal.doctor import checks
from bimodal.doctor.checks import Finding, Gpus, cuda_findings, explain, find_gpus, precision_finding
from bimodal.models.cuda import DRIVER, missing, provider_library
from bimodal.models.precision import choose

NEEDED = ("libcublasLt.so.13", "libcublas.so.13", "libcudart.so.13", DRIVER, "libcudnn.so.9")
GOOD = Gpus(cards=1, driver=True, newest=(13, 0), container=False, locked=None, needed=NEEDED, lost=())


def said(findings: list[Finding]) -> str:
    return "\n".join(f"{one.check}: {one.found}: {one.advice}" for one in findings if one.verdict != "ok")


def test_where_all_is_well_nothing_is_said() -> None:
    found = explain(GOOD, "cuda", "cuda")
    assert {finding.verdict for finding in found} == {"ok"}
    assert "1 GPU, driver for CUDA 13.0" in [finding.found for finding in found]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"cards": 0, "driver": False, "newest": None}, "no /dev/nvidia*: install NVIDIA's driver"),
        ({"cards": 0, "driver": False, "newest": None, "container": True}, "--gpus all"),
        ({"cards": 0}, "CUDA_VISIBLE_DEVICES hides every GPU"),
        ({"locked": "/dev/nvidia0"}, "/dev/nvidia0 can't be opened"),
        ({"newest": None}, "libcuda.so.1 is not there"),
        ({"newest": (12, 4)}, "driver for CUDA 12.4 at most: install a driver for CUDA 13"),
        ({"needed": ()}, "is built without CUDA"),
        (
            {"lost": ("libcudnn.so.9",)},
            "library libcudnn.so.9: can't be loaded: pip install 'onnxruntime-gpu[cuda,cudnn]'",
        ),
        ({"lost": ("libcublas.so.13",)}, "brings it (nvidia-cublas)"),
        ({}, "ONNX Runtime took no GPU"),
    ],
)
def test_each_cause_is_named_with_what_to_do(change: dict[str, object], sentence: str) -> None:
    gpus = GOOD._replace(**change)  # type: ignore[arg-type]
    asked, idle = explain(gpus, "cuda", None), explain(gpus, "auto", "cpu")
    assert sentence in said(asked)
    assert {finding.verdict for finding in asked} <= {"ok", "wrong"}
    assert {finding.verdict for finding in idle} <= {"ok", "warning"}
    assert said(idle) == said(asked)


def test_every_library_that_is_missing_is_named_and_the_driver_only_once() -> None:
    lost = (*NEEDED[:2], DRIVER)
    found = explain(GOOD._replace(newest=None, lost=lost), "cuda", None)
    assert [finding.check for finding in found] == ["gpu", *(f"library {name}" for name in NEEDED[:2])]


def test_an_output_whose_package_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = check_config({"outputs": {"osc": True, "mqtt": "broker"}}, "test")
    monkeypatch.setattr(checks, "installed", lambda module: module == "paho")
    found = {finding.check: finding for finding in checks.output_findings(wanted)}
    assert set(found) == {"outputs.osc", "outputs.mqtt"}
    assert (found["outputs.mqtt"].verdict, found["outputs.osc"].verdict) == ("ok", "wrong")
    assert found["outputs.osc"].advice == "pip install 'bimodal-emotion[osc]'"


def test_nothing_is_said_where_no_gpu_is_asked_for() -> None:
    assert cuda_findings("cpu", "cpu") == []
    if not Path("/dev/nvidiactl").exists():
        assert cuda_findings("auto", "cpu") == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="devices and libraries of Linux")
def test_this_machine_is_looked_at_as_it_is() -> None:
    gpus = find_gpus()
    assert bool(gpus.needed) == (provider_library() is not None)
    assert gpus.lost == tuple(missing(gpus.needed))
    if not gpus.driver:
        assert gpus.cards == 0
        names = [name for name in gpus.lost if name != DRIVER]
        assert [finding.check for finding in cuda_findings("cuda", None)][1:] == [
            *(f"library {name}" for name in names)
        ] or not names


def test_the_variant_that_runs_is_said_with_its_reason() -> None:
    config = Config()
    exact = precision_finding(config, choose("auto", {"avx512_vnni"}))
    assert (exact.verdict, exact.found.partition(";")[0]) == ("ok", "int8 (auto: this processor has avx512_vnni)")
    assert precision_finding(config, choose("auto", {"avx2"})).found.startswith(
        "fp32 (auto: this processor has no VNNI"
    )
    slow = precision_finding(config, choose("int8", {"avx2"}))
    assert slow.verdict == "warning"
    compact = msgspec.structs.replace(
        config, models=msgspec.structs.replace(config.models, face_static=("face-compact",))
    )
    assert precision_finding(compact, choose("auto", {"avx2"})).found.endswith("; face-compact has both")
