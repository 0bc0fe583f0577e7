"""`manifest.csv`, the form for anyone's own data and for what `bimodal data prepare` writes.

Columns `path` (from the manifest's folder) and `label` (a word for an emotion); optional `split`, `speaker`, `clip` and
`time_s` (a face's recording and its time), `given` (a second label), `votes` (words and counts: `happy:7 fear:3`),
`corpus` (the published data set that a row is from, one of names.CORPORA; other text is ignored) and `own_split` (its
split there, where `split` is another).
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.training.datasets.items import Item, label_of, split_of
from bimodal.training.datasets.names import corpus_named
from bimodal.training.errors import DatasetError

NAME = "manifest.csv"
COLUMNS = ("path", "label", "split", "speaker", "clip", "time_s", "given", "votes", "corpus", "own_split")
UNDECIDED = "none"


def read_manifest(folder: Path, among: EmotionSet = SEVEN) -> list[Item]:
    """Read every row of `folder`/manifest.csv, in order, for a set of emotions. Files themselves are not opened.

    Raises DatasetError, naming the line, if a column is missing or a value can't be read.
    """
    table = folder / NAME
    if not table.is_file():
        raise DatasetError(f"{folder} holds no {NAME}")
    with table.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        missing = [name for name in ("path", "label") if name not in (rows.fieldnames or ())]
        if missing:
            raise DatasetError(f"{table} needs the columns 'path' and 'label' (it lacks {', '.join(missing)})")
        items = [_item(folder, row, f"{table}, line {line}", among) for line, row in enumerate(rows, start=2)]
    if not items:
        raise DatasetError(f"{table} has no rows")
    return items


def write_manifest(folder: Path, items: Iterable[Item], among: EmotionSet = SEVEN) -> Path:
    """Write `folder`/manifest.csv in one move, labels in the words of a set; paths become relative to the folder."""
    fresh, table = folder / f".{NAME}.new", folder / NAME
    with fresh.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(row_of(item, folder, among) for item in items)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(table)
    return table


def row_of(item: Item, folder: Path, among: EmotionSet = SEVEN) -> dict[str, str]:
    """Convert an item, whose labels are of a set, to a row."""
    votes = " ".join(f"{word}:{count:g}" for word, count in (item.votes or {}).items())
    return {
        "path": item.path.relative_to(folder).as_posix(),
        "label": _word(item.label, among),
        "split": item.split,
        "speaker": item.speaker,
        "clip": item.clip,
        "time_s": f"{item.time_s:.3f}" if item.clip else "",
        "given": "" if item.given is None else among.emotions[item.given],
        "votes": votes,
        "corpus": item.corpus,
        "own_split": item.own_split,
    }


def from_row(folder: Path, row: Mapping[str, str], among: EmotionSet = SEVEN) -> Item:
    """Convert a row to an item, labelled for a set. Raises as `read_manifest`."""
    return _item(folder, row, "a row", among)


def _item(folder: Path, row: Mapping[str, str], where: str, among: EmotionSet = SEVEN) -> Item:
    path = (row["path"] or "").strip()
    if not path:
        raise DatasetError(f"{where}: 'path' is empty")
    given = (row.get("given") or "").strip()
    try:
        votes = {
            word: float(count)
            for word, _, count in (pair.partition(":") for pair in (row.get("votes") or "").split())
        }  # fmt: skip
        time_s = float(row.get("time_s") or 0)
    except ValueError as error:
        raise DatasetError(f"{where}: {error}") from error
    return Item(
        path=folder / path,
        label=label_of(row["label"] or UNDECIDED, where, among),
        split=split_of(row.get("split") or ""),
        speaker=(row.get("speaker") or "").strip(),
        votes=votes or None,
        clip=(row.get("clip") or "").strip(),
        time_s=time_s,
        given=label_of(given, where, among) if given else None,
        corpus=corpus_named(row.get("corpus") or "") or "",
        own_split=split_of(row.get("own_split") or ""),
    )


def _word(label: int | None, among: EmotionSet) -> str:
    return UNDECIDED if label is None else among.emotions[label]
