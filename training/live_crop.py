"""Pictures and clips cut out as the live worker cuts them, and what another margin than the learnt one costs."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from bimodal.models.contract import Crop
from bimodal.models.emotions import EMOTIONS
from bimodal.models.faces.crop import crop_face
from bimodal.models.session import Artifact, open_artifact
from bimodal.training.crop import enlarge
from bimodal.training.datasets import naming
from bimodal.training.datasets.items import Item, files_under
from bimodal.training.datasets.loading import Labels
from bimodal.training.datasets.video import FaceFinder, frames_of, side_of
from bimodal.training.errors import DatasetError
from bimodal.training.evaluate import (
    Evaluation,
    decided_pictures,
    over_emotions,
    part_of,
    picture_probabilities,
    trained_on,
)
from bimodal.training.metrics import accuracy, measure, uar

GRID = re.compile(r"grid_[blps][bgrw][abiw][a-z][1-9z][anps]")
"""Sentences of the GRID corpus (Cooke et al. 2006, doi:10.1121/1.2229005), read out without an emotion."""
NAMED_CLIPS, GRID_CLIPS = "clips that name their emotion", "GRID's neutral sentences"
SCALES = (0.8, 1.0, 1.3, 1.6, 2.0)
BATCH = 64


class Answers(msgspec.Struct, frozen=True):
    """What a model says of faces cut out in several ways.

    Attributes:
        found: bool [N], in which of the frames a face was found.
        probabilities: float64 [C, M, 7] over EMOTIONS, of each of C crops of the M faces that were found.
    """

    found: NDArray[np.bool_]
    probabilities: NDArray[np.float64]


class Row(msgspec.Struct, frozen=True):
    """What a crop gives: accuracy and UAR on pictures, and the share of frames right by group of clips."""

    crop: Crop
    accuracy: float
    uar: float
    clips: dict[str, float]


class Comparison(msgspec.Struct, frozen=True):
    """Crops compared.

    Attributes:
        model, data: which.
        pictures, frames: in how many a face was found, frames by group of clips.
        share: of the pictures, in which a face was found.
        rows: of each crop, the learnt one first.
    """

    model: str
    data: str
    pictures: int
    share: float
    frames: dict[str, int]
    rows: list[Row]


def evaluate_cut_live(path: Path, data: Path, split: str = "valid", labels: Labels = "auto") -> Evaluation:
    """Measure a face-static artifact on pictures that detector, mesh and crop cut out anew, as the live worker does.

    Pictures in which no face is found do not count, and the protocol says how many are left.
    Raises ArtifactError for the model, DatasetError for the data.
    """
    artifact = open_artifact(path, "face-static")
    items, true, protocol = decided_pictures(data, split, labels)
    begun = time.monotonic()
    seen = answers(artifact, blown_up(items), [artifact.metadata.crop or Crop()], FaceFinder())
    seconds = time.monotonic() - begun
    there = [item for item, found in zip(items, seen.found, strict=True) if found]
    found = seen.probabilities[0]
    return Evaluation(
        model=artifact.identity,
        data=f"{data.name}/{split}",
        protocol=f"{protocol.rpartition('; ')[0]}; cut out as live: a face is found in {seen.found.mean():.1%} of "
        f"{len(items)} pictures, and only those count",
        seen_in_training=bool({part_of(data, split)} & trained_on(artifact.metadata)),
        figures=measure(true[seen.found], found, EMOTIONS),
        further={
            "the same pictures uncut": measure(true[seen.found], picture_probabilities(artifact, there), EMOTIONS)
        },
        seconds=seconds,
        true=true[seen.found].tolist(),
        probabilities=found.tolist(),
    )


def compare_crops(
    path: Path, data: Path, split: str, labels: Labels, clips: Path | None, scales: Sequence[float] = SCALES
) -> Comparison:
    """What each crop gives on pictures, and on labelled clips where there are any.

    Raises ArtifactError for the model, DatasetError for the data.
    """
    artifact, finder = open_artifact(path, "face-static"), FaceFinder()
    crops = crops_to_compare(artifact.metadata.crop or Crop(), scales)
    items, labelled, _ = decided_pictures(data, split, labels)
    pictures = answers(artifact, blown_up(items), crops, finder)
    true = labelled[pictures.found]
    groups = {name: _frame_answers(artifact, each, crops, finder) for name, each in group_clips(clips).items()}
    rows = []
    for place, crop in enumerate(crops):
        found = pictures.probabilities[place].argmax(axis=1)
        right = {name: accuracy(emotions, table[place].argmax(axis=1)) for name, (emotions, table) in groups.items()}
        rows.append(Row(crop, accuracy(true, found), uar(true, found), right))
    return Comparison(
        model=artifact.identity,
        data=f"{data.name}/{split}",
        pictures=len(true),
        share=float(pictures.found.mean()),
        frames={name: len(emotions) for name, (emotions, _) in groups.items()},
        rows=rows,
    )


def crops_to_compare(learnt: Crop, scales: Sequence[float]) -> list[Crop]:
    """The learnt crop; the same turned level or not, not moved, and of each of the scales: one thing at a time."""
    changed = [
        msgspec.structs.replace(learnt, rotate=not learnt.rotate),
        msgspec.structs.replace(learnt, shift_y=0.0),
        *(msgspec.structs.replace(learnt, scale=scale) for scale in scales),
    ]
    return [learnt, *(crop for crop in changed if crop != learnt)]


def answers(
    artifact: Artifact, frames: Iterable[NDArray[np.uint8]], crops: Sequence[Crop], finder: FaceFinder
) -> Answers:
    """What a face-static artifact says of the largest face of each frame uint8 [H, W, 3] RGB, cut in several ways.

    Raises DatasetError where no frame shows a face.
    """
    side = side_of(artifact)
    found, rows, waiting = [], [], []
    for frame in frames:
        points = finder(frame)
        found.append(points is not None)
        if points is not None:
            waiting.append([crop_face(frame, points, crop, side) for crop in crops])
        if len(waiting) == BATCH:
            rows.append(_say(artifact, waiting))
            waiting = []
    if waiting:
        rows.append(_say(artifact, waiting))
    if not rows:
        raise DatasetError("no face was found in any picture, so there is nothing to measure")
    return Answers(np.array(found, np.bool_), np.concatenate(rows, axis=1))


def _say(artifact: Artifact, faces: Sequence[Sequence[NDArray[np.uint8]]]) -> NDArray[np.float64]:
    """Faces [M][C] → float64 [C, M, 7]."""
    by_crop = zip(*faces, strict=True)
    return np.stack(
        [over_emotions(artifact.metadata, artifact.run(faces=np.stack(each))["probabilities"]) for each in by_crop]
    )


def group_clips(folder: Path | None) -> dict[str, list[tuple[Path, int]]]:
    """Clips whose names say an emotion, and GRID's neutral sentences, each with its index in EMOTIONS, by group.

    Raises DatasetError where the folder holds none.
    """
    groups: dict[str, list[tuple[Path, int]]] = {}
    for path in files_under(folder, "video") if folder is not None else []:
        named = naming.clip(path.stem)
        if GRID.fullmatch(path.stem):
            groups.setdefault(GRID_CLIPS, []).append((path, EMOTIONS.index("neutral")))
        elif named is not None and named.emotion is not None:
            groups.setdefault(NAMED_CLIPS, []).append((path, EMOTIONS.index(named.emotion)))
    if folder is not None and not groups:
        raise DatasetError(f"{folder} holds no video whose name says its emotion")
    return groups


def _frame_answers(
    artifact: Artifact, clips: Sequence[tuple[Path, int]], crops: Sequence[Crop], finder: FaceFinder
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(emotion int64 [M] of each frame with a face, probabilities float64 [C, M, 7])."""
    emotions = []

    def frames() -> Iterator[NDArray[np.uint8]]:
        for path, emotion in clips:
            for _, frame in frames_of(path):
                emotions.append(emotion)
                yield frame

    seen = answers(artifact, frames(), crops, finder)
    return np.array(emotions, np.int64)[seen.found], seen.probabilities


def blown_up(items: Iterable[Item]) -> Iterator[NDArray[np.uint8]]:
    """Pictures of faces, enlarged for the detector. Raises DatasetError where one can't be read."""
    for item in items:
        picture = item.pixels if item.pixels is not None else cv2.imread(str(item.path), cv2.IMREAD_COLOR)
        if picture is None:
            raise DatasetError(f"{item.path} is missing or is no picture")
        colour = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        yield enlarge(np.asarray(colour, np.uint8))
