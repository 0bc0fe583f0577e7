"""People's annotations: tables (CSV), ELAN (.eaf) and Praat (.TextGrid), as labels of clips or of stretches."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.models.errors import LabelError
from bimodal.workers.errors import SourceError

CLIP_NAMES = ("clip", "path", "file", "source", "name")
START_NAMES, END_NAMES = ("start", "start_s", "begin", "onset"), ("end", "end_s", "offset")
LABEL_NAMES = ("label", "emotion")
RATER = "rater"
MOST_BYTES = 64 * 2**20
ONE = "people"


class Annotation(NamedTuple):
    """One person's label of a clip, or of a stretch of it (seconds).

    `label` is one of the emotions; None where the person's word lies outside them.
    """

    clip: str
    start: float | None
    end: float | None
    label: str | None
    rater: str = ONE


def read_annotations(path: Path, emotions: EmotionSet = SEVEN) -> list[Annotation]:
    """Read a file of annotations by its ending. Raises SourceError where it can't be, or says nothing of a label.

    `emotions`: the set that words are read for.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise SourceError(f"{path} has more than {MOST_BYTES // 2**20} MiB; that is no file of annotations")
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path} can't be read: {error.strerror}") from error
    readers = {".eaf": _eaf, ".textgrid": _textgrid}
    read = readers.get(path.suffix.lower(), _table)
    found = list(read(data, path, emotions))
    if not found:
        raise SourceError(f"{path} holds no annotation with an emotion")
    return found


def _label(word: str, where: str, emotions: EmotionSet) -> str | None:
    try:
        return emotions.meant_by(word)
    except LabelError as error:
        raise SourceError(f"{where}: {error}") from error


# Tables


def _table(data: bytes, path: Path, emotions: EmotionSet) -> Iterator[Annotation]:
    text = _text(data)
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.DictReader(text.splitlines(), delimiter=delimiter)
    names = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
    clip, label = _named(names, CLIP_NAMES), _named(names, LABEL_NAMES)
    start, end = _named(names, START_NAMES), _named(names, END_NAMES)
    if clip is None or label is None:
        raise SourceError(
            f"{path} needs a column with the clip ({', '.join(CLIP_NAMES)}) and one with the label "
            f"({', '.join(LABEL_NAMES)}); it has {', '.join(names) or 'none'}"
        )
    if (start is None) != (end is None):
        raise SourceError(f"{path} has only one of start and end: stretches need both, in seconds")
    rater = names.get(RATER)
    for row in reader:
        where = f"line {reader.line_num} of {path}"
        if not (row[label] or "").strip():
            continue
        begin, over = (_seconds(row[name], where) if name is not None else None for name in (start, end))
        meant = _label(row[label], where, emotions)
        yield Annotation(row[clip] or "", begin, over, meant, row.get(rater or "") or ONE)


def _named(names: Mapping[str, str], wanted: tuple[str, ...]) -> str | None:
    return next((names[name] for name in wanted if name in names), None)


def _seconds(cell: str | None, where: str) -> float:
    try:
        return float((cell or "").replace(",", "."))
    except ValueError as error:
        raise SourceError(f"{where}: '{cell}' is no time in seconds") from error


def _text(data: bytes) -> str:
    marks = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
    return data.decode(marks.get(data[:2], "utf-8-sig"), "replace")


# ELAN: a file a clip; every tier whose annotations are emotions is a rater.


def _eaf(data: bytes, path: Path, emotions: EmotionSet) -> Iterator[Annotation]:
    # An entity could make a small file a huge one; ELAN writes none.
    if b"<!ENTITY" in data or b"<!DOCTYPE" in data:
        raise SourceError(f"{path} defines entities of its own, which no file of ELAN does")
    try:
        root = ElementTree.fromstring(data)  # noqa: S314 - expat itself limits what entities may grow to
    except ElementTree.ParseError as error:
        raise SourceError(f"{path} is no file of ELAN: {error}") from error
    slots = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in root.iter("TIME_SLOT")}
    for tier in root.iter("TIER"):
        for annotation in tier.iter("ALIGNABLE_ANNOTATION"):
            start, end = (slots.get(annotation.get(f"TIME_SLOT_REF{number}")) for number in (1, 2))
            word = (annotation.findtext("ANNOTATION_VALUE") or "").strip()
            label = _known(word, emotions)
            if start is not None and end is not None and label is not None:
                yield Annotation(path.stem, int(start) / 1000, int(end) / 1000, label, tier.get("TIER_ID") or ONE)


# Praat: a file a clip; every interval tier whose texts are emotions is a rater.

_TIER = re.compile(r'class = "IntervalTier"\s+name = "((?:[^"]|"")*)"(.*?)(?=item \[\d+\]:|\Z)', re.DOTALL)
_INTERVAL = re.compile(r'xmin = ([\d.eE+-]+)\s+xmax = ([\d.eE+-]+)\s+text = "((?:[^"]|"")*)"')


def _textgrid(data: bytes, path: Path, emotions: EmotionSet) -> Iterator[Annotation]:
    text = _text(data)
    if "TextGrid" not in text[:200]:
        raise SourceError(f"{path} is no TextGrid of Praat")
    for tier in _TIER.finditer(text):
        for start, end, word in _INTERVAL.findall(tier[2]):
            label = _known(word.strip(), emotions)
            if label is not None:
                yield Annotation(path.stem, float(start), float(end), label, tier[1].replace('""', '"') or ONE)


def _known(word: str, emotions: EmotionSet) -> str | None:
    """The emotion of a word; None for any other text, as tiers of other things have."""
    try:
        return emotions.meant_by(word) if word else None
    except LabelError:
        return None
