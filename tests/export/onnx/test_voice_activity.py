"""Voice-activity networks of others, with and without a state, become artifacts that the audio worker runs."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bimodal.export.commands import app
from bimodal.models.catalog import resolve
from bimodal.models.session import Artifact, open_artifact
from bimodal.workers.audio.pipeline import VoiceActivity
from tests.export import foreign_files as files


def adopted(tmp_path: Path, source: Path, *arguments: str) -> Artifact:
    words = ["onnx", str(source), "--kind", "voice-activity", "--sample-rate", "16000", *arguments]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    return open_artifact(tmp_path / "out" / source.stem / "model.onnx", "voice-activity", provider="cpu")


@pytest.mark.parametrize(
    ("samples", "states", "columns", "logits", "arguments"),
    [
        (512, 1, 1, False, ()),
        (576, 2, 1, True, ()),
        (480, 0, 2, False, ("--labels", "voice,other")),
        (320, 0, 2, True, ("--labels", "other,voice")),
    ],
)
def test_it_answers_as_the_network_does_and_the_worker_runs_it(
    tmp_path: Path, samples: int, states: int, columns: int, logits: bool, arguments: tuple[str, ...]
) -> None:
    source = files.voice_activity(tmp_path / "vad.onnx", samples, states, columns, logits=logits)
    artifact = adopted(tmp_path, source, *arguments)
    wave = np.random.default_rng(0).normal(0, 0.3, (1, 576)).astype(np.float32)
    width = 4 * states or 1
    state = np.random.default_rng(1).normal(0, 0.1, (2, 1, width)).astype(np.float32)
    found = artifact.run(waveform=wave, state=state)
    feeds = {f"s{number}": state[:, :, 4 * number : 4 * number + 4] for number in range(states)}
    scores, *nexts = files.run(source, input=wave[:, -samples:], sr=np.array(16_000), **feeds)
    if logits:
        scores = files.softmax(scores) if columns == 2 else 1 / (1 + np.exp(-scores))
    place = list(arguments[1].split(",")).index("voice") if arguments else 0
    np.testing.assert_allclose(found["probability"], scores[:, place : place + 1], atol=1e-5)
    if states:
        np.testing.assert_allclose(found["next_state"], np.concatenate(nexts, axis=2), atol=1e-6)
    sound = np.concatenate([np.zeros(16_000), wave.repeat(20)]).astype(np.float32)
    probabilities = VoiceActivity(artifact, "HQ").probabilities(sound, 16_000)
    assert probabilities.shape == (int(np.ceil((sound.size - 64) / 512)),)


def test_what_can_not_be_run_by_steps_is_said(tmp_path: Path) -> None:
    for source, words in (
        (files.voice_activity(tmp_path / "long.onnx", 8000, 0), "hears 8000 samples at once, but a step has 576"),
        (files.voice_activity(tmp_path / "two.onnx", 512, 0, 2), "--labels other,voice"),
    ):
        arguments = ["onnx", str(source), "--kind", "voice-activity", "--sample-rate", "16000", "--out", str(tmp_path)]
        assert words in CliRunner().invoke(app, arguments).output
    result = CliRunner().invoke(app, ["onnx", str(tmp_path / "two.onnx"), "--kind", "voice-activity"])
    assert "--sample-rate" in result.output


def test_silero_as_its_authors_publish_it_answers_as_the_one_that_ships(silero_wheel: Path, tmp_path: Path) -> None:
    source = tmp_path / "theirs.onnx"
    with zipfile.ZipFile(silero_wheel) as wheel:
        source.write_bytes(wheel.read("silero_vad/data/silero_vad.onnx"))
    artifact = adopted(tmp_path, source, "--window", "0.036")
    ours = open_artifact(resolve("silero-vad"), "voice-activity", provider="cpu")
    wave = np.random.default_rng(0).normal(0, 0.1, (2, 576)).astype(np.float32)
    state = np.random.default_rng(1).normal(0, 0.5, (2, 2, 128)).astype(np.float32)
    # Theirs takes several sounds at once, ours the steps of one.
    for one in (0, 1):
        found, expected = (each.run(waveform=wave[[one]], state=state[:, [one]]) for each in (artifact, ours))
        for name in ("probability", "next_state"):
            np.testing.assert_allclose(found[name], expected[name], atol=1e-4)
