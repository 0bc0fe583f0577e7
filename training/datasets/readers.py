"""The table of data sets: names, expected files, and readers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bimodal.models.emotions import emotion_of
from bimodal.models.errors import LabelError
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

# File names of published data sets, which encode emotion and speaker.
#
# RAVDESS: Livingstone & Russo 2018, doi:10.1371/journal.pone.0196391 (modality-channel-emotion-intensity-statement-
# repetition-actor). CREMA-D: Cao et al. 2014, doi:10.1109/TAFFC.2014.2336244 (actor_sentence_emotion_level). EMO-DB:
# Burkhardt et al. 2005 (two digits of speaker, three of text, the emotion's first letter in German, version). MEAD as
# its samples are named here (speaker, emotion).


RAVDESS_EMOTIONS = {
    "01": "neutral", "02": "calm", "03": "happy", "04": "sad",
    "05": "angry", "06": "fearful", "07": "disgust", "08": "surprised",
}  # fmt: skip
CREMA_D_EMOTIONS = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
EMO_DB_EMOTIONS = {
    "W": "anger", "L": None, "E": "disgust", "A": "fear", "F": "happy", "T": "sad", "N": "neutral",
}  # fmt: skip
"""Wut, Langeweile (boredom: outside the seven), Ekel, Angst, Freude, Trauer, neutral."""

RAVDESS = re.compile(r"(0[123])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(\d\d)")
CREMA_D = re.compile(r"(1\d{3})_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX|X)")
EMO_DB = re.compile(r"(\d\d)([ab]\d\d)([WLEAFTN])([a-z]?)")
MEAD = re.compile(r"mead_([MW]\d{3})_([a-z]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Named:
    """A parsed file name: the emotion (None: outside the seven) and the speaker."""

    emotion: str | None
    speaker: str


def ravdess(stem: str, modalities: tuple[str, ...]) -> Named | None:
    """Parse a RAVDESS name of speech (channel 01) in one of the modalities (01 both, 02 picture, 03 sound).

    Else None.
    """
    match = RAVDESS.fullmatch(stem)
    if match is None or match[1] not in modalities or match[2] != "01":
        return None
    return Named(emotion_of(RAVDESS_EMOTIONS[match[3]]), f"Actor_{match[7]}")


def crema_d(stem: str) -> Named | None:
    """Parse a CREMA-D name; None for any other. One file of the original ends in _X instead of _XX."""
    match = CREMA_D.fullmatch(stem)
    return None if match is None else Named(CREMA_D_EMOTIONS[match[3]], match[1])


def emo_db(stem: str) -> Named | None:
    """Parse an EMO-DB name; None for any other."""
    match = EMO_DB.fullmatch(stem)
    return None if match is None else Named(EMO_DB_EMOTIONS[match[3]], match[1])


def clip(stem: str) -> Named | None:
    """Parse a name by any of the schemes above, or MEAD's; None without a known emotion."""
    for named in (ravdess(stem, ("01", "02", "03")), crema_d(stem), emo_db(stem)):
        if named is not None:
            return named
    match = MEAD.match(stem)
    if match is None:
        return None
    try:
        return Named(emotion_of(match[2]), match[1])
    except LabelError:
        return None


class Reader(NamedTuple):
    """One form of one data set.

    Attributes:
        name: on the command line.
        media: of its items.
        needs: expected files, in words.
        licence: of the data, in words.
        whole: numbers of items and speakers of the complete original (0: unknown), or None.
        recognise: tells whether a folder looks like it.
        read: folder → items; raises DatasetError.
    """

    name: str
    media: tuple[Medium, ...]
    needs: str
    licence: str
    whole: tuple[int, int] | None
    recognise: Callable[[Path], bool]
    read: Callable[[Path], list[Item]]


def _named(folder: Path, medium: Medium, parse: Callable[[str], Named | None], what: str) -> list[Item]:
    items = []
    for path in files_under(folder, medium):
        named = parse(path.stem)
        if named is not None:
            label = None if named.emotion is None else label_of(named.emotion, str(path))
            items.append(Item(path=path, label=label, speaker=named.speaker))
    if not items:
        raise DatasetError(f"{folder} holds no {what}")
    return items


def _any(folder: Path, medium: Medium, parse: Callable[[str], Named | None]) -> bool:
    return any(parse(path.stem) is not None for path in files_under(folder, medium))


def _ravdess_sound(stem: str) -> Named | None:
    return ravdess(stem, ("03",))


def _ravdess_video(stem: str) -> Named | None:
    return ravdess(stem, ("01",))


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
        lambda folder: _any(folder, "sound", crema_d),
        lambda folder: _named(folder, "sound", crema_d, "CREMA-D sound: it needs 1001_DFA_ANG_XX.wav …"),
    ),
    Reader(
        "crema-d-video", ("video",), "VideoFlash/AAAA_SSS_EEE_LL.flv", "ODbL 1.0", (7_442, 91),
        lambda folder: _any(folder, "video", crema_d),
        lambda folder: _named(folder, "video", crema_d, "CREMA-D video: it needs 1001_DFA_ANG_XX.flv …"),
    ),
    Reader(
        "emo-db", ("sound",), "wav/SSTTTEV.wav, like wav/03a01Fa.wav", "free for research", (535, 10),
        lambda folder: _any(folder, "sound", emo_db),
        lambda folder: _named(folder, "sound", emo_db, "EMO-DB: it needs wav/03a01Fa.wav …"),
    ),
)  # fmt: skip


def reader_named(name: str) -> Reader:
    """Find a reader by name. Raises DatasetError, listing the names, if there is none."""
    for reader in READERS:
        if reader.name == name:
            return reader
    raise DatasetError(f"there is no data set '{name}': there are {', '.join(reader.name for reader in READERS)}")


def reader_of(folder: Path, media: Iterable[Medium] = ("picture", "sound", "video")) -> Reader:
    """Find the reader of a folder, among the readers of these media.

    Raises DatasetError, listing the supported forms, if there is none.
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
    """Describe what this copy lacks of the original, in one sentence; None if nothing is known to be missing."""
    if reader.whole is None or len(items) >= reader.whole[0]:
        return None
    count, speakers = reader.whole
    found = len({item.speaker for item in items if item.speaker})
    who = f" of {found} of its {speakers} speakers" if speakers else ""
    return f"{reader.name}: {len(items)} of the original's {count} items are here{who}"
