"""The table of data sets: their names, what must lie on disk, and who reads it. Read it top to bottom."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from bimodal.training.datasets import naming
from bimodal.training.datasets.fer2013 import read_split_tables, split_tables
from bimodal.training.datasets.items import Item, Medium, files_under, label_of
from bimodal.training.datasets.manifest import NAME as MANIFEST
from bimodal.training.datasets.manifest import read_manifest
from bimodal.training.datasets.pictures import (
    has_affectnet,
    has_class_folders,
    read_affectnet,
    read_class_folders,
    read_fer2013_table,
)
from bimodal.training.errors import DatasetError


class Reader(NamedTuple):
    """One form of one data set.

    Attributes:
        name: what users call it.
        media: what its items are.
        needs: what must lie in its folder, in words.
        licence: of the data, in words.
        whole: how many items the whole original has, and of how many speakers (0: it does not say), or None.
        recognise: whether a folder looks like it.
        read: folder → items; raises DatasetError.
    """

    name: str
    media: tuple[Medium, ...]
    needs: str
    licence: str
    whole: tuple[int, int] | None
    recognise: Callable[[Path], bool]
    read: Callable[[Path], list[Item]]


def _named(folder: Path, medium: Medium, parse: Callable[[str], naming.Named | None], what: str) -> list[Item]:
    items = []
    for path in files_under(folder, medium):
        named = parse(path.stem)
        if named is not None:
            label = None if named.emotion is None else label_of(named.emotion, str(path))
            items.append(Item(path=path, label=label, speaker=named.speaker))
    if not items:
        raise DatasetError(f"{folder} holds no {what}")
    return items


def _any(folder: Path, medium: Medium, parse: Callable[[str], naming.Named | None]) -> bool:
    return any(parse(path.stem) is not None for path in files_under(folder, medium))


def _ravdess_sound(stem: str) -> naming.Named | None:
    return naming.ravdess(stem, ("03",))


def _ravdess_video(stem: str) -> naming.Named | None:
    return naming.ravdess(stem, ("01",))


READERS: tuple[Reader, ...] = (
    Reader(
        "manifest", ("picture", "sound", "video"), "manifest.csv with path, label and, if known, split and speaker",
        "yours", None, lambda folder: (folder / MANIFEST).is_file(), read_manifest,
    ),
    Reader(
        "fer2013", ("picture",), "{split}.csv beside a folder {split}/ of pictures, with FER+ votes where known",
        "research use; votes MIT", None, lambda folder: bool(split_tables(folder)), read_split_tables,
    ),
    Reader(
        "fer2013-table", ("picture",), "fer2013.csv, and fer2013new.csv for the FER+ votes",
        "research use; votes MIT", (35_887, 0), lambda folder: (folder / "fer2013.csv").is_file(), read_fer2013_table,
    ),
    Reader(
        "affectnet", ("picture",), "{train,val}_set/ with images/ and annotations/N_exp.npy, or train/0 … train/7",
        "research use, on request", None, has_affectnet, read_affectnet,
    ),
    Reader(
        "fer2013-folders", ("picture",), "a folder a class, like train/happy/*.png and test/happy/*.png",
        "research use", None, has_class_folders, read_class_folders,
    ),
    Reader(
        "ravdess", ("sound",), "Actor_*/03-01-EE-II-SS-RR-AA.wav or .flac", "CC BY-NC-SA 4.0", (1_440, 24),
        lambda folder: _any(folder, "sound", _ravdess_sound),
        lambda folder: _named(folder, "sound", _ravdess_sound, "RAVDESS speech: it needs Actor_*/03-01-….wav or .flac"),
    ),
    Reader(
        "ravdess-video", ("video",), "Actor_*/01-01-EE-II-SS-RR-AA.mp4 (picture and sound)", "CC BY-NC-SA 4.0",
        (1_440, 24), lambda folder: _any(folder, "video", _ravdess_video),
        lambda folder: _named(folder, "video", _ravdess_video, "RAVDESS video: it needs Actor_*/01-01-….mp4"),
    ),
    Reader(
        "crema-d", ("sound",), "AudioWAV/AAAA_SSS_EEE_LL.wav", "ODbL 1.0", (7_442, 91),
        lambda folder: _any(folder, "sound", naming.crema_d),
        lambda folder: _named(folder, "sound", naming.crema_d, "CREMA-D sound: it needs 1001_DFA_ANG_XX.wav …"),
    ),
    Reader(
        "crema-d-video", ("video",), "VideoFlash/AAAA_SSS_EEE_LL.flv", "ODbL 1.0", (7_442, 91),
        lambda folder: _any(folder, "video", naming.crema_d),
        lambda folder: _named(folder, "video", naming.crema_d, "CREMA-D video: it needs 1001_DFA_ANG_XX.flv …"),
    ),
    Reader(
        "emo-db", ("sound",), "wav/SSTTTEV.wav, like wav/03a01Fa.wav", "free for research", (535, 10),
        lambda folder: _any(folder, "sound", naming.emo_db),
        lambda folder: _named(folder, "sound", naming.emo_db, "EMO-DB: it needs wav/03a01Fa.wav …"),
    ),
)  # fmt: skip


def reader_named(name: str) -> Reader:
    """Raises DatasetError, listing the names there are."""
    for reader in READERS:
        if reader.name == name:
            return reader
    raise DatasetError(f"there is no data set '{name}': there are {', '.join(reader.name for reader in READERS)}")


def reader_of(folder: Path, media: Iterable[Medium] = ("picture", "sound", "video")) -> Reader:
    """Who can read a folder, among the readers of these media.

    Raises DatasetError, saying what a folder may hold, where nobody can.
    """
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}")
    wanted = [reader for reader in READERS if set(reader.media) & set(media)]
    for reader in wanted:
        if reader.recognise(folder):
            return reader
    forms = "; ".join(f"{reader.name}: {reader.needs}" for reader in wanted)
    raise DatasetError(f"{folder} holds no data set that bimodal knows for this ({forms})")


def missing_from(reader: Reader, items: list[Item]) -> str | None:
    """What the original has and this copy lacks, in one sentence; None where nothing is known to be missing."""
    if reader.whole is None or len(items) >= reader.whole[0]:
        return None
    count, speakers = reader.whole
    found = len({item.speaker for item in items if item.speaker})
    who = f" of {found} of its {speakers} speakers" if speakers else ""
    return f"{reader.name}: {len(items)} of the original's {count} items are here{who}"
