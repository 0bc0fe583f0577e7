"""Pipelines over tiny artifacts, and over the real ones where they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from bimodal.models.session import Artifact, open_artifact
from bimodal.workers.audio.pipeline import SpeechPipeline
from bimodal.workers.audio.settings import AudioSettings
from tests.artifacts import make_speech, make_voice_activity

SHIPPED = Path(__file__).parents[3] / "models"


@pytest.fixture(scope="session")
def tiny_speech(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return open_artifact(make_speech(tmp_path_factory.mktemp("speech") / "model.onnx"), "speech", provider="cpu")


@pytest.fixture(scope="session")
def tiny_voice_activity(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    path = make_voice_activity(tmp_path_factory.mktemp("voice") / "model.onnx")
    return open_artifact(path, "voice-activity", provider="cpu")


@pytest.fixture(scope="session")
def pipeline(tiny_speech: Artifact, tiny_voice_activity: Artifact) -> SpeechPipeline:
    return SpeechPipeline(tiny_speech, tiny_voice_activity, AudioSettings())


@pytest.fixture(scope="session")
def silero() -> Artifact:
    return _shipped("silero-vad")


@pytest.fixture(scope="session")
def speech_compact() -> Artifact:
    return _shipped("speech-compact")


def _shipped(name: str) -> Artifact:
    path = SHIPPED / name / "model.onnx"
    if not path.is_file():
        pytest.skip(f"needs models/{name}/model.onnx")
    return open_artifact(path, provider="cpu")
