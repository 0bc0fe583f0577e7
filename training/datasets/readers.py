"""The table of data sets: names, expected files, and readers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.training.datasets.fer2013 import read_split_tables, split_tables
from bimodal.training.datasets.items import Item, Medium, files_under
from bimodal.training.datasets.manifest import NAME as MANIFEST
from bimodal.training.datasets.manifest import read_manifest
from bimodal.training.datasets.names import (
    Named,
    cfee,
    corpus_named,
    crema_d,
    emo_db,
    jaffe,
    kdef,
    nemo,
    ravdess,
    savee,
    tess,
    urdu,
)
from bimodal.training.datasets.pictures import (
    has_affectnet,
    has_class_folders,
    has_raf_db,
    read_affectnet,
    read_class_folders,
    read_fer2013_table,
    read_raf_db,
)
from bimodal.training.errors import DatasetError

Parse = Callable[[Path], "Named | None"]
"""A path by its name: emotion and speaker; None for a name of another kind."""


class Reader(NamedTuple):
    """One form of one data set.

    Attributes:
        name: on the command line.
        media: of its items.
        needs: expected files, in words.
        licence: of the data, in words.
        whole: numbers of items and speakers of the complete original (0: unknown), or None.
        recognise: tells whether a folder looks like it, for a set of emotions.
        reads: folder and set → items; raises DatasetError.
    """

    name: str
    media: tuple[Medium, ...]
    needs: str
    licence: str
    whole: tuple[int, int] | None
    recognise: Callable[[Path, EmotionSet], bool]
    reads: Callable[[Path, EmotionSet], list[Item]]

    def read(self, folder: Path, among: EmotionSet = SEVEN) -> list[Item]:
        """The items of a folder, labelled for a set of emotions, with their corpus. Raises DatasetError."""
        items = self.reads(folder, among)
        if self.name == "fer2013-folders" and not among.is_seven:  # anybody's pictures
            return items
        corpus = corpus_named(self.name)
        return items if corpus is None else [replace(item, corpus=corpus) for item in items]


def _named(folder: Path, medium: Medium, parse: Parse, what: str, among: EmotionSet) -> list[Item]:
    items = []
    for path in files_under(folder, medium):
        named = parse(path)
        if named is not None:
            items.append(Item(path=path, label=named.label(str(path), among), speaker=named.speaker))
    if not items:
        raise DatasetError(f"{folder} holds no {what}")
    return items


def _any(folder: Path, medium: Medium, parse: Parse) -> bool:
    return any(parse(path) is not None for path in files_under(folder, medium))


def _stem(parse: Callable[[str], Named | None]) -> Parse:
    return lambda path: parse(path.stem)


def _by_name(
    name: str, medium: Medium, needs: str, licence: str, whole: tuple[int, int] | None, parse: Parse
) -> Reader:
    """A data set whose file names say emotion and speaker."""
    return Reader(
        name, (medium,), needs, licence, whole,
        lambda folder, _: _any(folder, medium, parse),
        lambda folder, among: _named(folder, medium, parse, f"{name}: it needs {needs}", among),
    )  # fmt: skip


READERS: tuple[Reader, ...] = (
    Reader(
        "manifest", ("picture", "sound", "video"), "manifest.csv with path, label and, if known, split and speaker",
        "yours", None, lambda folder, _: (folder / MANIFEST).is_file(), read_manifest,
    ),
    Reader(
        "fer2013", ("picture",), "{split}.csv beside a folder {split}/ of pictures, with FER+ votes where known",
        "research use; votes MIT", None, lambda folder, _: bool(split_tables(folder)), read_split_tables,
    ),
    Reader(
        "fer2013-table", ("picture",), "fer2013.csv, and fer2013new.csv for the FER+ votes",
        "research use; votes MIT", (35_887, 0), lambda folder, _: (folder / "fer2013.csv").is_file(),
        read_fer2013_table,
    ),
    Reader(
        "affectnet", ("picture",), "{train,val}_set/ with images/ and annotations/N_exp.npy, or train/0 … train/7",
        "research use, on request", None, lambda folder, _: has_affectnet(folder), read_affectnet,
    ),
    Reader(
        "raf-db", ("picture",), "Image/aligned/train_00001_aligned.jpg and EmoLabel/list_patition_label.txt, or "
        "train/1 … train/7 with train_00001_aligned.jpg", "non-commercial research, on request", (15_339, 0),
        lambda folder, _: has_raf_db(folder), read_raf_db,
    ),
    _by_name(
        "ravdess", "sound", "Actor_*/03-01-EE-II-SS-RR-AA.wav or .flac", "CC BY-NC-SA 4.0", (1_440, 24),
        _stem(lambda stem: ravdess(stem, ("03",))),
    ),
    _by_name(
        "ravdess-video", "video", "Actor_*/01-01-EE-II-SS-RR-AA.mp4 (picture and sound)", "CC BY-NC-SA 4.0",
        (1_440, 24), _stem(lambda stem: ravdess(stem, ("01",))),
    ),
    _by_name(
        "crema-d", "sound", "AudioWAV/AAAA_SSS_EEE_LL.wav, like 1001_DFA_ANG_XX.wav", "ODbL 1.0", (7_442, 91),
        _stem(crema_d),
    ),
    _by_name(
        "crema-d-video", "video", "VideoFlash/AAAA_SSS_EEE_LL.flv, like 1001_DFA_ANG_XX.flv", "ODbL 1.0", (7_442, 91),
        _stem(crema_d),
    ),
    _by_name(
        "emo-db", "sound", "wav/SSTTTEV.wav, like wav/03a01Fa.wav", "free for research", (535, 10), _stem(emo_db),
    ),
    _by_name(
        "urdu", "sound", "Angry/SM1_F10_A010.wav, Happy/ …, Neutral/ …, Sad/ …", "research only", (400, 0), _stem(urdu),
    ),
    _by_name(
        "nemo", "sound", "samples/AAA_emotion_N.wav, like samples/EB0_anger_1.wav", "CC BY-NC-SA 4.0", (4_481, 9),
        _stem(nemo),
    ),
    _by_name(
        "tess", "sound", "OAF_angry/OAF_back_angry.wav, YAF_happy/YAF_dog_happy.wav …", "CC BY-NC-ND 4.0", (2_800, 2),
        _stem(tess),
    ),
    _by_name(
        "savee", "sound", "AudioData/DC/a01.wav, or DC_a01.wav", "research use, on request", (480, 4), savee,
    ),
    _by_name(
        "jaffe", "picture", "jaffe/KA.AN1.39.tiff", "non-commercial research", (213, 10), _stem(jaffe),
    ),
    _by_name(
        "kdef", "picture", "KDEF/AF01/AF01ANS.JPG", "non-commercial research", (4_900, 70), _stem(kdef),
    ),
    _by_name(
        "cfee", "picture", "01-04/Images1/02_339_3470.jpg (category, person, number)", "research use, on request",
        (5_060, 230), _stem(cfee),
    ),
    Reader(
        "fer2013-folders", ("picture",), "a folder a class, like train/happy/*.png and test/happy/*.png",
        "research use", None, has_class_folders, read_class_folders,
    ),
)  # fmt: skip


def reader_named(name: str) -> Reader:
    """Find a reader by name. Raises DatasetError, listing the names, if there is none."""
    for reader in READERS:
        if reader.name == name:
            return reader
    raise DatasetError(f"there is no data set '{name}': there are {', '.join(reader.name for reader in READERS)}")


def reader_of(
    folder: Path, media: Iterable[Medium] = ("picture", "sound", "video"), among: EmotionSet = SEVEN
) -> Reader:
    """Find the reader of a folder, among the readers of these media.

    Raises DatasetError, listing the supported forms, if there is none.
    """
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}")
    wanted = [reader for reader in READERS if set(reader.media) & set(media)]
    for reader in wanted:
        if reader.recognise(folder, among):
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
