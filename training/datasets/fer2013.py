"""FER2013 pictures (Goodfellow et al. 2013) with the votes of FER+ (Barsoum et al. 2016, arXiv:1608.01041).

On disk: `{split}.csv` beside a folder `{split}/` of 48×48 grey PNG files. A row names its picture in `image` and
holds the ten FER+ votes in `ferplus_neutral` … `ferplus_NF`.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bimodal.models.emotions import EMOTIONS, SEVEN, EmotionSet
from bimodal.models.errors import LabelError
from bimodal.training.datasets.items import Item, label_of, split_of
from bimodal.training.errors import DatasetError

SIDE = 48
VOTE_PREFIX = "ferplus_"
GIVEN = "fer2013"
LEFT_OUT = -1


@dataclass(frozen=True)
class Faces:
    """Pictures and their votes.

    Attributes:
        names: file names, one a picture.
        pictures: uint8 [N, 48, 48], grey.
        votes: float32 [N, 7], the votes for each of EMOTIONS, without those for contempt, unknown and not-a-face.
        majority: int64 [N], index into EMOTIONS, or LEFT_OUT if the majority rule excludes the picture.
        given: int64 [N], the data set's own label besides the votes, as `majority`; None if there is none.
        speakers: the person in each picture; empty if unknown.
    """

    names: tuple[str, ...]
    pictures: NDArray[np.uint8]
    votes: NDArray[np.float32]
    majority: NDArray[np.int64]
    given: NDArray[np.int64] | None = None
    speakers: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def take(self, chosen: NDArray[np.bool_]) -> Faces:
        """Select the pictures where `chosen` (bool [N]) is true."""
        given = None if self.given is None else self.given[chosen]
        names, speakers = tuple(compress(self.names, chosen)), tuple(compress(self.speakers, chosen))
        return Faces(names, self.pictures[chosen], self.votes[chosen], self.majority[chosen], given, speakers)

    def rgb(self) -> NDArray[np.uint8]:
        """uint8 [N, 48, 48, 3], as a face-static artifact takes them."""
        return np.repeat(self.pictures[..., None], 3, axis=3)


def load_fer2013(folder: Path, split: str) -> Faces:
    """Read one split, in the order of its CSV file.

    Raises DatasetError if a file is missing, a column is absent or a picture can't be read.
    """
    table, pictures = folder / f"{split}.csv", folder / split
    if not table.is_file() or not pictures.is_dir():
        raise DatasetError(f"{folder} holds no FER2013 split '{split}': it needs {split}.csv and a folder {split}/")
    rows = _rows(table)
    columns = tuple(name for name in rows[0] if name.startswith(VOTE_PREFIX))
    all_votes = _all_votes(rows, columns, table)
    names = tuple(row["image"] for row in rows)
    return Faces(
        names=names,
        pictures=np.stack([_read_picture(pictures / name) for name in names]),
        votes=emotion_votes(all_votes, columns),
        majority=majority_of(all_votes, columns),
        given=_given(rows, table),
    )


def split_tables(folder: Path) -> list[Path]:
    """Find the tables of splits in a folder: with an FER2013 label or FER+ votes, and a folder of pictures beside."""
    found = []
    for table in sorted(folder.glob("*.csv")):
        if table.with_suffix("").is_dir():
            with table.open(encoding="utf-8", errors="replace") as file:
                first = file.readline()
            if VOTE_PREFIX in first or GIVEN in first.strip().split(","):
                found.append(table)
    return found


def read_split_tables(folder: Path, among: EmotionSet = SEVEN) -> list[Item]:
    """Read every row of every split, without its picture. Raises DatasetError as `load_fer2013`."""
    items = [item for table in split_tables(folder) for item in _table_items(table, among)]
    if not items:
        raise DatasetError(f"{folder} holds no FER2013 split: it needs train.csv and a folder train/")
    return items


def _table_items(table: Path, among: EmotionSet) -> list[Item]:
    rows = _rows(table)
    given = _given(rows, table, among)
    columns = tuple(name for name in rows[0] if name.startswith(VOTE_PREFIX))
    all_votes = _all_votes(rows, columns, table) if columns else None
    decided = given if all_votes is None else majority_of(all_votes, columns, among)
    words = [column.removeprefix(VOTE_PREFIX) for column in columns]
    return [
        Item(
            path=table.with_suffix("") / row["image"],
            label=None if decided is None else _decided(decided[place]),
            split=split_of(table.stem),
            votes=None if all_votes is None else dict(zip(words, all_votes[place].tolist(), strict=True)),
            given=None if given is None else _decided(given[place]),
        )
        for place, row in enumerate(rows)
    ]


def emotion_votes(
    all_votes: NDArray[np.float32], columns: tuple[str, ...], among: EmotionSet = SEVEN
) -> NDArray[np.float32]:
    """Reorder votes float32 [N, columns] to float32 [N, emotions] in the order of a set, dropping other columns."""
    votes = np.zeros((len(all_votes), len(among.emotions)), dtype=np.float32)
    for column, emotion in enumerate(_emotions(columns, among)):
        if emotion is not None:
            votes[:, among.emotions.index(emotion)] += all_votes[:, column]
    return votes


def majority_of(
    all_votes: NDArray[np.float32], columns: tuple[str, ...], among: EmotionSet = SEVEN
) -> NDArray[np.int64]:
    """The emotion with more than half of all votes, int64 [N]; LEFT_OUT where there is none.

    Pictures with a majority for contempt, unknown or not-a-face, or without a majority, are LEFT_OUT.
    """
    emotions = _emotions(columns, among)
    index = np.array([LEFT_OUT if emotion is None else among.emotions.index(emotion) for emotion in emotions])
    winner = all_votes.argmax(axis=1)
    decided = all_votes.max(axis=1) * 2 > all_votes.sum(axis=1)
    return np.where(decided, index[winner], LEFT_OUT).astype(np.int64)


def _rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise DatasetError(f"{table} has no rows")
    if "image" not in rows[0]:
        raise DatasetError(f"{table} needs the column 'image'")
    return rows


def _given(rows: list[dict[str, str]], table: Path, among: EmotionSet = SEVEN) -> NDArray[np.int64] | None:
    if GIVEN not in rows[0]:
        return None
    labels = [label_of(row[GIVEN], str(table), among) for row in rows]
    return np.array([LEFT_OUT if label is None else label for label in labels], dtype=np.int64)


def _decided(label: np.int64) -> int | None:
    return None if label == LEFT_OUT else int(label)


def _emotions(columns: tuple[str, ...], among: EmotionSet = SEVEN) -> list[str | None]:
    meant = [among.meant_by(column.removeprefix(VOTE_PREFIX)) for column in columns]
    return [emotion if emotion in among.emotions else None for emotion in meant]


def _all_votes(rows: list[dict[str, str]], columns: tuple[str, ...], table: Path) -> NDArray[np.float32]:
    try:
        known = {emotion for emotion in _emotions(columns) if emotion is not None}
        votes = np.array([[float(row[column]) for column in columns] for row in rows], dtype=np.float32)
    except LabelError as error:
        raise DatasetError(f"{table} has a vote column bimodal does not know: {error}") from error
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{table} holds a vote that is no number: {error}") from error
    if known != set(EMOTIONS) or "image" not in rows[0]:
        raise DatasetError(f"{table} needs the columns 'image' and {VOTE_PREFIX}neutral … {VOTE_PREFIX}fear")
    return votes


def _read_picture(path: Path) -> NDArray[np.uint8]:
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise DatasetError(f"{path} is missing or is no picture")
    if picture.shape != (SIDE, SIDE):
        raise DatasetError(f"{path} must be {SIDE}×{SIDE} pixels, but is {picture.shape[1]}×{picture.shape[0]}")
    return np.asarray(picture, dtype=np.uint8)
