"""Items of data sets, and their division into splits."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.models.errors import LabelError
from bimodal.training.errors import DatasetError

Medium = Literal["picture", "sound", "video"]

SUFFIXES: Mapping[Medium, tuple[str, ...]] = {
    "picture": (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"),
    "sound": (".wav", ".flac", ".mp3", ".ogg"),
    "video": (".mp4", ".flv", ".mov", ".avi", ".mkv", ".webm", ".mpg"),
}

VALID_SHARE = 0.2
"""Share of the speakers (or, at random, of the items) for `valid` in a data set without splits."""

SPLITS: Mapping[str, str] = {
    "train": "train", "training": "train", "train_set": "train",
    "valid": "valid", "validation": "valid", "val": "valid", "val_set": "valid", "publictest": "valid", "dev": "valid",
    "test": "test", "privatetest": "test", "test_set": "test",
}  # fmt: skip


@dataclass(frozen=True)
class Item:
    """One example.

    Attributes:
        path: its file; for a picture stored in a table, the table.
        label: index into the emotions of the set that it is read for (EMOTIONS); None if outside them or undecided.
        split: "train", "valid", "test", or another name of the data set's own; "" without splits.
        speaker: the person seen or heard, unique in the data set; "" if unknown.
        pixels: grey uint8 [H, W] of a picture stored in a table.
        votes: number of raters per word (FER+), if there are votes.
        clip: the recording that a face was cropped from; "" for a single picture.
        time_s: its time in that recording.
        given: in data sets with two labels (FER2013 besides FER+), the first.
        corpus: the published data set that it is from, one of names.CORPORA; "" if it is from none, or unknown.
        own_split: its split in `corpus`, where `split` is of another division.
    """

    path: Path
    label: int | None
    split: str = ""
    speaker: str = ""
    pixels: NDArray[np.uint8] | None = None
    votes: Mapping[str, float] | None = None
    clip: str = ""
    time_s: float = 0.0
    given: int | None = None
    corpus: str = ""
    own_split: str = ""

    @property
    def medium(self) -> Medium:
        """Picture, sound or video."""
        return "picture" if self.pixels is not None else medium_of(self.path)


def medium_of(path: Path) -> Medium:
    """Medium of a file, by its suffix. Raises DatasetError for any other."""
    for medium, suffixes in SUFFIXES.items():
        if path.suffix.lower() in suffixes:
            return medium
    known = ", ".join(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
    raise DatasetError(f"{path} is neither picture, sound nor video: known are {known}")


def label_of(word: str, where: str, among: EmotionSet = SEVEN) -> int | None:
    """Index of the emotion meant by a data set's word, among those of a set; None for one outside it.

    Raises DatasetError, naming `where`, for a word that bimodal does not know.
    """
    try:
        emotion = among.meant_by(word)
    except LabelError as error:
        way_out = "; or ask for it: 'emotions' in a config, --emotions of 'data prepare'" if among.is_seven else ""
        raise DatasetError(f"{where}: {error}{way_out}") from error
    return among.emotions.index(emotion) if emotion in among.emotions else None


def never_shown(labels: NDArray[np.int64], among: EmotionSet) -> list[str]:
    """The emotions of a set that no label (int64 [N], indices into the set) names."""
    return [emotion for place, emotion in enumerate(among.emotions) if not (labels == place).any()]


def split_of(word: str) -> str:
    """Map a data set's own name of a split to train, valid or test; other names are unchanged."""
    return SPLITS.get(word.strip().lower(), word.strip())


def files_under(folder: Path, medium: Medium) -> list[Path]:
    """List every file of a medium under a folder, without hidden ones, sorted by path."""
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}")
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES[medium])
    return sorted(path for path in found if path.is_file() and not path.name.startswith("."))


def divided(items: Sequence[Item], how: Literal["auto", "official", "speaker", "random"], seed: int) -> list[Item]:
    """Assign a split to every item.

    `auto` keeps the data set's own splits if every item has one, else divides by speaker: a fifth of them, drawn with
    `seed`, becomes `valid`. `random` divides by item, so the same speaker is in both splits.

    Raises DatasetError if that is impossible; `auto` never chooses `random`.
    """
    official = bool(items) and all(item.split for item in items)
    if how == "official" and not official:
        raise DatasetError("this data set has no parts of its own: leave --split out, or ask for 'speaker' or 'random'")
    if how == "official" or (how == "auto" and official):
        return list(items)
    if how == "random":
        order = random.Random(seed).sample(range(len(items)), len(items))
        valid = set(order[: round(VALID_SHARE * len(items))])
        return [_moved(item, place in valid) for place, item in enumerate(items)]
    held_out = held_out_speakers([item.speaker for item in items], seed)
    return [_moved(item, item.speaker in held_out) for item in items]


def _moved(item: Item, valid: bool) -> Item:
    own = (item.own_split or item.split) if item.corpus else ""
    return replace(item, split="valid" if valid else "train", own_split=own)


def held_out_speakers(speakers: Sequence[str], seed: int) -> frozenset[str]:
    """Draw a fifth of the speakers, at least one. Raises DatasetError if there are fewer than two, or unknown ones."""
    names = sorted(set(speakers))
    if "" in names or len(names) < 2:
        raise DatasetError(
            "this data set does not say who is seen or heard, so it can't be divided by speaker: ask for "
            "--split random, and mind that its figures will be too good"
        )
    shuffled = random.Random(seed).sample(names, len(names))
    return frozenset(shuffled[: max(1, round(VALID_SHARE * len(names)))])


def number_of_speaker(speaker: str, everyone: Sequence[str]) -> int:
    """Number of a speaker: the one in the name if each name has its own, else the position in the list."""
    numbers = {name: re.search(r"\d+", name) for name in everyone}
    found = {name: int(match[0]) for name, match in numbers.items() if match}
    if len(found) == len(set(everyone)) == len(set(found.values())):
        return found[speaker]
    return sorted(set(everyone)).index(speaker) + 1


def summary(items: Sequence[Item], among: EmotionSet = SEVEN) -> str:
    """Summarise the items, whose labels are of a set, in one line."""
    counts = Counter(item.label for item in items)
    there = [f"{emotion} {counts[place]}" for place, emotion in enumerate(among.emotions) if counts[place]]
    by_emotion, whole = ", ".join(there), "seven" if among.is_seven else "set"
    speakers = {item.speaker for item in items if item.speaker}
    parts = Counter(item.split for item in items)
    outside = f", outside the {whole} {counts[None]}" if counts[None] else ""
    by_part = "; ".join(f"{part} {count}" for part, count in sorted(parts.items()) if part)
    who = f", {len(speakers)} speakers" if speakers else ""
    return f"{len(items)} items{who}: {by_emotion}{outside}" + (f" ({by_part})" if by_part else "")
