"""`bimodal doctor --size`: real processes, very short."""

from __future__ import annotations

import json
import math
from pathlib import Path

from bimodal.doctor.sizing import arrangements
from bimodal.supervisor.usage import cores
from tests.artifacts import make_face_static
from tests.end_to_end.driving import run


def test_it_measures_every_arrangement_and_proposes_one_of_them(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("runtime: {provider: cpu}\n")
    code, out, err = run("doctor", "--size", "--seconds", "0.1", "--json", "--config", config)
    assert code == 0, err
    found = json.loads(out)
    rows = found["measured"]
    assert [(row["workers"], row["threads"]) for row in rows] == [tuple(one) for one in arrangements(cores())]
    for row in rows:
        for value in (row["frames_s"], row["frame_ms"], row["memory_mb"]):
            assert math.isfinite(value)
            assert value > 0
    assert found["proposed"] in rows
    assert f"count: {found['proposed']['workers']}" in found["config"]


def test_a_model_that_can_not_be_opened_is_one_sentence(tmp_path: Path) -> None:
    model = make_face_static(tmp_path / "model.onnx")
    model.write_bytes(b"broken")
    config = tmp_path / "config.yaml"
    config.write_text(f"models: {{face-static: {model}}}\n")
    code, out, err = run("doctor", "--size", "--seconds", "0.1", "--config", config)
    assert (code, out) == (1, "")
    assert err.startswith("bimodal: ")
    assert "can't be opened: it is no ONNX file" in err
