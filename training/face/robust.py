"""Make face-robust: face-compact's network and face-api.js's in one graph, as a product of experts.

Nothing is trained. The first network, and those of its form beside it, are made INT8; then the rule of the product
(what part of the prior is divided out, the second network's share), unless the config says it, is chosen for the mean
of accuracy and UAR, and its temperature for the likelihood, on the answers to the split `valid`. The figures are
those of five folds of it, each measured with what was fitted on the others.

Of emotions of one's own face-api.js's network joins in those that it knows (models/architectures/face_robust.py).
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from bimodal.export.conditional import only_where_it_counts
from bimodal.export.pretrained.face_api import load_network
from bimodal.export.quantize.quantize import quantize_part
from bimodal.models.architectures.face_compact import FaceCompact
from bimodal.models.architectures.face_robust import SIDE, FaceRobustGraph, Novelty, Rule, second_knows
from bimodal.models.contract import CONTRACT_VERSION, Crop, Metadata
from bimodal.models.emotions import own_names
from bimodal.models.errors import LabelError
from bimodal.models.scan import metadata_of
from bimodal.models.session import open_artifact
from bimodal.training.config import RobustConfig
from bimodal.training.datasets.fer2013 import LEFT_OUT, Faces
from bimodal.training.datasets.loading import load_faces
from bimodal.training.errors import DatasetError, TrainingError
from bimodal.training.evaluate.evaluate import decided_pictures, parts_of
from bimodal.training.evaluate.metrics import (
    Figures,
    accuracy,
    fit_temperature,
    measure,
    recall_intervals,
    softmax,
    uar,
)
from bimodal.training.face.artifact import pictures_of
from bimodal.training.face.start import begin_with
from bimodal.training.face.train import Progress, soft_targets, split_for_calibration, trainable
from bimodal.training.to_artifact import set_metadata, write_artifact, write_card

LICENSE = (
    "MIT (weights of both networks); the first was trained on FER2013, which is for research use, the second on "
    "pictures that its authors do not publish"
)
OWN_LICENSE = (
    "the first network as the data it was trained on: {name}, {licence}; MIT (weights of the second, trained on "
    "pictures that its authors do not publish)"
)
SOURCE = "face-compact's network and the expression network of face-api.js 1.7.15 as a product of experts"
FOLDS = 5
TAUS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
SHARES = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35)
NOISE = 0.002
"""Differences of the mean of accuracy and UAR that so few rare pictures can't tell from chance."""
BATCH = 32
LEAST = 1e-30
"""Probability below which logarithms are not taken."""
FIRST = ("first.", "poor_first.", "clear_first.")
"""Beginnings of the names of weights that are quantized."""
SOMETIMES = ("poor_first.", "second.")
"""Networks that have no weight in some pictures: beside a `poor_first` they run only where they have."""
SHRINKAGE = 0.05
"""Share of the mean variance that is added to each direction of the embedding."""


class Fitted(NamedTuple):
    """Settings of the product; see Rule."""

    tau: float
    share: float
    poor_tau: float
    detailed_share: float
    temperature: float
    offsets: tuple[float, ...] = ()


FIRST_ALONE = Fitted(0.0, 0.0, 0.0, 0.0, 1.0)
"""The rule whose answers are the first network's."""


class Answers(NamedTuple):
    """Log probabilities float64 of the first network [N, E] and the second [N, S] on N pictures, how clear and how
    detailed these are [N, 1], the true classes int64 [N], and the places of the S emotions; None: all."""

    first: NDArray[np.float64]
    second: NDArray[np.float64]
    clear: NDArray[np.float64]
    detailed: NDArray[np.float64]
    true: NDArray[np.int64]
    shared: tuple[int, ...] | None = None

    def take(self, chosen: NDArray[np.bool_]) -> Answers:
        """Some of them."""
        first, second, clear, detailed = (values[chosen] for values in self[:4])
        return Answers(first, second, clear, detailed, self.true[chosen], self.shared)


def make_robust(config: RobustConfig, progress: Progress) -> Path:
    """Fit the rule, export, quantize and measure. Returns the path of the artifact.

    Raises DatasetError for the data, TrainingError for the weights or the emotions, SourceModelError for face-api's
    files.
    """
    torch.set_num_threads(config.threads)
    shared = shared_of(config, progress)
    given = FIRST_ALONE._replace(
        poor_tau=config.poor_tau, detailed_share=config.detailed_share, offsets=offsets_of(config)
    )
    faces = load_faces(config.data, "train", among=config.among)
    learnt, _ = split_for_calibration(faces, config.calibration_every)
    prior = soft_targets(trainable(learnt).votes).mean(axis=0)
    absent = [emotion for emotion, share in zip(config.emotions, prior, strict=True) if share <= 0]
    if absent:
        raise DatasetError(
            f"{config.data} shows no {', no '.join(absent)} in 'train', and the rule divides by how often each occurs"
        )
    graph = _graph(config, prior, learnt, shared)
    path = config.output / "model.onnx"
    _export(config, graph, learnt, path, progress)
    valid = load_faces(config.data, "valid", among=config.among)
    measured = _answers(graph, path, valid.take(valid.majority != LEFT_OUT), shared)

    def fit(answers: Answers) -> Fitted:
        if config.tau is None or config.share is None:
            return fit_rule(answers, prior, given)
        return with_temperature(answers, prior, given._replace(tau=config.tau, share=config.share))

    rule = fit(measured)
    figures = measure(measured.true, cross_fitted(measured, prior, fit), config.emotions)
    progress(f"{config.name}: τ {rule.tau}, share {rule.share}, temperature {rule.temperature}")
    graph.rule = Rule(prior.tolist(), *rule, shared=shared)
    if config.novelty_pictures:
        graph.novelty = fit_novelty(graph, learnt.take(learnt.majority != LEFT_OUT), valid, config.novelty_pictures)
    _export(config, graph, learnt, path, progress)
    metadata = _metadata(config, rule, figures)
    set_metadata(path, metadata)
    open_artifact(path, "face-static", provider="cpu")
    write_card(config.output, metadata, "bimodal train face-robust", progress)
    progress(f"{path}: accuracy {figures.accuracy:.4f}, UAR {figures.uar:.4f}, ECE {figures.ece:.4f} by folds")
    return path


LEAST_SHARED = 2
"""So many of the emotions face-api's network must know: of one alone it says nothing."""


def shared_of(config: RobustConfig, progress: Progress) -> tuple[int, ...] | None:
    """Places of the emotions that face-api's network knows; None: all.

    Raises TrainingError where these are too few to join anything.
    """
    shared = tuple(second_knows(config.emotions))
    known = ", ".join(config.emotions[place] for place in shared)
    if len(shared) < LEAST_SHARED:
        raise TrainingError(
            f"face-api's network knows {known or 'none'} of {config.among.words}, and joins where it knows two at "
            "least: use the model that 'bimodal train face' makes as it is"
        )
    if len(shared) == len(config.emotions):
        return None
    progress(f"{config.name}: face-api's network joins in {known}; of the others the first network alone tells")
    return shared


def offsets_of(config: RobustConfig) -> tuple[float, ...]:
    """Offsets of the logits in the order of the config's emotions; none named: empty.

    Raises TrainingError for an emotion that is not one of them.
    """
    strange = [name for name in config.offsets if name not in config.emotions]
    if strange:
        raise TrainingError(f"'offsets' names {', '.join(strange)}, which is not one of {config.among.words}")
    return tuple(config.offsets.get(emotion, 0.0) for emotion in config.emotions) if config.offsets else ()


def _check_order(path: Path, config: RobustConfig) -> None:
    """Raise TrainingError where an artifact does not have the emotions of the config as its classes, in their order."""
    if path.suffix != ".onnx" or not path.is_file():
        return
    metadata = metadata_of(path, "face-static")
    try:
        meant = tuple(config.among.meant_by(label) for label in metadata.labels or ())
    except LabelError:
        meant = ()
    if meant != config.emotions:
        raise TrainingError(
            f"{path} answers in {', '.join(metadata.labels or ())}, and this config is of {', '.join(config.emotions)}:"
            " name a model that was trained with the same 'emotions', in the same order"
        )


def _graph(
    config: RobustConfig, prior: NDArray[np.float32], learnt: Faces, shared: tuple[int, ...] | None
) -> FaceRobustGraph:
    """The graph with both networks, and the rule that gives the first one's answers."""

    def of(path: Path) -> FaceCompact:
        _check_order(path, config)
        network = FaceCompact(len(config.emotions), config.widths, config.depth)
        begin_with(network, path, learnt.pictures[:: max(1, len(learnt) // 64)])
        return network.eval()

    return FaceRobustGraph(
        of(config.first),
        load_network(config.second),
        Rule(prior.tolist(), *FIRST_ALONE, shared=shared),
        (config.first_temperature, config.second_temperature),
        grey_side=config.grey_side,
        poor_first=None if config.poor_first is None else of(config.poor_first),
        clear_first=None if config.clear_first is None else of(config.clear_first),
        mirrored=config.mirrored,
        emotions=config.emotions,
    ).eval()


def _answers(graph: FaceRobustGraph, path: Path, faces: Faces, shared: tuple[int, ...] | None) -> Answers:
    """Answers to pictures: of the first network that of the file at `path`, whose rule is FIRST_ALONE."""
    artifact = open_artifact(path, "face-static", provider="cpu")
    rows = []
    with torch.inference_mode():
        for batch in batches(faces):
            first = np.log(np.maximum(artifact.run(faces=batch)["probabilities"], LEAST))
            _, *others, _ = graph.opinions(torch.from_numpy(batch))
            rows.append([first, *(values.numpy() for values in others)])
    first, second, clear, detailed = (np.concatenate(values).astype(np.float64) for values in zip(*rows, strict=True))
    return Answers(first, second, clear, detailed, faces.majority, shared)


def batches(faces: Faces, size: int = BATCH) -> Iterator[NDArray[np.uint8]]:
    """Yield the pictures as crops uint8 [N, 112, 112, 3], N at most `size`."""
    for start in range(0, len(faces), size):
        grey = [cv2.resize(picture, (SIDE, SIDE)) for picture in faces.pictures[start : start + size]]
        yield np.repeat(np.stack(grey)[..., None], 3, axis=3).astype(np.uint8)


def pooled(answers: Answers, prior: NDArray[np.floating], rule: Fitted) -> NDArray[np.float64]:
    """Logits float64 [N, E] of the product, as Rule computes them before the temperature."""
    shares = answers.clear * (rule.share + answers.detailed * (rule.detailed_share - rule.share))
    taus = rule.poor_tau + answers.clear * (rule.tau - rule.poor_tau)
    log_prior = np.log(np.asarray(prior, np.float64))
    first = answers.first - taus * log_prior
    leaning = answers.clear * np.array(rule.offsets or 0.0)
    if answers.shared is None:
        return np.asarray((1 - shares) * first + shares * answers.second + leaning)
    own = first[:, answers.shared]
    both = (1 - shares) * own + shares * answers.second
    first[:, answers.shared] = both + _log_mass(own) - _log_mass(both)
    return np.asarray(first + leaning)


def _log_mass(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.logaddexp.reduce(logits, axis=1, keepdims=True))


def fit_rule(answers: Answers, prior: NDArray[np.floating], given: Fitted) -> Fitted:
    """Choose τ and share for the mean of accuracy and UAR, smoothed over neighbours, and the temperature.

    Rare emotions have few pictures: a choice counts with those beside it, so that one picture decides nothing; of
    the values of τ that are as good as the best, the smallest is taken, which costs the frequent emotions least.
    """
    worth = np.zeros((len(TAUS), len(SHARES)))
    for (row, tau), (column, share) in product(enumerate(TAUS), enumerate(SHARES)):
        found = pooled(answers, prior, given._replace(tau=tau, share=share)).argmax(axis=1)
        worth[row, column] = (accuracy(answers.true, found) + uar(answers.true, found)) / 2
    padded = np.pad(worth, 1, mode="edge")
    near = [
        padded[down : down + len(TAUS), across : across + len(SHARES)] for down, across in product(range(3), repeat=2)
    ]
    smooth = np.mean(near, axis=0)
    column = int(np.argmax(smooth.max(axis=0)))
    row = int(np.argmax(smooth[:, column] >= smooth.max() - NOISE))
    return with_temperature(answers, prior, given._replace(tau=TAUS[row], share=SHARES[column]))


def with_temperature(answers: Answers, prior: NDArray[np.floating], rule: Fitted) -> Fitted:
    """Fit the temperature to a given rule."""
    return rule._replace(temperature=round(fit_temperature(pooled(answers, prior, rule), answers.true), 4))


def cross_fitted(
    answers: Answers, prior: NDArray[np.floating], fit: Callable[[Answers], Fitted], folds: int = FOLDS
) -> NDArray[np.float64]:
    """Probabilities float64 [N, E], each fold's by a rule fitted on the other folds."""
    fold = np.arange(len(answers.true)) % folds
    rows = np.zeros_like(answers.first)
    for number in range(folds):
        rule = fit(answers.take(fold != number))
        rows[fold == number] = softmax(pooled(answers.take(fold == number), prior, rule), rule.temperature)
    return rows


def fit_novelty(graph: FaceRobustGraph, learnt: Faces, held: Faces, most: int) -> Novelty:
    """Fit the distance to what was learnt on at most `most` pictures of it, and its unit on as many held-out ones."""
    some, other = (part.take(np.arange(len(part)) % math.ceil(len(part) / most) == 0) for part in (learnt, held))
    known, new = (_embeddings(graph, part) for part in (some, other))
    classes = [label for label in range(some.votes.shape[1]) if (some.majority == label).any()]
    means = np.stack([known[some.majority == label].mean(axis=0) for label in classes])
    off = known - means[[classes.index(label) for label in some.majority]]
    covariance = off.T @ off / len(off)
    covariance += SHRINKAGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    values, vectors = np.linalg.eigh(covariance)
    whiten = vectors / np.sqrt(values)
    with torch.inference_mode():
        distances = Novelty(means, whiten, 1.0)(torch.from_numpy(new.astype(np.float32))).numpy()
    return Novelty(means, whiten, float(np.quantile(distances, 0.99)))


def _embeddings(graph: FaceRobustGraph, faces: Faces) -> NDArray[np.float64]:
    with torch.inference_mode():
        return np.concatenate([graph.embed(torch.from_numpy(batch)).double().numpy() for batch in batches(faces)])


def _export(config: RobustConfig, graph: FaceRobustGraph, learnt: Faces, path: Path, progress: Progress) -> None:
    random = np.random.default_rng(config.seed)
    noise = random.integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)
    real = next(batches(learnt, 5))
    metadata = _metadata(config, FIRST_ALONE, None)
    difference = write_artifact(
        graph, metadata, noise[:2], {0: "batch"}, [noise, noise[:1], real, real[:1], np.zeros_like(noise[:1])], path
    )
    progress(f"{path}: ONNX Runtime and torch differ by {difference:.1e}")
    model = onnx.load(str(path))
    if config.quantized:
        chosen = learnt.take(np.arange(len(learnt)) % math.ceil(len(learnt) / config.quantized) == 0)
        model = quantize_part(model, FIRST, batches(chosen, 1))
    if config.poor_first is not None:
        for part in SOMETIMES:
            only_where_it_counts(model, part)
    if not config.quantized and config.poor_first is None:
        return
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        fresh = Path(scratch) / "model.onnx"
        onnx.save(model, str(fresh))
        set_metadata(fresh, metadata)
        before, after = (open_artifact(each, "face-static", provider="cpu") for each in (path, fresh))
        answers = [artifact.run(faces=real)["probabilities"] for artifact in (before, after)]
        progress(f"{path}: the graph as it ships changes probabilities by {np.abs(answers[0] - answers[1]).max():.3f}")
        fresh.replace(path)


def _metadata(config: RobustConfig, rule: Fitted, figures: Figures | None) -> Metadata:
    metrics: dict[str, Any] | None = None
    data = pictures_of(config.data, config.among)
    if figures is not None:
        protocol = decided_pictures(config.data, "valid", "auto", config.among)[2]
        metrics = {
            "accuracy": round(figures.accuracy, 4),
            "uar": round(figures.uar, 4),
            "macro_f1": round(figures.macro_f1, 4),
            "ece": round(figures.ece, 4),
            "n": figures.n,
            "recall": {label: round(value, 4) for label, value in figures.recall.items()},
            "recall_95": recall_intervals(figures),
            "protocol": f"{config.data.name}, split valid, the rule fitted by folds of it: {protocol}",
            "trained_on": sorted(parts_of(config.data, "train", config.among)),
            "rule": {name: value for name, value in rule._asdict().items() if name != "temperature" and value != ()},
        }
    return Metadata(
        contract=CONTRACT_VERSION,
        kind="face-static",
        name=config.name,
        version=config.version,
        license=LICENSE if data.fer2013 else OWN_LICENSE.format(name=data.name, licence=data.licence),
        source=SOURCE,
        labels=config.emotions,
        categories=own_names(config.emotions) or None,
        embedding_space=f"{config.name}@{config.version}",
        crop=Crop(scale=config.crop_scale, shift_y=config.crop_shift_y, rotate=config.crop_rotate),
        temperature=rule.temperature,
        metrics=metrics,
    )
