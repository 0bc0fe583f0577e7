"""Measure an artifact on labelled data, through ONNX Runtime as the live workers run it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from bimodal import models
from bimodal.models.catalog import installed
from bimodal.models.contract import Metadata, used_labels
from bimodal.models.doubt import face_doubts
from bimodal.models.emotions import SEVEN, EmotionSet, LabelMap
from bimodal.models.faces.quality import face_quality, regions_of
from bimodal.models.session import Artifact, open_artifact
from bimodal.training.datasets.fer2013 import LEFT_OUT, Faces
from bimodal.training.datasets.items import Item
from bimodal.training.datasets.loading import (
    ALL,
    Labels,
    colour,
    corpus_of_item,
    fitted,
    picture_items,
    voice_of,
    votes_of,
)
from bimodal.training.datasets.names import same_part
from bimodal.training.datasets.ravdess import Recording
from bimodal.training.errors import DatasetError, TrainingError
from bimodal.training.evaluate.face_conditions import changed_by
from bimodal.training.evaluate.metrics import Figures, expected_calibration_error, measure, softmax

# Cost of an artifact: its size, and milliseconds of one core per inference, one at a time as in a worker. Thread CPU
# time is counted, not wall time, so that other load does not change the figure.

ITEMS = 200
"""Greatest number of timed inferences."""
LEAST = 50
"""Least number of timed inferences; items are repeated for it."""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """Time and size of an artifact.

    Attributes:
        milliseconds: median CPU time of an inference.
        answers: number of timed inferences.
        of: shape of one input, without the batch.
        megabytes: size of the file in millions of bytes.
    """

    milliseconds: float
    answers: int
    of: tuple[int, ...]
    megabytes: float


def cost_of(path: Path, name: str, items: NDArray[Any]) -> Cost:
    """Time an artifact on `items` [N, …], at least one, each alone as its input `name`.

    Raises ArtifactError as `open_artifact`.
    """
    artifact = open_artifact(path, provider="cpu", threads=1)
    times = []
    for place in range(min(ITEMS, max(LEAST, len(items)))):
        item = items[place % len(items)][None]
        begun = time.thread_time()
        artifact.run(**{name: item})
        times.append(time.thread_time() - begun)
    return Cost(
        milliseconds=float(np.median(times)) * 1000,
        answers=len(times),
        of=tuple(items.shape[1:]),
        megabytes=path.stat().st_size / 1e6,
    )


FACE_PROTOCOL = (
    "FER+ majority of seven emotions; pictures won by contempt, unknown or not-a-face, or by no more than half of the "
    "votes, left out; whole 48×48 pictures"
)
LABEL_PROTOCOL = "the data set's own labels; pictures outside the seven emotions left out; whole pictures"
PRODUCT_FLOOR = 1e-6
"""Least probability that counts in a product, as in workers/fusion/combine.py."""
DEFAULT_SIDE = 112
LIVE_SIDE = 112
"""Greatest side of the crops that conditions are simulated on."""
SPEECH_PROTOCOL = "the centre window of each clip; calm counts as neutral"
LIVE_PROTOCOL = "every window a live worker would cut while the voice speaks"
LIVE_MEAN_PROTOCOL = "mean over the live windows of each clip"


class Joined(NamedTuple):
    """How several models of a kind become one (`models.ensemble` and `models.weights` of config.yaml).

    Attributes:
        rule: `average`, or `product` of experts.
        weights: relative, one a model; empty: all the same.
    """

    rule: Literal["average", "product"] = "average"
    weights: tuple[float, ...] = ()


ALONE = Joined()


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """The results of `bimodal evaluate`.

    Attributes:
        model: `name@version`.
        data: name of the data.
        protocol: in words.
        seen_in_training: the artifact was trained on some of this data, by its metadata; not to be reported.
        figures: of the protocol.
        further: figures of other protocols, by protocol.
        conditions: UAR under each condition of training/evaluate/conditions.py (speech) or face_conditions.py (faces),
            if asked for.
        under: of faces, all figures under each of these conditions.
        doubted: of faces, the calibration error under each where doubt flattens the answers, as live (docs/fusion.md).
        groups: of voices, figures by the sex of the speaker and by language, where the corpus tells.
        cost: time and size of the artifact, None if several are measured together.
        seconds: duration, without opening the model.
        true: class of each example, in the order of the data.
        probabilities: of each example, over `figures.labels`.
    """

    model: str
    data: str
    protocol: str
    seen_in_training: bool
    figures: Figures
    further: dict[str, Figures] = {}
    conditions: dict[str, float] = {}
    under: dict[str, Figures] = {}
    doubted: dict[str, float] = {}
    groups: dict[str, Figures] = {}
    cost: Cost | None = None
    seconds: float = 0.0
    true: list[int] = []
    probabilities: list[list[float]] = []


def evaluate_face(
    path: Path | Sequence[Path],
    data: Path,
    split: str = "valid",
    labels: Labels = "auto",
    conditions: Iterable[str] = (),
    among: EmotionSet = SEVEN,
    joined: Joined = ALONE,
) -> Evaluation:
    """Measure one or several face-static artifacts, joined as in the worker, on one split of any picture data set.

    Args:
        conditions: of training/evaluate/face_conditions.py, under which the pictures are measured too.
        among: the emotions that labels and answers are of.
        joined: how several are joined.

    Raises ArtifactError for the model, DatasetError for the data.
    """
    paths = [path] if isinstance(path, Path) else list(path)
    artifacts = [open_artifact(each, "face-static") for each in paths]
    items, true, protocol = decided_pictures(data, split, labels, among)
    begun = time.monotonic()
    found = expert_probabilities(artifacts, items, among=among, joined=joined)
    under, doubted = {}, {}
    for name in conditions:
        answers = expert_probabilities(artifacts, items, name, among, joined)
        under[name] = measure(true, answers, among.emotions)
        temperatures = picture_temperatures(artifacts[0], items, name)
        flat = softmax(np.log(np.maximum(answers, 1e-12)) / temperatures[:, None])
        doubted[name] = expected_calibration_error(true, flat)
    seconds = time.monotonic() - begun
    return Evaluation(
        model="+".join(artifact.identity for artifact in artifacts),
        data=f"{data.name}/{split}",
        protocol=protocol,
        seen_in_training=seen_by(artifacts, parts_of(data, split, among)),
        figures=measure(true, found, among.emotions),
        conditions={name: figures.uar for name, figures in under.items()},
        under=under,
        doubted=doubted,
        cost=cost_of(paths[0], "faces", sized(artifacts[0], items[:ITEMS])) if len(paths) == 1 else None,
        seconds=seconds,
        true=true.tolist(),
        probabilities=found.tolist(),
    )


def expert_probabilities(
    artifacts: Sequence[Artifact],
    items: Sequence[Item],
    condition: str | None = None,
    among: EmotionSet = SEVEN,
    joined: Joined = ALONE,
) -> NDArray[np.float64]:
    """Probabilities over a set of emotions, float64 [N, E], of several artifacts, joined as the worker joins them."""
    answers = [picture_probabilities(artifact, items, condition=condition, among=among) for artifact in artifacts]
    return together(artifacts, answers, among, joined)


def together(
    artifacts: Sequence[Artifact], answers: Sequence[NDArray[np.float64]], among: EmotionSet, joined: Joined
) -> NDArray[np.float64]:
    """Join the answers [N, E] of several artifacts as their worker does: each emotion by those that know it."""
    if len(answers) == 1:
        return np.asarray(answers[0])
    known = np.array([np.isin(among.emotions, known_to(each.metadata, among).known) for each in artifacts], np.float64)
    weights = np.array(joined.weights or [1.0] * len(artifacts))[:, None] * known
    shares = weights / np.maximum(weights.sum(axis=0), 1e-12)
    if joined.rule == "product":
        logs = np.log(np.maximum(answers, PRODUCT_FLOOR))
        total = np.exp(np.sum(shares[:, None] * logs, axis=0)) * (weights.sum(axis=0) > 0)
    else:
        total = np.sum(shares[:, None] * np.array(answers), axis=0)
    return np.asarray(total / total.sum(axis=1, keepdims=True))


def decided_pictures(
    data: Path, split: str, labels: Labels, among: EmotionSet = SEVEN
) -> tuple[list[Item], NDArray[np.int64], str]:
    """(the pictures of a split that have an emotion, that emotion as int64 [N], the protocol in words).

    Raises DatasetError if there is none.
    """
    items = picture_items(data, split, among)
    _, majority = votes_of(items, labels, data, among)
    decided = [item for item, label in zip(items, majority, strict=True) if label != LEFT_OUT]
    if not decided:
        raise DatasetError(f"no picture of {data}/{split} has an emotion that more than half of the raters named")
    by_votes = labels != "fer2013" and all(item.votes for item in items)
    return decided, majority[majority != LEFT_OUT], picture_protocol(by_votes, among)


def picture_protocol(by_votes: bool, among: EmotionSet = SEVEN) -> str:
    """Describe in words how pictures are labelled."""
    if among.is_seven:
        return FACE_PROTOCOL if by_votes else LABEL_PROTOCOL
    if by_votes:
        return (
            f"FER+ majority of {among.words}; pictures won by others, or by no more than half of the votes, left out; "
            "whole 48×48 pictures"
        )
    return f"the data set's own labels; pictures outside {among.words} left out; whole pictures"


def speech_protocol(among: EmotionSet = SEVEN) -> str:
    """Describe in words what of a clip is measured."""
    return SPEECH_PROTOCOL if among.is_seven else SPEECH_PROTOCOL.partition(";")[0]


def picture_probabilities(
    artifact: Artifact,
    items: Sequence[Item],
    batch: int = 64,
    condition: str | None = None,
    among: EmotionSet = SEVEN,
) -> NDArray[np.float64]:
    """Probabilities over a set of emotions, float64 [N, E], of pictures of any size, resized to the artifact's input.

    Args:
        condition: of training/evaluate/face_conditions.py; it befalls a picture in its own size, or in LIVE_SIDE pixels
            where it is larger, before it is resized.
    """
    starts = range(0, len(items), batch)
    rows = [
        artifact.run(faces=sized(artifact, items[start : start + batch], condition, start))["probabilities"]
        for start in starts
    ]
    return over_emotions(artifact.metadata, np.concatenate(rows), among)


def picture_temperatures(
    artifact: Artifact, items: Sequence[Item], condition: str | None = None, batch: int = 64
) -> NDArray[np.float64]:
    """Temperatures of doubt of pictures, float64 [N], as the face worker measures them in crops of the artifact."""
    regions = regions_of(artifact.metadata.crop) if artifact.metadata.crop is not None else None
    found = []
    for start in range(0, len(items), batch):
        for crop in sized(artifact, items[start : start + batch], condition, start):
            found.append(face_doubts((0.0, 0.0, math.inf, math.inf), *face_quality(crop, regions)).temperature)
    return np.array(found)


def sized(artifact: Artifact, items: Sequence[Item], condition: str | None = None, first: int = 0) -> NDArray[np.uint8]:
    """Resize pictures to the artifact's input size, uint8 [N, side, side, 3] RGB.

    `first` is the place of the first of them in the data set: a condition is the same for a picture in every batch.
    """
    side = artifact.inputs[0].shape[1]
    size = side if isinstance(side, int) else DEFAULT_SIDE
    if not isinstance(side, int) and items[0].pixels is not None:
        size = items[0].pixels.shape[0]
    if condition is None:
        return np.stack([colour(item, size) for item in items])
    changed = []
    for place, item in enumerate(items):
        picture = colour(item, None)
        crop = fitted(picture, min(*picture.shape[:2], LIVE_SIDE))
        changed.append(fitted(changed_by(condition, crop, first + place), size))
    return np.stack(changed)


def parts_of(data: Path, split: str, among: EmotionSet = SEVEN) -> set[str]:
    """Names in `trained_on` of the pictures of a split, or of all: their splits and, where known, their speakers.

    Raises DatasetError if there is no picture.
    """
    items, undivided = picture_items(data, split, among), "train" if split == ALL else split
    splits = {f"{corpus_of_item(item, data)}/{item.own_split or item.split or undivided}" for item in items}
    return splits | {voice_of(item, data) for item in items if item.speaker}


def live_figures(
    true: NDArray[np.int64], live: Sequence[NDArray[np.floating]], among: EmotionSet = SEVEN
) -> dict[str, Figures]:
    """Figures by window and by clip, from the probabilities [windows, E] of each clip's live windows."""
    by_window = np.repeat(true, [len(rows) for rows in live])
    return {
        LIVE_PROTOCOL: measure(by_window, np.concatenate(live), among.emotions),
        LIVE_MEAN_PROTOCOL: measure(true, np.stack([rows.mean(axis=0) for rows in live]), among.emotions),
    }


def face_probabilities(
    artifact: Artifact, faces: Faces, batch: int = 64, among: EmotionSet = SEVEN
) -> NDArray[np.float64]:
    """Probabilities over a set of emotions, float64 [N, E]; pictures are resized where the artifact fixes a size."""
    _, height, width, _ = artifact.inputs[0].shape
    rows = []
    for start in range(0, len(faces), batch):
        pictures: NDArray[Any] = np.repeat(faces.pictures[start : start + batch, ..., None], 3, axis=3)
        if isinstance(height, int) and isinstance(width, int) and pictures.shape[1:3] != (height, width):
            pictures = np.stack([cv2.resize(picture, (width, height)) for picture in pictures])
        rows.append(artifact.run(faces=pictures)["probabilities"])
    return over_emotions(artifact.metadata, np.concatenate(rows), among)


def speech_probabilities(
    artifact: Artifact, windows: Sequence[NDArray[np.float32]], among: EmotionSet = SEVEN
) -> NDArray[np.float64]:
    """Probabilities over a set of emotions, float64 [N, E]; windows are zero-padded if the artifact fixes a length."""
    rows = [artifact.run(waveform=as_long(artifact, window)[None])["probabilities"] for window in windows]
    return over_emotions(artifact.metadata, np.concatenate(rows), among)


def as_long(artifact: Artifact, window: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut a window to its newest part, or zero-pad it, if the artifact fixes a length."""
    size = artifact.inputs[0].shape[1]
    if not isinstance(size, int):
        return window
    fitted = np.zeros(size, np.float32)
    fitted[: min(size, len(window))] = window[-size:]
    return fitted


def over_emotions(
    metadata: Metadata, probabilities: NDArray[np.floating], among: EmotionSet = SEVEN
) -> NDArray[np.float64]:
    """Map a model's own classes to float64 [N, E] over a set of emotions; 0 for those that it can't name.

    Raises ArtifactError where it knows none of the set.
    """
    mapped = known_to(metadata, among).apply(probabilities)
    return np.array([[row.get(emotion, 0.0) for emotion in among.emotions] for row in mapped])


def known_to(metadata: Metadata, among: EmotionSet) -> LabelMap:
    """Map a model's classes to a set. Raises ArtifactError, naming the model, where it knows none of the set."""
    return used_labels(metadata, metadata.identity, among)


def trained_on(metadata: Metadata) -> set[str]:
    """The parts of data sets that an artifact was trained on, like `fer2013/train` and `ravdess/Actor_01`."""
    named = (metadata.metrics or {}).get("trained_on", [])
    return {str(part) for part in named} if isinstance(named, list) else set()


def seen_by(artifacts: Iterable[Artifact], parts: Iterable[str]) -> bool:
    """True if one of the artifacts was trained on one of the parts, by its metadata.

    What stands in `trained_on` without a part, like `ravdess, speakers of the folds`, is the whole data set.
    """
    learnt = {
        part if "/" in part else part.partition(",")[0] for each in artifacts for part in trained_on(each.metadata)
    }
    learnt, measured = {same_part(part) for part in learnt}, {same_part(part) for part in parts}
    return bool(learnt & (measured | {part.partition("/")[0] for part in measured}))


def find_model(name_or_path: str) -> Path:
    """Find a model by path, or by the name of a shipped or installed model.

    Raises TrainingError, listing the names, if it is neither.
    """
    given = Path(name_or_path)
    if given.is_file():
        return given
    room = Path(models.__file__).parent
    shipped = room / name_or_path / "model.onnx"
    if shipped.is_file():
        return shipped
    own = installed()
    if name_or_path in own:
        return own[name_or_path]
    names = ", ".join(sorted({*(path.parent.name for path in room.glob("*/model.onnx")), *own})) or "none"
    raise TrainingError(f"'{name_or_path}' is neither a model file nor the name of a model (there are: {names})")


def voices(recordings: Sequence[Recording]) -> list[str]:
    """The parts of the data set that recordings belong to, as named in `trained_on`."""
    return sorted({recording.clip.part for recording in recordings})
