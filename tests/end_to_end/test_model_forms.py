"""Models by configuration: the seed's whole chain, an ensemble, and a file that breaks its contract."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bimodal.config import load_config
from bimodal.models.contract import Crop
from bimodal.models.fetch import install
from tests.artifacts import make_face_dynamic, make_face_static, make_speech
from tests.end_to_end.driving import REPOSITORY, Driven, events_of, summary_of
from tests.media import face_clip

SEED = REPOSITORY / "docs/examples/seed.yaml"
LABELS = ("Neutral", "Happiness", "Sadness", "Surprise", "Fear", "Disgust", "Anger")
SIX = ("neutral", "happy", "sad", "angry", "fear", "disgust")
SPACE = "emo-affectnet@1"
CHAIN = {"face-static": "emo-affectnet@1", "face-dynamic": "emo-affectnet-aff-wild2@1", "speech": "ser-352x15@1"}


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "XDG_DATA_HOME": str(home)}


def analyze(home: Path, clip: Path, config: Path, out: Path) -> tuple[int, str]:
    arguments = ("analyze", clip, "--out", out, "--config", config)
    with Driven(*arguments, environment=environment(home)) as driven:
        code, _, err = driven.finish()
    return code, err


def check_chain(out: Path, name: str, seconds: float) -> None:
    """Both face models, speech and fusion have their say, each when it can."""
    events = events_of(out, name)
    assert all(len(event["faces"]) == 1 for event in events)
    with_dynamic = [event["t"] for event in events if event["faces"][0]["dynamic"]]
    assert with_dynamic[0] == pytest.approx(1.8, abs=0.25), "ten steps of 0.2 s"
    assert len(with_dynamic) == sum(event["t"] >= with_dynamic[0] for event in events)
    values = [tuple(event["faces"][0]["dynamic"].values()) for event in events if event["faces"][0]["dynamic"]]
    assert len(set(values)) <= round((seconds - with_dynamic[0]) / 0.2) + 2, "it ticks five times a second"
    spoken = [event for event in events if event["speech"] and event["speech"]["probabilities"]]
    assert spoken
    assert {"surprise"} == set(events[0]["faces"][0]["static"]) - set(spoken[0]["speech"]["probabilities"])
    both: list[dict[str, Any]] = [face for event in spoken for face in event["faces"] if face["weights"]["speech"] > 0]
    assert both
    for face in both:
        assert sum(face["fused"].values()) == pytest.approx(1.0, abs=2e-3)
        assert face["fused"]["surprise"] > 0 or face["video"]["surprise"] < 1e-3
    assert summary_of(out, name)["models"].items() >= CHAIN.items()


def test_the_example_says_what_the_seed_did() -> None:
    config = load_config(SEED)
    fusion = config.fusion
    assert (fusion.strategy, fusion.video_weight, fusion.speech_weight) == ("average", 0.7, 0.3)
    assert config.capture.window_s >= 3.75
    commands = [line.split()[-1] for line in SEED.read_text().splitlines() if "bimodal models fetch" in line]
    assert set(commands) == {*config.models.face_static, config.models.face_dynamic, *config.models.speech}


def test_the_seeds_chain_runs_by_its_example(tmp_path: Path) -> None:
    """Artifacts of the same shapes, labels and rates under the same names."""
    home = tmp_path / "bimodal/models"
    crop = Crop(scale=1.0, rotate=False)
    face = {"labels": LABELS, "embedding": 512, "embedding_space": SPACE}
    static = make_face_static(tmp_path / "s.onnx", name="emo-affectnet", size=224, crop=crop, **face)  # type: ignore[arg-type]
    dynamic = make_face_dynamic(tmp_path / "d.onnx", name="emo-affectnet-aff-wild2", **face)  # type: ignore[arg-type]
    speech = make_speech(
        tmp_path / "v.onnx", name="ser-352x15", labels=SIX, sample_rate=48_000, window_s=3.75, minimum_window_s=1.0
    )
    for path, name in ((static, "emo-affectnet"), (dynamic, "emo-affectnet-aff-wild2"), (speech, "ser-352x15")):
        install(path, name, home)
    code, err = analyze(tmp_path, face_clip(tmp_path / "talk.mp4", 4.0, fps=15), SEED, tmp_path / "out")
    assert code == 0, err
    check_chain(tmp_path / "out", "talk", 4.0)


def test_without_the_models_the_example_says_what_to_fetch(tmp_path: Path) -> None:
    code, err = analyze(tmp_path, face_clip(tmp_path / "a.mp4", 0.2), SEED, tmp_path / "out")
    assert code == 1
    assert "run 'bimodal models fetch emo-affectnet'" in err
    assert len(err.strip().splitlines()) == 1


def test_two_static_models_are_one_opinion_under_both_names(tmp_path: Path) -> None:
    first = make_face_static(tmp_path / "a.onnx", name="a", labels=LABELS)
    second = make_face_static(tmp_path / "b.onnx", name="b", labels=SIX, size=64)
    config = tmp_path / "config.yaml"
    config.write_text(f"models: {{face-static: [{first}, {second}], speech: none}}")
    code, err = analyze(tmp_path, face_clip(tmp_path / "face.mp4", 0.6, voice=False), config, tmp_path / "out")
    assert code == 0, err
    assert summary_of(tmp_path / "out", "face")["models"]["face-static"] == "a@1+b@1"
    assert all(
        sum(event["faces"][0]["static"].values()) == pytest.approx(1, abs=2e-3)
        for event in events_of(tmp_path / "out", "face")
    )


def test_one_of_two_that_breaks_its_contract_stops_it_with_the_sentence(tmp_path: Path) -> None:
    good = make_face_static(tmp_path / "a.onnx")
    bad = make_face_static(tmp_path / "b.onnx", crop=None)
    config = tmp_path / "config.yaml"
    config.write_text(f"models: {{face-static: [{good}, {bad}], speech: none}}")
    code, err = analyze(tmp_path, face_clip(tmp_path / "face.mp4", 0.2, voice=False), config, tmp_path / "out")
    assert code == 1
    assert "a face-static artifact needs 'crop' in its metadata" in err
    assert "Traceback" not in err


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_seeds_own_networks_run_by_its_example(shared: Path, tmp_path: Path) -> None:
    """State dicts of the real networks with random weights, and the real Keras file, fetched from a folder."""
    torch = pytest.importorskip("torch")
    from bimodal.export.onnx.description import Description
    from bimodal.export.torch.convert import export_torch
    from bimodal.models.architectures.emo_affectnet import EmoAffectNet
    from bimodal.models.architectures.emo_affectnet_dynamic import EmoAffectNetDynamic

    torch.manual_seed(0)
    torch.save(EmoAffectNet().state_dict(), tmp_path / "static.pt")
    torch.save(EmoAffectNetDynamic().state_dict(), tmp_path / "dynamic.pt")
    home, dynamic = tmp_path / "bimodal/models", Description(name="emo-affectnet-aff-wild2")
    export_torch(tmp_path / "static.pt", "emo-affectnet", home, print)
    export_torch(tmp_path / "dynamic.pt", "emo-affectnet-dynamic", home, print, description=dynamic)
    fetch = [sys.executable, "-m", "bimodal", "models", "fetch", "ser-352x15", "--yes", "--from"]
    done = subprocess.run(
        [*fetch, str(shared / "models")], capture_output=True, text=True, check=False, env=environment(tmp_path)
    )
    assert done.returncode == 0, done.stderr
    code, err = analyze(tmp_path, face_clip(tmp_path / "talk.mp4", 3.6, fps=10), SEED, tmp_path / "out")
    assert code == 0, err
    check_chain(tmp_path / "out", "talk", 3.6)
