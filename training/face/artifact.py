"""Make a face-compact artifact from raw files: train, calibrate, export, measure."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bimodal.models.architectures.face_compact import SIZE, FaceCompact, FaceCompactGraph
from bimodal.models.contract import CONTRACT_VERSION, Crop, Metadata
from bimodal.models.emotions import EmotionSet, own_names
from bimodal.models.session import open_artifact
from bimodal.training.config import FaceConfig
from bimodal.training.datasets.fer2013 import LEFT_OUT, Faces
from bimodal.training.datasets.loading import corpus_of_item, has_split, load_faces
from bimodal.training.datasets.names import corpus_named
from bimodal.training.datasets.readers import reader_named, reader_of
from bimodal.training.evaluate.evaluate import evaluate_face, parts_of, picture_protocol
from bimodal.training.evaluate.metrics import Figures, fit_temperature, measure, recall_intervals, softmax
from bimodal.training.face.train import Progress, logits_of, split_for_calibration, train_face, trainable
from bimodal.training.to_artifact import set_metadata, write_artifact, write_card

LICENSE = "MIT (weights); trained on FER2013, which is for research use"
SOURCE = "trained by this project on FER2013 pictures with FER+ votes"


def make_face(config: FaceConfig, progress: Progress) -> Path:
    """Train and export. Returns the path of the artifact.

    Raises DatasetError for the data, TrainingError if the exported graph does not answer as torch does.
    """
    faces = load_faces(config.data, "train", config.labels, config.among)
    training, kept_back = split_for_calibration(faces, config.calibration_every)
    network = train_face(config, trainable(training), kept_back, progress)
    return ship_face(config, network, kept_back, progress)


def ship_face(config: FaceConfig, network: FaceCompact, kept_back: Faces, progress: Progress) -> Path:
    """Calibrate on held-out pictures, export, and measure the artifact on the split `valid`.

    Without such a split the held-out pictures are measured, and the metrics say so.
    """
    decided = kept_back.take(kept_back.majority != LEFT_OUT)
    logits = logits_of(network, decided.pictures)
    temperature = round(fit_temperature(logits, decided.majority), 4)
    path = config.output / "model.onnx"
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # torch's stubs lack it
    graph = FaceCompactGraph(network, temperature)
    faces = _rgb(kept_back)
    difference = write_artifact(
        graph, _metadata(config, temperature, None), faces[:2], {0: "batch"}, _checks(config.seed, faces), path
    )
    progress(f"{path}: temperature {temperature}, ONNX Runtime and torch differ by {difference:.1e}")
    if has_split(config.data, "valid", config.among):
        evaluation = evaluate_face(path, config.data, "valid", config.labels, among=config.among)
        figures, protocol = evaluation.figures, f"{config.data.name}, split valid: {evaluation.protocol}"
    else:
        figures = measure(decided.majority, softmax(logits, temperature), config.emotions)
        by_votes = picture_protocol(config.labels != "fer2013", config.among)
        protocol = f"{config.data.name}, pictures kept back from training but used for calibration: {by_votes}"
    metadata = _metadata(config, temperature, _metrics(config, figures, protocol))
    set_metadata(path, metadata)
    open_artifact(path, "face-static", provider="cpu")
    write_card(config.output, metadata, "bimodal train face", progress)
    progress(f"{path}: accuracy {figures.accuracy:.4f}, UAR {figures.uar:.4f} on {protocol}")
    return path


class Pictures(NamedTuple):
    """A data set of pictures: whether it is FER2013, its name and licence in words."""

    fer2013: bool
    name: str
    licence: str


def pictures_of(data: Path, among: EmotionSet) -> Pictures:
    """Tell which data set a folder of pictures is, with its licence."""
    reader = reader_of(data, ["picture"], among)
    if reader.name == "manifest":
        items = [item for item in reader.read(data, among) if item.medium == "picture"]
        corpora = sorted({corpus_of_item(item, data.resolve()) for item in items})
        licences = dict.fromkeys(reader_named(corpus_named(corpus) or "manifest").licence for corpus in corpora)
        return Pictures(False, ", ".join(corpora), "; ".join(licences))
    # A folder a class may hold anybody's pictures: they are named, and their licence is their owner's to tell.
    own = reader.name == "fer2013-folders"
    return Pictures(
        reader.name in ("fer2013", "fer2013-table"),
        data.resolve().name if own else reader.name,
        "whose licence their owner knows" if own else reader.licence,
    )


def _metadata(config: FaceConfig, temperature: float, metrics: dict[str, object] | None) -> Metadata:
    fer2013, name, licence = pictures_of(config.data, config.among)
    return Metadata(
        contract=CONTRACT_VERSION,
        kind="face-static",
        name=config.name,
        version=config.version,
        license=LICENSE if fer2013 else f"as the data it was trained on: {name}, {licence}",
        source=SOURCE if fer2013 and config.labels != "fer2013" else f"trained with bimodal on {name}",
        labels=config.emotions,
        categories=own_names(config.emotions) or None,
        embedding_space=f"{config.name}@{config.version}",
        crop=Crop(scale=config.crop_scale, shift_y=config.crop_shift_y, rotate=config.crop_rotate),
        temperature=temperature,
        metrics=metrics,
    )


def _metrics(config: FaceConfig, figures: Figures, protocol: str) -> dict[str, object]:
    return {
        "accuracy": round(figures.accuracy, 4),
        "uar": round(figures.uar, 4),
        "macro_f1": round(figures.macro_f1, 4),
        "ece": round(figures.ece, 4),
        "n": figures.n,
        "recall": {label: round(value, 4) for label, value in figures.recall.items()},
        "recall_95": recall_intervals(figures),
        "protocol": protocol,
        "trained_on": sorted(parts_of(config.data, "train", config.among)),
    }


def _rgb(faces: Faces) -> NDArray[np.uint8]:
    pictures = faces.rgb()[:16]
    return np.repeat(pictures, 2, axis=0) if len(pictures) < 2 else pictures


def _checks(seed: int, faces: NDArray[np.uint8]) -> list[NDArray[Any]]:
    random = np.random.default_rng(seed)
    noise = random.integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)
    return [noise, noise[:1], faces[:5], faces[:1], np.zeros((1, SIZE, SIZE, 3), np.uint8)]
