"""Load a folder in any form that a reader knows as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.training.datasets.fer2013 import LEFT_OUT, SIDE, VOTE_PREFIX, Faces, emotion_votes, majority_of
from bimodal.training.datasets.items import Item, held_out_speakers, number_of_speaker
from bimodal.training.datasets.ravdess import SAMPLE_RATE, Clip, Recording, decode, record
from bimodal.training.datasets.readers import reader_of
from bimodal.training.errors import DatasetError

Labels = Literal["auto", "ferplus", "fer2013"]
ALL = "all"
"""In place of a split: every item, whatever its split."""
RATERS = 10.0
SEED = 0


def picture_items(folder: Path, split: str, among: EmotionSet = SEVEN) -> list[Item]:
    """Find the pictures of one split of a folder, in the reader's order.

    If the data set has speakers but no splits, a fifth of them is `valid` and the others are `train`. `all` is every
    picture.
    Raises DatasetError, listing the splits.
    """
    reader = reader_of(folder, ["picture"], among)
    items = [item for item in reader.read(folder, among) if item.medium == "picture"]
    if split == ALL:
        return items
    splits = sorted({item.split for item in items})
    if splits == [""] and split in ("train", "valid") and all(item.speaker for item in items):
        held_out = held_out_speakers([item.speaker for item in items], SEED)
        return [item for item in items if (item.speaker in held_out) == (split == "valid")]
    chosen = [item for item in items if item.split == split]
    if not items:
        raise DatasetError(f"{folder} holds no labelled picture: it is a data set of other media ({reader.name})")
    if not chosen:
        there = ", ".join(name or "(none)" for name in splits)
        raise DatasetError(f"{folder} holds no split '{split}' (there are: {there}); 'bimodal data prepare' makes some")
    return chosen


def has_split(folder: Path, split: str, among: EmotionSet = SEVEN) -> bool:
    """True if `picture_items` would find pictures."""
    try:
        return bool(picture_items(folder, split, among))
    except DatasetError:
        return False


def load_faces(folder: Path, split: str, labels: Labels = "auto", among: EmotionSet = SEVEN) -> Faces:
    """Load one split of any picture data set as grey 48×48 pictures with votes; a plain label counts as ten votes.

    Args:
        labels: `ferplus` for the votes, `fer2013` for the label beside them; `auto` for the votes if there are any.
        among: the set of emotions that labels are of.

    Raises DatasetError if a picture can't be read or the labels are missing.
    """
    items = picture_items(folder, split, among)
    votes, majority = votes_of(items, labels, folder, among)
    return Faces(
        names=tuple(item.path.name for item in items),
        pictures=np.stack([grey(item) for item in items]),
        votes=votes,
        majority=majority,
        speakers=tuple(item.speaker for item in items) if all(item.speaker for item in items) else (),
    )


def votes_of(
    items: Sequence[Item], labels: Labels, folder: Path, among: EmotionSet = SEVEN
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Votes float32 [N, emotions] and majority int64 [N] (LEFT_OUT where undecided) as `labels` says."""
    if labels == "fer2013" and all(item.given is None for item in items):
        raise DatasetError(f"{folder} has no FER2013 labels: leave --labels out")
    if labels == "ferplus" and not all(item.votes for item in items):
        raise DatasetError(f"{folder} has no FER+ votes: leave --labels out")
    if labels != "fer2013" and all(item.votes for item in items):
        words = tuple((items[0].votes or {}).keys())
        table = np.array([[(item.votes or {}).get(word, 0.0) for word in words] for item in items], np.float32)
        columns = tuple(VOTE_PREFIX + word for word in words)
        return emotion_votes(table, columns, among), majority_of(table, columns, among)
    found = [item.given if labels == "fer2013" else item.label for item in items]
    majority = np.array([LEFT_OUT if label is None else label for label in found], np.int64)
    votes = np.zeros((len(items), len(among.emotions)), np.float32)
    decided = majority != LEFT_OUT
    votes[decided, majority[decided]] = RATERS
    return votes, majority


def grey(item: Item) -> NDArray[np.uint8]:
    """Read a picture as grey uint8 [48, 48]; larger ones are averaged. Raises DatasetError if there is none."""
    picture = item.pixels if item.pixels is not None else cv2.imread(str(item.path), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise DatasetError(f"{item.path} is missing or is no picture")
    return fitted(np.asarray(picture, np.uint8), SIDE)


def colour(item: Item, side: int | None) -> NDArray[np.uint8]:
    """Read a picture as RGB uint8 [side, side, 3], or in its own size. Raises DatasetError if there is none."""
    if item.pixels is not None:
        picture = np.repeat(item.pixels[..., None], 3, axis=2)
    else:
        found = cv2.imread(str(item.path), cv2.IMREAD_COLOR)
        if found is None:
            raise DatasetError(f"{item.path} is missing or is no picture")
        picture = np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB), np.uint8)
    return picture if side is None else fitted(picture, side)


def fitted(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Resize a picture to a square of `side` pixels: by area when shrinking, linearly when growing."""
    if picture.shape[:2] == (side, side):
        return picture
    how = cv2.INTER_AREA if min(picture.shape[:2]) > side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (side, side), interpolation=how), np.uint8)


def sound_items(folder: Path, among: EmotionSet = SEVEN) -> list[Item]:
    """The sounds of a folder with an emotion of the set. Raises DatasetError if there is none."""
    reader = reader_of(folder, ["sound"], among)
    items = [item for item in reader.read(folder, among) if item.medium == "sound" and item.label is not None]
    if not items:
        raise DatasetError(f"{folder} holds no sound that is labelled with one of {', '.join(among.emotions)}")
    return items


def corpus_of_item(item: Item, folder: Path) -> str:
    """Name of the data set of an item in `trained_on`: its corpus, else its folder."""
    return item.corpus or folder.absolute().name


def voice_of(item: Item, folder: Path) -> str:
    """Name in `trained_on` of the speaker of an item of a folder."""
    return f"{corpus_of_item(item, folder)}/{item.speaker}"


def load_recordings(
    folder: Path, rate: int = SAMPLE_RATE, split: str | None = None, among: EmotionSet = SEVEN
) -> tuple[Recording, ...]:
    """Load every labelled sound of any speech data set, sorted by speaker and name; only one split if named.

    Raises DatasetError if a file can't be decoded, speakers are unknown, or the split is empty.
    """
    return tuple(decoded(clip, rate) for clip in find_recordings(folder, split, among))


def find_recordings(folder: Path, split: str | None = None, among: EmotionSet = SEVEN) -> list[Clip]:
    """Find the clips that `load_recordings` loads, without decoding."""
    items = sound_items(folder, among)
    if any(not item.speaker for item in items):
        raise DatasetError(f"{folder} does not say who speaks: add a column 'speaker' to its manifest.csv")
    everyone = [item.speaker for item in items]
    numbered = {corpus_of_item(item, folder) for item in items} == {"ravdess"}  # whose actors have numbers
    clips = []
    for item in items:
        if split is None or item.split == split:
            voice = "" if numbered else voice_of(item, folder)
            clips.append(Clip(item.path, number_of_speaker(item.speaker, everyone), item.label or 0, voice))
    if not clips:
        raise DatasetError(f"{folder} holds no sound of the split '{split}'")
    return sorted(clips, key=lambda clip: (clip.actor, clip.path.name))


def decoded(clip: Clip, rate: int = SAMPLE_RATE) -> Recording:
    """Decode a clip. Raises DatasetError as `decode`."""
    return record(clip, decode(clip.path, rate), rate)


def tracks(folder: Path, split: str, among: EmotionSet = SEVEN) -> Iterator[list[Item]]:
    """Yield the faces of every recording of a prepared video tree, in order of time.

    Raises DatasetError if the folder is not prepared.
    """
    reader = reader_of(folder, among=among)
    if reader.media == ("video",):
        raise DatasetError(f"{folder} holds videos: run 'bimodal data prepare {reader.name} {folder} DST' first")
    by_clip: dict[str, list[Item]] = {}
    for item in reader.read(folder, among):
        if item.clip and item.medium == "picture" and item.split == split:
            by_clip.setdefault(item.clip, []).append(item)
    if not by_clip:
        raise DatasetError(f"{folder} holds no recordings of the split '{split}'; 'bimodal data prepare' makes them")
    for clip in sorted(by_clip):
        yield sorted(by_clip[clip], key=lambda item: item.time_s)
