"""Real inputs of a model, labelled or not, split into those to calibrate on and those to measure on.

A folder may hold, at any depth: face crops, sounds, or .npy files with embeddings. The label is the name of the file's
folder, or the emotion code of a RAVDESS file name. A folder with `train.csv` and `valid.csv` (columns `image` and
`label`, or FER+ votes; pictures in `train/` and `valid/`) calibrates on the first and measures on the second.
"""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from bimodal.export.errors import SourceModelError
from bimodal.export.real_inputs import read_picture, sounds_of
from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.models.errors import LabelError
from bimodal.models.session import Artifact

SUFFIXES = {
    "face-static": (".png", ".jpg", ".jpeg", ".bmp", ".webp"),
    "speech": (".flac", ".wav", ".mp3", ".ogg", ".m4a"),
    "face-dynamic": (".npy",),
}
RAVDESS = re.compile(r"03-01-(0[1-8])(-\d\d){4}")
RAVDESS_EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
VOTES = "ferplus_"
CALIBRATION_SHARE = 4
"""Greatest share of files to calibrate on; the rest is measured on."""


class Example(NamedTuple):
    """One file and its emotion; None if unlabelled."""

    path: Path
    emotion: str | None


class Split(NamedTuple):
    """Two disjoint sets of examples."""

    calibration: list[Example]
    evaluation: list[Example]


def split(folder: Path, kind: str, *, calibration: int, evaluation: int, among: EmotionSet = SEVEN) -> Split:
    """Split a folder into examples, labelled for a set of emotions, to calibrate and to measure on, at most so many of
    each; deterministic.

    Raises SourceModelError if the folder holds too few, or the kind takes no examples.
    """
    if kind not in SUFFIXES:
        raise SourceModelError(f"a {kind} artifact can't be quantised: only {', '.join(SUFFIXES)}")
    tables = [folder / f"{name}.csv" for name in ("train", "valid")]
    if kind == "face-static" and all(table.is_file() for table in tables):
        first, second = (_shuffled(_of_table(table, among)) for table in tables)
    else:
        found = _shuffled(_of_folder(folder, SUFFIXES[kind], among))
        share = min(calibration, len(found) // CALIBRATION_SHARE)
        first, second = found[:share], found[share:]
    if not first or not second:
        raise SourceModelError(
            f"{folder} holds too few files to calibrate and measure on ({', '.join(SUFFIXES[kind])})"
        )
    return Split(first[:calibration], second[:evaluation])


def read(examples: Sequence[Example], artifact: Artifact) -> Iterator[NDArray[Any]]:
    """Yield the artifact's input for each example, a batch of one. Raises SourceModelError if a file can't be read."""
    readers = {"face-static": _read_face, "speech": _read_speech, "face-dynamic": _read_embeddings}
    reader = readers[artifact.metadata.kind]
    return (reader(example.path, artifact)[np.newaxis] for example in examples)


def _shuffled(examples: list[Example]) -> list[Example]:
    random.Random(0).shuffle(examples)
    return examples


def _of_folder(folder: Path, suffixes: tuple[str, ...], among: EmotionSet) -> list[Example]:
    if not folder.is_dir():
        raise SourceModelError(f"there is no folder {folder}")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    return [Example(path, _emotion(path, among)) for path in paths]


def _emotion(path: Path, among: EmotionSet) -> str | None:
    code = RAVDESS.fullmatch(path.stem)
    word = RAVDESS_EMOTIONS[int(code[1]) - 1] if code else path.parent.name
    try:
        return among.meant_by(word)
    except LabelError:
        return None


def _of_table(table: Path, among: EmotionSet) -> list[Example]:
    """Read the rows of a table with one of the emotions; with votes, those with a majority."""
    examples = []
    try:
        with table.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                emotion = (
                    _voted(row, among) if any(key.startswith(VOTES) for key in row) else among.meant_by(row["label"])
                )
                if emotion is not None:
                    examples.append(Example(table.with_suffix("") / row["image"], emotion))
    except (OSError, KeyError, ValueError, LabelError, csv.Error) as error:
        raise SourceModelError(f"{table} needs columns 'image' and 'label', or votes '{VOTES}…': {error}") from error
    return examples


def _voted(row: dict[str, str], among: EmotionSet) -> str | None:
    votes = {key.removeprefix(VOTES): int(value) for key, value in row.items() if key.startswith(VOTES)}
    winner = max(votes, key=votes.__getitem__)
    return among.meant_by(winner) if 2 * votes[winner] > sum(votes.values()) else None


def _read_face(path: Path, artifact: Artifact) -> NDArray[Any]:
    """Read a picture, uint8 [H, W, 3], at the model's size, or its own if the model takes any."""
    picture = read_picture(path)
    height, width = artifact.inputs[0].shape[1:3]
    if not isinstance(height, int) or not isinstance(width, int):
        return picture
    smaller = picture.shape[0] > height
    resized = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


def _read_speech(path: Path, artifact: Artifact) -> NDArray[Any]:
    """Read the middle of a sound, float32 [S]: at most the model's window, padded with silence if too short."""
    metadata = artifact.metadata
    rate = metadata.sample_rate or 16_000
    sound = sounds_of([path], rate)[0]
    fixed = artifact.inputs[0].shape[1]
    longest = fixed if isinstance(fixed, int) else round((metadata.window_s or 3.0) * rate)
    shortest = fixed if isinstance(fixed, int) else round((metadata.minimum_window_s or 0.0) * rate)
    begin = max(0, (sound.size - longest) // 2)
    sound = sound[begin : begin + longest]
    return np.pad(sound, (0, max(0, shortest - sound.size))).astype(np.float32)


def _read_embeddings(path: Path, artifact: Artifact) -> NDArray[Any]:
    """Read a .npy file, float32 [T, D]; only the last steps if it has more than the model takes."""
    try:
        values = np.asarray(np.load(path, allow_pickle=False), np.float32)
    except (OSError, ValueError) as error:
        raise SourceModelError(f"{path} can't be read as an array: {error}") from error
    steps, size = artifact.inputs[0].shape[1:]
    if values.ndim != 2 or (isinstance(size, int) and values.shape[1] != size):
        raise SourceModelError(f"{path} must hold embeddings of shape [steps, {size}], but has {list(values.shape)}")
    if isinstance(steps, int) and len(values) < steps:
        raise SourceModelError(f"{path} holds {len(values)} steps, but the model takes {steps}")
    return values[-steps:] if isinstance(steps, int) else values
