"""Make a face-dynamic artifact from pictures or videos: embed, train, calibrate, export, compare."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bimodal.models.architectures.face_dynamic_compact import FaceDynamicCompact, FaceDynamicCompactGraph
from bimodal.models.contract import CONTRACT_VERSION, Metadata, label_map
from bimodal.models.emotions import SEVEN, EmotionSet, own_names
from bimodal.models.errors import LabelError
from bimodal.models.session import Artifact, open_artifact
from bimodal.training.config import DynamicConfig, learnt_from
from bimodal.training.datasets.fer2013 import LEFT_OUT
from bimodal.training.datasets.items import Item, never_shown
from bimodal.training.datasets.loading import picture_items, tracks, votes_of
from bimodal.training.datasets.readers import reader_of
from bimodal.training.dynamic.train import (
    DynamicTask,
    Embedded,
    Sequences,
    compose,
    embed,
    logits_of,
    static_means,
    windows,
)
from bimodal.training.errors import DatasetError, TrainingError
from bimodal.training.evaluate.evaluate import find_model, parts_of
from bimodal.training.evaluate.metrics import Figures, fit_temperature, measure, softmax
from bimodal.training.loop import Plan, Progress, fingerprint, fit
from bimodal.training.to_artifact import write_artifact, write_card

COMPOSED = (
    "Its sequences are composed of single pictures of different people (onset, peak, offset, distractor frames); no "
    "recording of a face in motion was seen in training"
)
Part = tuple[Embedded, NDArray[np.int64], Sequences]


def make_dynamic(config: DynamicConfig, progress: Progress) -> Path:
    """Train and export. Returns the path of the artifact.

    Raises DatasetError for the data, TrainingError if the static model gives no embeddings or knows none of the
    emotions, or the exported graph does not answer as torch does.
    """
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    static = open_artifact(find_model(config.static), "face-static", provider="cpu", threads=config.threads)
    missing = unknown_to(static, config.among)
    if missing:
        progress(f"{static.identity} does not know {', '.join(missing)}: live, only this model tells them")
    real = is_video(config.data, config.among)
    learnt, kept_back, measured = (real_parts if real else composed_parts)(config, static)
    absent = never_shown(learnt[1], config.among)
    if absent:
        progress(f"{config.data} shows no {', no '.join(absent)}: {config.name} does not learn to tell it")
    task = DynamicTask(config, learnt[0], learnt[1], learnt[2] if real else None, (kept_back[0], kept_back[2]))
    settings = learnt_from(config)
    same = fingerprint([settings, static.identity, learnt[0].embeddings.tobytes()])
    plan = Plan(config.name, config.epochs, config.runs / config.name, same, config.patience, config.keep)
    seconds = fit(task, plan, progress)
    progress(f"{config.name}: learning took {seconds:.0f} s")
    return ship_dynamic(config, task.network.cpu(), static, kept_back, measured, progress)


def unknown_to(artifact: Artifact, among: EmotionSet) -> list[str]:
    """The emotions of a set that a model does not know.

    Raises TrainingError if it knows none: what runs live beside another model must know some of the set.
    """
    try:
        known = label_map(artifact.metadata, among).known
    except LabelError as error:
        raise TrainingError(
            f"{artifact.identity} knows none of {among.words}, and live the two run together: name a model that was "
            "trained on them"
        ) from error
    return [emotion for emotion in among.emotions if emotion not in known]


def is_video(data: Path, among: EmotionSet = SEVEN) -> bool:
    """True if the pictures of a folder belong to recordings."""
    reader = reader_of(data, among=among)
    if reader.media == ("video",):
        return True
    return reader.name == "manifest" and any(item.clip for item in reader.read(data, among))


def composed_parts(config: DynamicConfig, static: Artifact) -> tuple[Part, Part, Part]:
    """Compose (training, held-out, validation) parts.

    Held-out for choosing weights and calibration; the last of `valid`.
    """
    items, labels = _decided(config, "train")
    back = np.arange(len(items)) % config.calibration_every == config.calibration_every - 1
    faces = embed(static, items, config.runs / config.name, config.among)
    there = Embedded(faces.embeddings[~back], faces.probabilities[~back])
    kept = Embedded(faces.embeddings[back], faces.probabilities[back])
    valid_items, valid_labels = _decided(config, "valid")
    valid = embed(static, valid_items, config.runs / config.name, config.among)
    random = np.random.default_rng((config.seed, 2))
    none = Sequences(np.zeros((0, config.steps), np.int64), np.zeros(0, np.int64))
    count = max(1, config.measured // 2)
    return (
        (there, labels[~back], none),
        (kept, labels[back], compose(labels[back], count, config.steps, random, config.among)),
        (valid, valid_labels, compose(valid_labels, config.measured, config.steps, random, config.among)),
    )


def real_parts(config: DynamicConfig, static: Artifact) -> tuple[Part, Part, Part]:
    """The same from recordings; each n-th speaker of `train` is held out (at least one)."""
    learnt = list(tracks(config.data, "train", config.among))
    speakers = sorted({track[0].speaker for track in learnt})
    if len(speakers) < 2:
        raise DatasetError(f"{config.data} has fewer than two speakers to train on, and one is kept back")
    back = set(speakers[config.calibration_every - 1 :: config.calibration_every]) or {speakers[-1]}
    return (
        _recorded(config, static, [track for track in learnt if track[0].speaker not in back]),
        _recorded(config, static, [track for track in learnt if track[0].speaker in back]),
        _recorded(config, static, list(tracks(config.data, "valid", config.among))),
    )


def _recorded(config: DynamicConfig, static: Artifact, recordings: Sequence[list[Item]]) -> Part:
    named = [track for track in recordings if track[0].label is not None]
    if not named:
        raise DatasetError(f"{config.data} lacks recordings with one of {config.among.words} in one of its parts")
    items = [item for track in named for item in track]
    faces = embed(static, items, config.runs / config.name, config.among)
    starts = np.cumsum([0, *(len(track) for track in named)])
    placed = [
        [(int(start) + place, item.time_s) for place, item in enumerate(track)]
        for start, track in zip(starts, named, strict=False)
    ]
    labels = [track[0].label or 0 for track in named]
    each = np.repeat(np.array(labels, np.int64), [len(track) for track in named])
    return faces, each, windows(placed, labels, config.steps, config.interval_s)


def _decided(config: DynamicConfig, split: str) -> tuple[list[Item], NDArray[np.int64]]:
    items = picture_items(config.data, split, config.among)
    _, majority = votes_of(items, config.labels, config.data, config.among)
    chosen = [item for item, label in zip(items, majority, strict=True) if label != LEFT_OUT]
    return chosen, majority[majority != LEFT_OUT]


def ship_dynamic(
    config: DynamicConfig,
    network: FaceDynamicCompact,
    static: Artifact,
    kept_back: Part,
    measured: Part,
    progress: Progress,
) -> Path:
    """Calibrate on the held-out part, export, and compare with averaging the static probabilities, where these are of
    all the emotions."""
    logits = logits_of(network, kept_back[0], kept_back[2])
    temperature = round(fit_temperature(logits, kept_back[2].labels), 4)
    faces, _, sequences = measured
    dynamic = measure(sequences.labels, softmax(logits_of(network, faces, sequences), temperature), config.emotions)
    means = None
    if not unknown_to(static, config.among):
        means = measure(sequences.labels, static_means(faces, sequences), config.emotions)
    metadata = _metadata(config, static, temperature, dynamic, means)
    path = config.output / "model.onnx"
    example = faces.embeddings[sequences.places[:2]]
    random = np.random.default_rng(config.seed)
    noise = np.abs(random.standard_normal((5, *example.shape[1:]))).astype(np.float32)
    checks = [noise, noise[:1], faces.embeddings[sequences.places[:5]], np.zeros_like(noise[:1])]
    graph = FaceDynamicCompactGraph(network, temperature)
    difference = write_artifact(graph, metadata, np.repeat(example, 2, axis=0)[:2], {0: "batch"}, checks, path)
    about = "" if is_video(config.data, config.among) else f"{COMPOSED}."
    write_card(config.output, metadata, "bimodal train dynamic", progress, about)
    progress(f"{path}: temperature {temperature}, ONNX Runtime and torch differ by {difference:.1e}")
    beside = (
        f"averaging the static probabilities: UAR {means.uar:.4f}, ECE {means.ece:.4f}"
        if means is not None
        else f"{static.identity} does not know all of the emotions, so its probabilities are no comparison"
    )
    progress(f"{path}: UAR {dynamic.uar:.4f}, ECE {dynamic.ece:.4f}; {beside} (n = {dynamic.n})")
    return path


def _metadata(
    config: DynamicConfig, static: Artifact, temperature: float, dynamic: Figures, means: Figures | None
) -> Metadata:
    source = "sequences of " + ("recordings" if is_video(config.data, config.among) else "single pictures, composed,")
    protocol = f"{config.data.name}, split valid, windows of {config.steps} steps"
    compared: dict[str, object] = {}
    if means is not None:
        protocol += "; static_mean is what averaging the static probabilities over the same windows gives"
        compared["static_mean"] = {
            "accuracy": round(means.accuracy, 4),
            "uar": round(means.uar, 4),
            "ece": round(means.ece, 4),
        }
    return Metadata(
        contract=CONTRACT_VERSION,
        kind="face-dynamic",
        name=config.name,
        version=config.version,
        license=static.metadata.license,
        source=f"trained by this project on {source} of {config.data.name}, through {static.identity}",
        labels=config.emotions,
        categories=own_names(config.emotions) or None,
        embedding_space=static.metadata.embedding_space or static.identity,
        interval_s=config.interval_s,
        window_s=config.steps * config.interval_s,
        temperature=temperature,
        metrics={
            "accuracy": round(dynamic.accuracy, 4),
            "uar": round(dynamic.uar, 4),
            "macro_f1": round(dynamic.macro_f1, 4),
            "ece": round(dynamic.ece, 4),
            "n": dynamic.n,
            "recall": {label: round(value, 4) for label, value in dynamic.recall.items()},
            **compared,
            "protocol": protocol,
            "trained_on": sorted(parts_of(config.data, "train", config.among)),
        },
    )
