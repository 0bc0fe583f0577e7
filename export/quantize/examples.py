"""Real inputs of a model, with labels where there are any: to calibrate on, and others to measure on.

A folder may hold, at any depth: pictures of faces (cut out already), sounds, or .npy files with embeddings. The label
is the name of the folder a file lies in, or the emotion code of a RAVDESS file name. A folder with `train.csv` and
`valid.csv` (columns `image` and `label`, or FER+ votes; pictures in `train/` and `valid/`) is calibrated on the first
and measured on the second.
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
from bimodal.models.emotions import emotion_of
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
"""A quarter of the files at most is calibrated on; the rest is measured on."""


class Example(NamedTuple):
    """One file, and which of the seven emotions it shows; None where nobody says."""

    path: Path
    emotion: str | None


class Split(NamedTuple):
    """Two sets of examples that share no file."""

    calibration: list[Example]
    evaluation: list[Example]


def split(folder: Path, kind: str, *, calibration: int, evaluation: int) -> Split:
    """At most so many examples of each; the same ones every time.

    Raises SourceModelError where the folder holds too few, or the kind takes no examples.
    """
    if kind not in SUFFIXES:
        raise SourceModelError(f"a {kind} artifact can't be quantised: only {', '.join(SUFFIXES)}")
    tables = [folder / f"{name}.csv" for name in ("train", "valid")]
    if kind == "face-static" and all(table.is_file() for table in tables):
        first, second = (_shuffled(_of_table(table)) for table in tables)
    else:
        found = _shuffled(_of_folder(folder, SUFFIXES[kind]))
        share = min(calibration, len(found) // CALIBRATION_SHARE)
        first, second = found[:share], found[share:]
    if not first or not second:
        raise SourceModelError(
            f"{folder} holds too few files to calibrate and measure on ({', '.join(SUFFIXES[kind])})"
        )
    return Split(first[:calibration], second[:evaluation])


def read(examples: Sequence[Example], artifact: Artifact) -> Iterator[NDArray[Any]]:
    """What the artifact gets to see of each: a batch of one. Raises SourceModelError where a file can't be read."""
    readers = {"face-static": _read_face, "speech": _read_speech, "face-dynamic": _read_embeddings}
    reader = readers[artifact.metadata.kind]
    return (reader(example.path, artifact)[np.newaxis] for example in examples)


def _shuffled(examples: list[Example]) -> list[Example]:
    random.Random(0).shuffle(examples)
    return examples


def _of_folder(folder: Path, suffixes: tuple[str, ...]) -> list[Example]:
    if not folder.is_dir():
        raise SourceModelError(f"there is no folder {folder}")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    return [Example(path, _emotion(path)) for path in paths]


def _emotion(path: Path) -> str | None:
    code = RAVDESS.fullmatch(path.stem)
    word = RAVDESS_EMOTIONS[int(code[1]) - 1] if code else path.parent.name
    try:
        return emotion_of(word)
    except LabelError:
        return None


def _of_table(table: Path) -> list[Example]:
    """Rows whose label is one of the seven; with votes, rows where more than half agree."""
    examples = []
    try:
        with table.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                emotion = _voted(row) if any(key.startswith(VOTES) for key in row) else emotion_of(row["label"])
                if emotion is not None:
                    examples.append(Example(table.with_suffix("") / row["image"], emotion))
    except (OSError, KeyError, ValueError, LabelError, csv.Error) as error:
        raise SourceModelError(f"{table} needs columns 'image' and 'label', or votes '{VOTES}…': {error}") from error
    return examples


def _voted(row: dict[str, str]) -> str | None:
    votes = {key.removeprefix(VOTES): int(value) for key, value in row.items() if key.startswith(VOTES)}
    winner = max(votes, key=votes.__getitem__)
    return emotion_of(winner) if 2 * votes[winner] > sum(votes.values()) else None


def _read_face(path: Path, artifact: Artifact) -> NDArray[Any]:
    """uint8 [H, W, 3] of the model's own size, or the picture's where any will do."""
    picture = read_picture(path)
    height, width = artifact.inputs[0].shape[1:3]
    if not isinstance(height, int) or not isinstance(width, int):
        return picture
    smaller = picture.shape[0] > height
    resized = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


def _read_speech(path: Path, artifact: Artifact) -> NDArray[Any]:
    """float32 [S]: the middle of the sound, at most the model's window, filled up with silence where it must be."""
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
    """float32 [T, D] of a .npy file; the last steps where it has more than the model takes."""
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
