"""Readers of picture data sets: FER2013 as one table and as a folder per class, and AffectNet."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bimodal.models.emotions import SEVEN, SYNONYMS, EmotionSet
from bimodal.models.errors import LabelError
from bimodal.training.datasets.items import Item, files_under, label_of, split_of
from bimodal.training.errors import DatasetError

FER2013 = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""FER2013's numbers 0 to 6 (Goodfellow et al. 2013, arXiv:1307.0414)."""

FERPLUS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
"""Columns of fer2013new.csv (Barsoum et al. 2016), whose rows are those of fer2013.csv in the same order."""

AFFECTNET = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
"""AffectNet's numbers 0 to 7 (Mollahosseini et al. 2019, arXiv:1708.03985); 8 to 10 are no emotions."""

SIDE = 48


def read_fer2013_table(folder: Path, among: EmotionSet = SEVEN) -> list[Item]:
    """Read `fer2013.csv` (emotion, pixels, Usage), with the votes of `fer2013new.csv` if that lies beside it.

    Raises DatasetError, naming the line, if a row is not 48×48 numbers.
    """
    table = folder / "fer2013.csv"
    if not table.is_file():
        raise DatasetError(f"{folder} holds no fer2013.csv")
    votes = _ferplus(folder / "fer2013new.csv")
    with table.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if not {"emotion", "pixels", "Usage"} <= set(rows.fieldnames or ()):
            raise DatasetError(f"{table} needs the columns 'emotion', 'pixels' and 'Usage'")
        items = [_table_item(table, line, row, votes, among) for line, row in enumerate(rows, start=2)]
    if votes and len(votes) != len(items):
        raise DatasetError(f"{folder}: fer2013new.csv has {len(votes)} rows, but fer2013.csv {len(items)}")
    return items


def _ferplus(table: Path) -> list[dict[str, float]]:
    if not table.is_file():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if not set(FERPLUS) <= set(rows.fieldnames or ()):
            raise DatasetError(f"{table} needs the columns {', '.join(FERPLUS)}")
        return [{word: float(row[word] or 0) for word in FERPLUS} for row in rows]


def _table_item(
    table: Path, line: int, row: Mapping[str, str], votes: list[dict[str, float]], among: EmotionSet
) -> Item:
    place = line - 2
    label = label_of(numbered(row["emotion"], FER2013, f"{table}, line {line}"), str(table), among)
    return Item(
        path=table.with_name(f"fer{place:07d}.png"),
        label=label,
        split=split_of(row["Usage"]),
        pixels=_pixels(row["pixels"], f"{table}, line {line}"),
        votes=votes[place] if place < len(votes) else None,
        given=label,
    )


def _pixels(text: str, where: str) -> NDArray[np.uint8]:
    try:
        values = np.array(text.split(), dtype=np.uint8)
    except (ValueError, OverflowError) as error:
        raise DatasetError(f"{where}: 'pixels' holds something that is no number from 0 to 255") from error
    if values.size != SIDE * SIDE:
        raise DatasetError(f"{where}: 'pixels' must hold {SIDE * SIDE} numbers, but holds {values.size}")
    return values.reshape(SIDE, SIDE)


def read_class_folders(folder: Path, among: EmotionSet = SEVEN) -> list[Item]:
    """Read a folder per class, named by a word for an emotion, under a folder per split or at the top.

    Raises DatasetError if there is no such folder.
    """
    items = [
        Item(path=path, label=label_of(classes.name, str(classes), among), split=split)
        for split, classes in _class_folders(folder, among)
        for path in files_under(classes, "picture")
    ]
    if not items:
        raise DatasetError(f"{folder} holds no pictures in folders named by emotion, like train/happy/1.png")
    return items


def has_class_folders(folder: Path, among: EmotionSet = SEVEN) -> bool:
    """True if a folder contains such folders with pictures."""
    return any(files_under(classes, "picture") for _, classes in _class_folders(folder, among))


def _class_folders(folder: Path, among: EmotionSet) -> Iterator[tuple[str, Path]]:
    for first in sorted(path for path in folder.iterdir() if path.is_dir()):
        if _names_class(first.name, among):
            yield "", first
            continue
        for second in sorted(path for path in first.iterdir() if path.is_dir()):
            if _names_class(second.name, among):
                yield split_of(first.name), second


def _names_class(word: str, among: EmotionSet) -> bool:
    """True for a word that means an emotion, one of the set or of the seven."""
    if word.lower() in SYNONYMS:
        return True
    try:
        return among.meant_by(word) is not None
    except LabelError:
        return False


def read_affectnet(folder: Path, among: EmotionSet = SEVEN) -> list[Item]:
    """Read AffectNet: `train_set/images/N.jpg` beside `train_set/annotations/N_exp.npy`, or `train/0 … 7/`.

    Pictures of contempt (7), and of 8 to 10 (none, uncertain, no face), have no label.
    Raises DatasetError if an annotation is missing or is no number from 0 to 10.
    """
    items = [*_annotated(folder, among), *_numbered_folders(folder, among)]
    if not items:
        raise DatasetError(
            f"{folder} holds no AffectNet: it needs train_set/images and train_set/annotations, or train/0 … train/7"
        )
    return items


def has_affectnet(folder: Path) -> bool:
    """True if a folder looks like AffectNet."""
    return any((folder / name / "annotations").is_dir() for name in ("train_set", "val_set")) or any(
        (folder / name / "0").is_dir() for name in ("train", "val", "valid", "test")
    )


def _annotated(folder: Path, among: EmotionSet) -> Iterator[Item]:
    for part in ("train_set", "val_set", "test_set"):
        if not (folder / part / "images").is_dir():
            continue
        for path in files_under(folder / part / "images", "picture"):
            note = folder / part / "annotations" / f"{path.stem}_exp.npy"
            try:
                word = str(np.load(note, allow_pickle=False).reshape(-1)[0])
            except (OSError, ValueError, IndexError) as error:
                raise DatasetError(f"{path} has no readable annotation {note.name}: {error}") from error
            yield Item(path=path, label=_affectnet_label(word, str(note), among), split=split_of(part))


def _numbered_folders(folder: Path, among: EmotionSet) -> Iterator[Item]:
    for part in sorted(path for path in folder.iterdir() if path.is_dir()):
        for classes in sorted(path for path in part.iterdir() if path.is_dir() and path.name.isdigit()):
            label = _affectnet_label(classes.name, str(classes), among)
            for path in files_under(classes, "picture"):
                yield Item(path=path, label=label, split=split_of(part.name))


def _affectnet_label(number: str, where: str, among: EmotionSet) -> int | None:
    if number.strip() in ("8", "9", "10"):
        return None
    return label_of(numbered(number, AFFECTNET, where), where, among)


def numbered(number: str, words: tuple[str, ...], where: str) -> str:
    """The word for a data set's number. Raises DatasetError if there is none."""
    try:
        place = int(number)
    except ValueError:
        place = -1
    if not 0 <= place < len(words):
        raise DatasetError(f"{where}: the emotion must be a number from 0 to {len(words) - 1}, but is '{number}'")
    return words[place]


RAF_DB = ("surprise", "fear", "disgust", "happy", "sad", "anger", "neutral")
"""RAF-DB's numbers 1 to 7 of the basic expressions (Li et al. 2017, doi:10.1109/CVPR.2017.277)."""
RAF_DB_NAME = re.compile(r"(train|test)_\d+(_aligned)?")
RAF_DB_LABELS = "list_patition_label.txt"
"""The original's own spelling."""


def read_raf_db(folder: Path, among: EmotionSet = SEVEN) -> list[Item]:
    """Read RAF-DB's basic expressions: aligned (else original) pictures with the list of labels, or folders 1 to 7.

    Raises DatasetError if the list names no picture that is here, or a number that is not from 1 to 7.
    """
    tables = sorted(folder.rglob(RAF_DB_LABELS))
    items = [*_raf_db_listed(folder, tables[0], among)] if tables else [*_raf_db_folders(folder, among)]
    if not items:
        raise DatasetError(
            f"{folder} holds no RAF-DB: it needs Image/aligned/train_00001_aligned.jpg … and EmoLabel/{RAF_DB_LABELS}, "
            "or train/1 … train/7"
        )
    return items


def has_raf_db(folder: Path) -> bool:
    """True if a folder looks like RAF-DB."""
    return any(True for _ in folder.rglob(RAF_DB_LABELS)) or any(True for _ in _raf_db_folders(folder, SEVEN))


def _raf_db_listed(folder: Path, table: Path, among: EmotionSet) -> Iterator[Item]:
    pictures = [path for path in files_under(folder, "picture") if RAF_DB_NAME.fullmatch(path.stem)]
    aligned = {path.stem.removesuffix("_aligned"): path for path in pictures if path.stem.endswith("_aligned")}
    found = {path.stem: path for path in pictures} | aligned
    for line, text in enumerate(table.read_text(encoding="utf-8").splitlines(), start=1):
        name, _, number = text.strip().partition(" ")
        if not name:
            continue
        where = f"{table}, line {line}"
        label = _raf_db_label(number, where, among)
        path = found.get(Path(name).stem)
        if path is not None:
            yield Item(path=path, label=label, split=split_of(name.partition("_")[0]))


def _raf_db_folders(folder: Path, among: EmotionSet) -> Iterator[Item]:
    for split in ("train", "test"):
        for number in range(1, len(RAF_DB) + 1):
            for place in (folder / split / str(number), folder / "DATASET" / split / str(number)):
                for path in files_under(place, "picture") if place.is_dir() else ():
                    if RAF_DB_NAME.fullmatch(path.stem):
                        label = _raf_db_label(str(number), str(place), among)
                        yield Item(path=path, label=label, split=split)


def _raf_db_label(number: str, where: str, among: EmotionSet) -> int | None:
    if number.strip() not in map(str, range(1, len(RAF_DB) + 1)):
        raise DatasetError(f"{where}: the emotion must be a number from 1 to {len(RAF_DB)}, but is '{number}'")
    return label_of(RAF_DB[int(number) - 1], where, among)
