"""The face and speech models that ship: they open, keep their contract, and are as good as their cards say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from bimodal import models
from bimodal.models.emotions import EMOTIONS
from bimodal.models.session import Artifact, open_artifact

ROOM = Path(models.__file__).parent
SPEECH = ("speech-compact", "speech-voice", "speech-whisper")
NAMES = ("face-compact", *SPEECH)
FACE_FLOOR = 0.75
TRAINED_FLOOR = 0.6


@pytest.fixture(scope="module")
def face() -> Artifact:
    return open_artifact(ROOM / "face-compact" / "model.onnx", "face-static", provider="cpu")


@pytest.fixture(scope="module", params=SPEECH)
def speech(request: pytest.FixtureRequest) -> Artifact:
    return open_artifact(ROOM / request.param / "model.onnx", "speech", provider="cpu")


def test_the_face_model_keeps_its_contract(face: Artifact) -> None:
    metadata = face.metadata
    assert face.identity.startswith("face-compact@")
    assert metadata.labels == EMOTIONS
    assert metadata.embedding_space == face.identity
    assert metadata.crop is not None
    pictures = np.random.default_rng(0).integers(0, 256, (5, 48, 48, 3), dtype=np.uint8)
    together, alone = face.run(faces=pictures), face.run(faces=pictures[3:4])
    assert together["embedding"].min() >= 0
    assert np.allclose(together["probabilities"].sum(axis=1), 1, atol=1e-5)
    for output, values in together.items():
        assert np.abs(values[3:4] - alone[output]).max() < 1e-4


def test_the_light_of_the_room_matters_little(face: Artifact) -> None:
    picture = np.random.default_rng(1).integers(60, 180, (1, 48, 48, 3), dtype=np.uint8)
    darker = (picture // 2).astype(np.uint8)
    difference = np.abs(face.run(faces=picture)["probabilities"] - face.run(faces=darker)["probabilities"])
    assert difference.max() < 0.05


@pytest.mark.parametrize("samples", [16_000, 16_037, 30_000, 48_000])
def test_the_speech_model_keeps_its_contract(speech: Artifact, samples: int) -> None:
    metadata = speech.metadata
    assert metadata.labels == EMOTIONS
    assert (metadata.sample_rate, metadata.window_s, metadata.minimum_window_s) == (16_000, 3.0, 1.0)
    sound = np.random.default_rng(samples).normal(0, 0.05, (5, samples)).astype(np.float32)
    together = speech.run(waveform=sound)["probabilities"]
    assert np.abs(together[2:3] - speech.run(waveform=sound[2:3])["probabilities"]).max() < 1e-4
    assert np.abs(together - speech.run(waveform=10 * sound)["probabilities"]).max() < 1e-3
    assert np.isfinite(speech.run(waveform=np.zeros((1, samples), np.float32))["probabilities"]).all()


@pytest.mark.parametrize("name", NAMES)
def test_files_are_small_plain_and_documented(name: str) -> None:
    path = ROOM / name / "model.onnx"
    assert path.stat().st_size < 12_000_000
    model = onnx.load(str(path))
    assert not {"Loop", "Scan", "If", "STFT"} & {node.op_type for node in model.graph.node}
    assert {entry.domain for entry in model.opset_import} <= {"", "ai.onnx"}
    metadata = open_artifact(path).metadata
    card = (path.parent / "card.md").read_text(encoding="utf-8")
    metrics = metadata.metrics or {}
    assert f"{float(str(metrics['uar'])):.3f}" in card
    assert f"{float(str(metrics['accuracy'])):.3f}" in card
    assert set(EMOTIONS) <= set(metrics["recall"])  # type: ignore[call-overload]


@pytest.mark.shared
def test_the_face_model_reaches_its_floor_on_pictures_it_never_saw(face: Artifact, shared: Path) -> None:
    pytest.importorskip("scipy", reason="needs the extra 'training'")
    from bimodal.training.datasets.fer2013 import LEFT_OUT, load_fer2013
    from bimodal.training.evaluate.evaluate import face_probabilities, trained_on

    assert "fer2013/valid" not in trained_on(face.metadata)
    faces = load_fer2013(shared / "data" / "fer2013", "valid")
    decided = faces.take((faces.majority != LEFT_OUT) & (np.arange(len(faces)) % 5 == 0))
    assert len(decided) > 400
    found = face_probabilities(face, decided).argmax(axis=1)
    assert np.mean(found == decided.majority) >= FACE_FLOOR


@pytest.mark.shared
def test_the_speech_model_still_knows_what_it_learnt(speech: Artifact, shared: Path) -> None:
    """No figure of quality (it trained on these actors): it shows that the graph hears as the training did."""
    pytest.importorskip("librosa", reason="needs the extra 'training'")
    from bimodal.training.datasets.ravdess import decode, find_clips, record
    from bimodal.training.evaluate.evaluate import speech_probabilities
    from bimodal.training.speech.sound import centre_window

    clips = find_clips(shared / "data" / "ravdess")[::12]
    windows = [centre_window(record(clip, decode(clip.path))) for clip in clips]
    found = speech_probabilities(speech, windows).argmax(axis=1)
    assert np.mean(found == [clip.emotion for clip in clips]) >= TRAINED_FLOOR


def test_speech_was_validated_on_actors_left_out(speech: Artifact) -> None:
    metrics = speech.metadata.metrics or {}
    folds = metrics["uar_folds"]
    assert isinstance(folds, dict)
    assert len(folds) == len(metrics.get("corpora", range(5)))  # type: ignore[arg-type]
    assert float(np.mean(list(folds.values()))) == pytest.approx(float(str(metrics["uar"])), abs=1e-3)
    assert float(str(metrics["uar"])) >= 0.5
