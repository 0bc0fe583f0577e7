"""The joint table of a corpus: clips.parquet, clips.csv, failures.csv and index.html, written again as clips end."""

from __future__ import annotations

import csv
import html
import io
import itertools
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from bimodal.broker.paths import unpack
from bimodal.corpus.rows import Cell, ClipRow, table_cells, table_columns
from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.recordings.arrays import arrow_table
from bimodal.recordings.parts import leftovers, opened, part_path, sweep, sync
from bimodal.recordings.report.index import INDEX, number_cell, page_end, page_head, shares_cell, text_cell
from bimodal.recordings.tables import csv_cell
from bimodal.supervisor.addresses import is_address

CLIPS, CLIPS_CSV, FAILURES = "clips.parquet", "clips.csv", "failures.csv"
ROWS_IN_A_GROUP = 4_096
MOST_ON_PAGE = 10_000
FAILURE_COLUMNS = ("clip", "source", "reason")
PAGE_COLUMNS = (
    "clip", "status", "emotion", "share", "video", "speech", "duration_s", "frames", "faces", "hops", "reason"
)  # fmt: skip


def write_tables(
    corpus: Path,
    rows: Iterable[ClipRow],
    carried: Sequence[str],
    prefix: str = "",
    about: EmotionSet = SEVEN,
    *,
    title: str = "",
    report: bool | None = None,
) -> None:
    """Write all of them, each whole or not at all. Raises OSError.

    Args:
        rows: in the order of the table; read once.
        carried: names of the columns that lists have given.
        prefix: of the files' names, for the part of a corpus that one shard has done.
        about: the emotions and categories that there are shares of.
        title: of the page.
        report: whether each clip has a report; None: where its file is.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [name for name, _ in table_columns(about)]
    names[2:2] = carried
    types = dict(table_columns(about))
    wanted = pa.schema([pa.field(name, pa.type_for_alias(types.get(name, "string"))) for name in names])
    files = _Files(corpus, [prefix + name for name in (CLIPS, CLIPS_CSV, FAILURES, INDEX)])
    count = 0
    with files as (table, lines, failed, page):
        lines.write(_line(names))
        failed.write(_line([*FAILURE_COLUMNS[:2], *carried, *FAILURE_COLUMNS[2:]]))
        page.write(_page_head(title, carried).encode())
        with pq.ParquetWriter(table, wanted, compression="zstd") as writer:
            for group in _groups(rows):
                cells = [table_cells(row, carried, about) for row in group]
                writer.write_table(arrow_table(cells, wanted))
                lines.write(b"".join(map(_line, cells)))
                for row in group:
                    if row.status == "failed":
                        given = [row.columns.get(name) for name in carried]
                        failed.write(_line([row.clip, row.source, *given, row.reason]))
                    if count < MOST_ON_PAGE:
                        page.write(_page_row(corpus, row, carried, report, about).encode())
                    count += 1
        rest = f"<p>The first {MOST_ON_PAGE} of {count} clips; all are in {CLIPS_CSV}.</p>"
        page.write(page_end(rest if count > MOST_ON_PAGE else "").encode())


class _Files:
    """Files under temporary names; all get their final ones at the end, or none does."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        sweep(leftovers(folder, set(names)))
        self._finals = [folder / name for name in names]
        self._files: list[BinaryIO] = []

    def __enter__(self) -> list[BinaryIO]:
        self._files = [io.BufferedWriter(opened(part_path(final))) for final in self._finals]
        return self._files

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for file, final in zip(self._files, self._finals, strict=True):
            if kind is None:
                sync(file)
                part_path(final).replace(final)
            else:
                part_path(final).unlink(missing_ok=True)
            file.close()


def _groups(rows: Iterable[ClipRow]) -> Iterator[list[ClipRow]]:
    iterator = iter(rows)
    while group := list(itertools.islice(iterator, ROWS_IN_A_GROUP)):
        yield group


def _line(cells: Sequence[Cell]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([csv_cell(cell) for cell in cells])
    return text.getvalue().encode()


# The page.


def _page_head(title: str, carried: Sequence[str]) -> str:
    names = [PAGE_COLUMNS[0], *carried, *PAGE_COLUMNS[1:]]
    note = f"One row a clip; a click on a column's name sorts by it. The same as tables: {CLIPS}, {CLIPS_CSV}."
    return page_head(title, names, note)


def _page_row(corpus: Path, row: ClipRow, carried: Sequence[str], report: bool | None, about: EmotionSet) -> str:
    cells = [_link(corpus, row, report), *(text_cell(row.columns.get(name)) for name in carried)]
    for name in PAGE_COLUMNS[1:]:
        value = getattr(row, name)
        if isinstance(value, dict):
            cells.append(shares_cell(value, about))
        elif isinstance(value, int | float):
            cells.append(number_cell(value, f"{value:.1f}" if isinstance(value, float) else None))
        else:
            cells.append(text_cell(value))
    return f'<tr class="{row.status}">{"".join(cells)}</tr>\n'


def _link(corpus: Path, row: ClipRow, report: bool | None) -> str:
    """The clip's name, linked to its report where there is one, else to its summary; of a picture, the picture."""
    name = html.escape(row.clip)
    if row.status == "failed":
        return f"<td>{name}</td>"
    if row.kind == "picture":
        # report is None only where results lie on this disk, as pictures then do.
        if report is not None or is_address(row.file):
            return f"<td>{name}</td>"
        place = quote(os.path.relpath(unpack(row.file), corpus).encode("utf-8", "surrogateescape"))
        return f'<td><a href="{place}"><img loading="lazy" src="{place}" alt="">{name}</a></td>'
    there = report if report is not None else (corpus.parent / f"{row.clip}.html").exists()
    ending = ".html" if there else ".summary.json"
    return f'<td><a href="../{quote(row.clip + ending)}">{name}</a></td>'


class Pace:
    """When to write the joint table again: often while it is cheap, and never for more than a twentieth of the time."""

    FIRST_S = 3.0

    def __init__(self) -> None:
        self._due = time.monotonic() + self.FIRST_S

    @property
    def due(self) -> bool:
        """True once it is time."""
        return time.monotonic() >= self._due

    def took(self, seconds: float) -> None:
        """Take note of what writing took."""
        self._due = time.monotonic() + max(self.FIRST_S, 20 * seconds)


def columns_of(rows: Iterable[ClipRow]) -> list[str]:
    """Names of the carried columns that rows have, in the order of their first use."""
    found: dict[str, Any] = {}
    for row in rows:
        found.update(dict.fromkeys(row.columns))
    return list(found)
