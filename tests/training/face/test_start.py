"""Training goes on from weights of a run or of an artifact."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from bimodal.models.architectures.face_compact import FaceCompact, standardise
from bimodal.models.catalog import ROOT
from bimodal.models.session import open_artifact
from bimodal.training.config import FaceConfig
from bimodal.training.datasets.fer2013 import Faces
from bimodal.training.errors import TrainingError
from bimodal.training.face.start import begin_with, marks_of
from bimodal.training.face.train import freeze
from bimodal.training.loop import save

WIDTHS = (64, 128, 224)


def pictures(count: int = 40) -> np.ndarray:
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (count, 6, 6), dtype=np.uint8)
    return np.kron(coarse, np.ones((1, 8, 8), np.uint8))


def test_network_answers_as_the_artifact_it_starts_from() -> None:
    network = FaceCompact(7, WIDTHS)
    begin_with(network, ROOT / "face-compact/model.onnx", pictures())
    artifact = open_artifact(ROOT / "face-compact/model.onnx", "face-static", provider="cpu")
    with torch.inference_mode():
        grey = torch.from_numpy(pictures(8))[:, None].to(torch.float32)
        logits, embedding = network.eval()(standardise(grey))
        batch_statistics = network.train()(standardise(torch.from_numpy(pictures())[:, None].to(torch.float32)))[1]
    found = artifact.run(faces=np.repeat(pictures(8)[..., None], 3, axis=3))
    np.testing.assert_allclose(embedding, found["embedding"], atol=1e-3)
    temperature = artifact.metadata.temperature or 1.0
    np.testing.assert_allclose(torch.softmax(logits / temperature, 1), found["probabilities"], atol=1e-4)
    # The statistics are those of its pictures: learning on does not begin with another network.
    whole = artifact.run(faces=np.repeat(pictures()[..., None], 3, axis=3))["embedding"]
    assert np.corrcoef(batch_statistics.numpy().ravel(), whole.ravel())[0, 1] > 0.98


@pytest.mark.parametrize("file", ["face-compact/int8.onnx", "face-large/model.onnx"])
def test_weights_in_integers_become_a_network_that_answers_alike(file: str) -> None:
    network = FaceCompact(7, WIDTHS)
    begin_with(network, ROOT / file, pictures())
    artifact = open_artifact(ROOT / file, "face-static", provider="cpu")
    faces = pictures(8)
    side = artifact.inputs[0].shape[1]
    if isinstance(side, int) and side != faces.shape[1]:
        faces = np.stack([cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA) for face in faces])
    with torch.inference_mode():
        grey = torch.from_numpy(pictures(8))[:, None].to(torch.float32)
        embedding = network.eval()(standardise(grey))[1].numpy()
    found = artifact.run(faces=np.repeat(faces[..., None], 3, axis=3))["embedding"]
    assert np.corrcoef(embedding.ravel(), found.ravel())[0, 1] > 0.97


def test_of_face_robust_the_network_for_degraded_faces_is_taken() -> None:
    networks = FaceCompact(7, WIDTHS).eval(), FaceCompact(7, WIDTHS).eval()
    for network, file in zip(networks, ("face-robust", "face-large"), strict=True):
        begin_with(network, ROOT / file / "model.onnx", pictures())
    with torch.inference_mode():
        grey = standardise(torch.from_numpy(pictures(8))[:, None].to(torch.float32))
        first, second = (network(grey)[0] for network in networks)
    torch.testing.assert_close(first, second, atol=1e-3, rtol=1e-3)


def test_weights_of_a_run_are_loaded_and_others_are_refused(tmp_path: Path) -> None:
    one, other = FaceCompact(7, (8, 16, 24), 1), FaceCompact(7, (8, 16, 24), 1)
    save(tmp_path / "best.pt", {"network": one.state_dict()})
    begin_with(other, tmp_path / "best.pt", pictures())
    assert all(torch.equal(one.state_dict()[name], values) for name, values in other.state_dict().items())
    with pytest.raises(TrainingError, match="another network's"):
        begin_with(FaceCompact(7, (8, 16, 32), 1), tmp_path / "best.pt", pictures())
    with pytest.raises(TrainingError, match="another network's"):
        begin_with(FaceCompact(7, (8, 16, 24), 1), ROOT / "face-compact/model.onnx", pictures())
    with pytest.raises(TrainingError, match="there are no weights"):
        begin_with(one, tmp_path / "none.pt", pictures())


def test_frozen_layers_keep_weights_and_statistics() -> None:
    network = FaceCompact(7, (8, 16, 24), 1).train()
    freeze(network, 4)
    before = {name: values.clone() for name, values in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    grey = torch.from_numpy(pictures())[:, None].to(torch.float32)
    network(standardise(grey))[0].square().mean().backward()
    optimizer.step()
    changed = {name for name, values in network.state_dict().items() if not torch.equal(values, before[name])}
    assert changed
    assert not any(name.startswith(("features.0.", "features.1.", "features.2.", "features.3.")) for name in changed)


def test_marks_are_found_once_and_kept(tmp_path: Path) -> None:
    faces = Faces(("a", "b"), pictures(2), np.ones((2, 7), np.float32), np.zeros(2, np.int64))
    config = FaceConfig(
        name="x", version="1", data=tmp_path, output=tmp_path, runs=tmp_path, learning_rate=0.1, weight_decay=0.0,
        sizes=(48,),
    )  # fmt: skip
    marks = marks_of(config, faces)
    assert marks.shape == (2, 5, 2)
    assert np.isnan(marks).all(), "checks are no faces"
    (kept,) = (tmp_path / "x").glob("marks-*.npy")
    np.save(kept, np.full_like(marks, 7.0))
    assert (marks_of(config, faces) == 7.0).all()
