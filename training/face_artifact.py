"""face-compact from raw files to a checked artifact: train, calibrate, export, measure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.architectures.face_compact import SIZE, FaceCompact, FaceCompactGraph
from models.contract import CONTRACT_VERSION, Crop, Metadata
from models.emotions import EMOTIONS
from models.session import open_artifact
from training.calibrate import fit_temperature
from training.config import FaceConfig
from training.datasets.fer2013 import LEFT_OUT, Faces, load_fer2013
from training.evaluate import evaluate_face
from training.face import Say, logits_of, split_for_calibration, train_face, trainable
from training.metrics import Figures
from training.to_artifact import set_metadata, write_artifact

LICENSE = "MIT (weights); trained on FER2013, which is for research use"
SOURCE = "trained by this project on FER2013 pictures with FER+ votes"


def make_face(config: FaceConfig, say: Say) -> Path:
    """Train and ship. Returns the path of the artifact.

    Raises DatasetError for the data, TrainingError where the exported graph does not answer as torch does.
    """
    training, kept_back = split_for_calibration(load_fer2013(config.data, "train"), config.calibration_every)
    network = train_face(config, trainable(training), kept_back, say)
    return ship_face(config, network, kept_back, say)


def ship_face(config: FaceConfig, network: FaceCompact, kept_back: Faces, say: Say) -> Path:
    """Calibrate on pictures kept back from training, export, and measure the artifact on the split `valid`."""
    decided = kept_back.take(kept_back.majority != LEFT_OUT)
    temperature = round(fit_temperature(logits_of(network, decided.pictures), decided.majority), 4)
    path = config.output / "model.onnx"
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # torch's stubs lack it
    graph = FaceCompactGraph(network, temperature)
    faces = _rgb(kept_back)
    difference = write_artifact(
        graph, _metadata(config, temperature, None), faces[:2], {0: "batch"}, _checks(config.seed, faces), path
    )
    say(f"{path}: temperature {temperature}, ONNX Runtime and torch differ by {difference:.1e}")
    evaluation = evaluate_face(path, config.data, "valid")
    set_metadata(path, _metadata(config, temperature, _metrics(evaluation.figures, evaluation.protocol)))
    open_artifact(path, "face-static", provider="cpu")
    say(f"{path}: accuracy {evaluation.figures.accuracy:.4f}, UAR {evaluation.figures.uar:.4f} on valid")
    return path


def _metadata(config: FaceConfig, temperature: float, metrics: dict[str, object] | None) -> Metadata:
    return Metadata(
        contract=CONTRACT_VERSION,
        kind="face-static",
        name=config.name,
        version=config.version,
        license=LICENSE,
        source=SOURCE,
        labels=EMOTIONS,
        embedding_space=f"{config.name}@{config.version}",
        crop=Crop(scale=config.crop_scale, shift_y=config.crop_shift_y, rotate=config.crop_rotate),
        temperature=temperature,
        metrics=metrics,
    )


def _metrics(figures: Figures, protocol: str) -> dict[str, object]:
    return {
        "accuracy": round(figures.accuracy, 4),
        "uar": round(figures.uar, 4),
        "macro_f1": round(figures.macro_f1, 4),
        "ece": round(figures.ece, 4),
        "n": figures.n,
        "recall": {label: round(value, 4) for label, value in figures.recall.items()},
        "protocol": f"FER2013 split valid: {protocol}",
        "trained_on": ["fer2013/train"],
    }


def _rgb(faces: Faces) -> NDArray[np.uint8]:
    pictures = faces.rgb()[:16]
    return np.repeat(pictures, 2, axis=0) if len(pictures) < 2 else pictures


def _checks(seed: int, faces: NDArray[np.uint8]) -> list[NDArray[Any]]:
    random = np.random.default_rng(seed)
    noise = random.integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)
    return [noise, noise[:1], faces[:5], faces[:1], np.zeros((1, SIZE, SIZE, 3), np.uint8)]
