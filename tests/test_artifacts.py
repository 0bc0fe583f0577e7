"""The tiny artifacts that tests use keep their contract and answer as documented."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bimodal.models.emotions import EMOTIONS
from bimodal.models.session import open_artifact
from tests.artifacts import make_face_dynamic, make_face_static, make_speech, make_voice_activity


@pytest.mark.parametrize("index", range(7))
def test_speech_names_the_class_of_its_loudness(tmp_path: Path, index: int) -> None:
    artifact = open_artifact(make_speech(tmp_path / "model.onnx"), "speech", provider="cpu")
    level = (index + 0.5) / 7
    probabilities = artifact.run(waveform=np.full((2, 9_000), level, np.float32))["probabilities"]
    assert probabilities.argmax(axis=1).tolist() == [index, index]
    assert probabilities.max() > 0.9


def test_voice_activity_hears_loudness_and_counts_steps(tmp_path: Path) -> None:
    artifact = open_artifact(make_voice_activity(tmp_path / "model.onnx"), "voice-activity", provider="cpu")
    state = np.zeros((2, 1, 128), np.float32)
    quiet = artifact.run(waveform=np.full((1, 576), 0.001, np.float32), state=state)
    loud = artifact.run(waveform=np.full((1, 576), 0.1, np.float32), state=quiet["next_state"])
    assert quiet["probability"][0, 0] < 0.01 < 0.99 < loud["probability"][0, 0]
    assert loud["next_state"][0, 0, 0] == 2.0


@pytest.mark.parametrize("index", range(7))
def test_face_static_names_the_class_of_its_brightness(tmp_path: Path, index: int) -> None:
    artifact = open_artifact(make_face_static(tmp_path / "model.onnx"), "face-static", provider="cpu")
    faces = np.full((3, 48, 48, 3), round((index + 0.5) / 7 * 256), np.uint8)
    outputs = artifact.run(faces=faces)
    assert outputs["probabilities"].argmax(axis=1).tolist() == [index] * 3
    assert outputs["embedding"].shape == (3, 16)


def test_face_static_without_embedding(tmp_path: Path) -> None:
    artifact = open_artifact(make_face_static(tmp_path / "model.onnx", embedding=None), "face-static", provider="cpu")
    assert [tensor.name for tensor in artifact.outputs] == ["probabilities"]
    assert artifact.metadata.embedding_space is None


def test_face_dynamic_follows_the_mean_embedding(tmp_path: Path) -> None:
    artifact = open_artifact(make_face_dynamic(tmp_path / "model.onnx"), "face-dynamic", provider="cpu")
    embeddings = np.zeros((1, 10, 16), np.float32)
    embeddings[:, 5:, EMOTIONS.index("fear")] = 20.0
    assert artifact.run(embeddings=embeddings)["probabilities"].argmax() == EMOTIONS.index("fear")
