"""Measure how a data set frames its faces, so that live faces are cropped alike.

`python -m bimodal.training.face.framing FOLDER` runs detector and mesh on pictures of FER2013's split `train`, and
prints the `crop` for a face-static model trained on them: the square around a face that its 48×48 picture shows.
`bimodal evaluate crop` compares other crops on pictures and clips.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from bimodal.models.contract import Crop
from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.models.faces.crop import EYE_CORNERS, crop_face
from bimodal.models.faces.detector import Detector
from bimodal.models.faces.mesh import Landmarks
from bimodal.models.session import Artifact, open_artifact
from bimodal.training.datasets.fer2013 import SIDE, load_fer2013
from bimodal.training.datasets.items import Item, files_under
from bimodal.training.datasets.loading import Labels
from bimodal.training.datasets.names import Named, clip
from bimodal.training.datasets.video import FaceFinder, frames_of, side_of
from bimodal.training.errors import DatasetError
from bimodal.training.evaluate.evaluate import (
    Evaluation,
    decided_pictures,
    find_model,
    over_emotions,
    parts_of,
    picture_probabilities,
    seen_by,
)
from bimodal.training.evaluate.metrics import accuracy, measure, uar

ENLARGED = 192
BORDER = 96
LEVEL_DEGREES = 10.0
PRESENCE = 0.5


@dataclass(frozen=True)
class Framing:
    """The framing of faces in pictures: medians, and quartiles of the scale.

    Attributes:
        faces: number of pictures with a face.
        scale: side of the picture over the longer side of the box of the mesh points.
        shift_x, shift_y: centre of the picture minus centre of the box, in box widths and heights, right and down.
        scale_quartiles: of `scale`.
        roll_deviation: standard deviation of the angle of the line through the eyes, in degrees.
    """

    faces: int
    scale: float
    shift_x: float
    shift_y: float
    scale_quartiles: tuple[float, float]
    roll_deviation: float


def learn_framing(points: NDArray[np.floating], eyes: NDArray[np.floating], side: float) -> Framing:
    """Mesh points float [N, 468, 2] and eyes float [N, 2, 2] (left in the picture first), in pixels → framing.

    Scale and shifts are measured on nearly level faces, whose box does not depend on the roll; the roll on all.
    Raises DatasetError if no face is within 10° of level.
    """
    line = eyes[:, 1] - eyes[:, 0]
    roll = np.degrees(np.arctan2(line[:, 1], line[:, 0]))
    level = points[np.abs(roll) < LEVEL_DEGREES]
    if not len(level):
        raise DatasetError("no picture shows a face that is nearly level, so there is no framing to learn")
    low, high = level.min(axis=1), level.max(axis=1)
    size, centre = high - low, (low + high) / 2
    scale = side / size.max(axis=1)
    shift = (side / 2 - centre) / size
    quartiles = np.percentile(scale, [25, 75])
    return Framing(
        faces=len(points),
        scale=float(np.median(scale)),
        shift_x=float(np.median(shift[:, 0])),
        shift_y=float(np.median(shift[:, 1])),
        scale_quartiles=(float(quartiles[0]), float(quartiles[1])),
        roll_deviation=float(roll.std()),
    )


def enlarge(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Enlarge grey [S, S] or RGB [S, S, 3] to RGB [384, 384, 3], repeating the border so that a whole head is visible.

    A picture of more than 192 pixels keeps its size and gets a border of half of it.
    """
    side = max(ENLARGED, len(picture))
    large = cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC) if len(picture) < side else picture
    border = side * BORDER // ENLARGED
    framed = cv2.copyMakeBorder(large, border, border, border, border, cv2.BORDER_REPLICATE)
    return np.asarray(framed if framed.ndim == 3 else np.repeat(framed[..., None], 3, axis=2), dtype=np.uint8)


def to_picture(points: NDArray[np.floating], side: int) -> NDArray[np.float64]:
    """Map points in an enlarged picture to pixels of the original."""
    return (np.asarray(points, dtype=np.float64) - BORDER) * side / ENLARGED


class Finder:
    """Finds the mesh of the face in a picture, with the artifacts of live workers."""

    def __init__(self) -> None:
        self._detector = Detector(open_artifact(find_model("blazeface-short"), "face-detector", provider="cpu"))
        self._landmarks = Landmarks(open_artifact(find_model("facemesh-468"), "face-landmarks", provider="cpu"))

    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """RGB [H, W, 3] → points float32 [468, 3] of the face with the best score, in its pixels, or None."""
        found = self._detector(picture)
        if not found.faces:
            return None
        squares = self._detector.squares(found.take([0]), self._landmarks.geometry.margin)
        mesh = self._landmarks(picture, squares)
        return mesh.points[0] if mesh.presence[0] >= PRESENCE else None


def framing_of(pictures: NDArray[np.uint8], finder: Finder) -> Framing:
    """Measure the framing of grey pictures [N, 48, 48]. Raises DatasetError if no face is found."""
    found = [points for picture in pictures if (points := finder(enlarge(picture))) is not None]
    if not found:
        raise DatasetError("no face was found in any picture, so there is no framing to learn")
    places = to_picture(np.stack(found)[:, :, :2], SIDE)
    return learn_framing(places, places[:, list(EYE_CORNERS)], SIDE)


# Comparing crops: pictures and clips cropped as in the live worker, and with other parameters.

GRID = re.compile(r"grid_[blps][bgrw][abiw][a-z][1-9z][anps]")
"""Name of videos of the GRID corpus (Cooke et al. 2006, doi:10.1121/1.2229005), neutral sentences."""
NAMED_CLIPS, GRID_CLIPS = "clips that name their emotion", "GRID's neutral sentences"
SCALES = (0.8, 1.0, 1.3, 1.6, 2.0)
BATCH = 64


class Answers(msgspec.Struct, frozen=True):
    """Outputs of a model on faces cropped in several ways.

    Attributes:
        found: bool [N], True for frames with a face.
        probabilities: float64 [C, M, E] over the emotions, of each of C crops of the M faces found.
    """

    found: NDArray[np.bool_]
    probabilities: NDArray[np.float64]


class Row(msgspec.Struct, frozen=True):
    """The figures of a crop: accuracy and UAR on pictures, and accuracy of frames by group of clips."""

    crop: Crop
    accuracy: float
    uar: float
    clips: dict[str, float]


class Comparison(msgspec.Struct, frozen=True):
    """A comparison of crops.

    Attributes:
        model, data: their names.
        pictures, frames: numbers with a face; frames by group of clips.
        share: of pictures with a face.
        rows: of each crop, the model's own first.
    """

    model: str
    data: str
    pictures: int
    share: float
    frames: dict[str, int]
    rows: list[Row]


def evaluate_cut_live(
    path: Path, data: Path, split: str = "valid", labels: Labels = "auto", among: EmotionSet = SEVEN
) -> Evaluation:
    """Measure a face-static artifact on pictures cropped by detector and mesh, as in the live worker.

    `among` is the set of emotions that labels and answers are of.

    Pictures without a detected face do not count; the protocol says how many are left.
    Raises ArtifactError for the model, DatasetError for the data.
    """
    artifact = open_artifact(path, "face-static")
    items, true, protocol = decided_pictures(data, split, labels, among)
    begun = time.monotonic()
    seen = answers(artifact, blown_up(items), [artifact.metadata.crop or Crop()], FaceFinder(), among)
    seconds = time.monotonic() - begun
    there = [item for item, found in zip(items, seen.found, strict=True) if found]
    found = seen.probabilities[0]
    return Evaluation(
        model=artifact.identity,
        data=f"{data.name}/{split}",
        protocol=f"{protocol.rpartition('; ')[0]}; cut out as live: a face is found in {seen.found.mean():.1%} of "
        f"{len(items)} pictures, and only those count",
        seen_in_training=seen_by([artifact], parts_of(data, split, among)),
        figures=measure(true[seen.found], found, among.emotions),
        further={
            "the same pictures uncut": measure(
                true[seen.found], picture_probabilities(artifact, there, among=among), among.emotions
            )
        },
        seconds=seconds,
        true=true[seen.found].tolist(),
        probabilities=found.tolist(),
    )


def compare_crops(
    path: Path,
    data: Path,
    split: str,
    labels: Labels,
    clips: Path | None,
    scales: Sequence[float] = SCALES,
    among: EmotionSet = SEVEN,
) -> Comparison:
    """Measure each crop on pictures, and on labelled clips if given, over a set of emotions.

    Raises ArtifactError for the model, DatasetError for the data.
    """
    artifact, finder = open_artifact(path, "face-static"), FaceFinder()
    crops = crops_to_compare(artifact.metadata.crop or Crop(), scales)
    items, labelled, _ = decided_pictures(data, split, labels, among)
    pictures = answers(artifact, blown_up(items), crops, finder, among)
    true = labelled[pictures.found]
    groups = {
        name: _frame_answers(artifact, each, crops, finder, among) for name, each in group_clips(clips, among).items()
    }
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
    """The model's own crop, and variations of one parameter: rotation, no shift, each of the scales."""
    changed = [
        msgspec.structs.replace(learnt, rotate=not learnt.rotate),
        msgspec.structs.replace(learnt, shift_y=0.0),
        *(msgspec.structs.replace(learnt, scale=scale) for scale in scales),
    ]
    return [learnt, *(crop for crop in changed if crop != learnt)]


def answers(
    artifact: Artifact,
    frames: Iterable[NDArray[np.uint8]],
    crops: Sequence[Crop],
    finder: FaceFinder,
    among: EmotionSet = SEVEN,
) -> Answers:
    """Run a face-static artifact on the largest face of each frame uint8 [H, W, 3] RGB, cropped in several ways.

    Raises DatasetError if no frame shows a face.
    """
    side = side_of(artifact)
    found, rows, waiting = [], [], []
    for frame in frames:
        points = finder(frame)
        found.append(points is not None)
        if points is not None:
            waiting.append([crop_face(frame, points, crop, side) for crop in crops])
        if len(waiting) == BATCH:
            rows.append(_probabilities(artifact, waiting, among))
            waiting = []
    if waiting:
        rows.append(_probabilities(artifact, waiting, among))
    if not rows:
        raise DatasetError("no face was found in any picture, so there is nothing to measure")
    return Answers(np.array(found, np.bool_), np.concatenate(rows, axis=1))


def _probabilities(
    artifact: Artifact, faces: Sequence[Sequence[NDArray[np.uint8]]], among: EmotionSet
) -> NDArray[np.float64]:
    """Probabilities float64 [C, M, E] of faces [M][C]."""
    by_crop = zip(*faces, strict=True)
    runs = [artifact.run(faces=np.stack(each))["probabilities"] for each in by_crop]
    return np.stack([over_emotions(artifact.metadata, each, among) for each in runs])


def group_clips(folder: Path | None, among: EmotionSet = SEVEN) -> dict[str, list[tuple[Path, int]]]:
    """Find clips with an emotion in the name, and GRID's neutral sentences, each with its index in a set, by group.

    Raises DatasetError if the folder holds none.
    """
    groups: dict[str, list[tuple[Path, int]]] = {}
    for path in files_under(folder, "video") if folder is not None else []:
        grid = GRID.fullmatch(path.stem) is not None
        named = Named("neutral", path.stem) if grid else clip(path.stem, among)
        label = None if named is None else named.label(str(path), among)
        if label is not None:
            groups.setdefault(GRID_CLIPS if grid else NAMED_CLIPS, []).append((path, label))
    if folder is not None and not groups:
        raise DatasetError(f"{folder} holds no video whose name says its emotion")
    return groups


def _frame_answers(
    artifact: Artifact,
    clips: Sequence[tuple[Path, int]],
    crops: Sequence[Crop],
    finder: FaceFinder,
    among: EmotionSet,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(emotion int64 [M] of each frame with a face, probabilities float64 [C, M, E])."""
    emotions = []

    def frames() -> Iterator[NDArray[np.uint8]]:
        for path, emotion in clips:
            for _, frame in frames_of(path):
                emotions.append(emotion)
                yield frame

    seen = answers(artifact, frames(), crops, finder, among)
    return np.array(emotions, np.int64)[seen.found], seen.probabilities


def blown_up(items: Iterable[Item]) -> Iterator[NDArray[np.uint8]]:
    """Yield pictures of faces, enlarged for the detector. Raises DatasetError if one can't be read."""
    for item in items:
        picture = item.pixels if item.pixels is not None else cv2.imread(str(item.path), cv2.IMREAD_COLOR)
        if picture is None:
            raise DatasetError(f"{item.path} is missing or is no picture")
        colour = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        yield enlarge(np.asarray(colour, np.uint8))


if __name__ == "__main__":
    training = load_fer2013(Path(sys.argv[1]), "train")
    print(framing_of(training.pictures[:: max(1, len(training) // 1000)], Finder()))
