"""The joint data sets: each clip's tables once more, with the clip's name and what its list says in every row.

`corpus/frames/`, `corpus/speech/` and `corpus/segments/` hold one Parquet file a clip (one for many pictures), and are
read as one table each.
"""

from __future__ import annotations

import contextlib
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bimodal.recordings.arrays import arrow_array, arrow_table
from bimodal.recordings.parts import opened, part_path, sweep, sync, tag
from bimodal.recordings.recording import HOP_TABLE, SEGMENT_TABLE, TABLE
from bimodal.recordings.tables import COLUMNS, Column, Row, schema, write_parquet

if TYPE_CHECKING:
    import pyarrow as pa

DATA_SETS: Mapping[str, str] = {"frames": TABLE, "speech": HOP_TABLE, "segments": SEGMENT_TABLE}
"""Name of a data set, and ending of the table that a clip has for it."""
PICTURES = "pictures"
SUFFIX = ".parquet"


def joint_path(corpus: Path, kind: str, place: str) -> Path:
    """The file of a clip in a data set. A folder `a=b` would be read as a column, so its "=" is written otherwise."""
    folder, _, name = place.rpartition("/")
    return corpus / kind / folder.replace("=", "%3D") / f"{name}{SUFFIX}"


def join_clip(
    out: Path, corpus: Path, place: str, columns: Mapping[str, str], tables: Mapping[str, pa.Table] | None = None
) -> None:
    """Make a clip's files in the data sets of its own tables, which are complete. Raises OSError.

    Args:
        tables: by their ending, those that need not be read.
    """
    tables = tables or {}
    for kind, ending in DATA_SETS.items():
        own, final = out / f"{place}{ending}", joint_path(corpus, kind, place)
        if ending in tables or own.is_file():
            table = tables[ending] if ending in tables else _read(own)
            write_table(_with_columns(table, place, columns), final)
        else:
            final.unlink(missing_ok=True)


def remove_clip(corpus: Path, place: str) -> None:
    """Remove a clip from the data sets; never raises."""
    with contextlib.suppress(OSError):
        for kind in DATA_SETS:
            joint_path(corpus, kind, place).unlink(missing_ok=True)


def write_pictures(
    corpus: Path,
    number: int,
    rows: Sequence[tuple[str, Mapping[str, str], Row]],
    before_rename: Callable[[str], None] = lambda _: None,
    cells: tuple[Column, ...] = COLUMNS,
) -> None:
    """Write the rows of pictures as one file of the frames. Raises OSError.

    Args:
        number: of the file in this process.
        rows: place and carried columns of each row's picture, and the row.
        before_rename: called with the file's path below `corpus/` once it is written, before it has its name.
        cells: the columns that rows are in the order of.
    """
    # Of several machines that write into one folder, two may have processes of one number and second.
    host = re.sub(r"[^A-Za-z0-9.-]", "-", platform.node())[:64]
    table = f"frames/{PICTURES}/{host}-{tag()}-{number}{SUFFIX}"
    write_table(pictures_table(rows, cells), corpus / table, lambda: before_rename(table))


def prune_pictures(corpus: Path, places_of: Callable[[str], set[str]]) -> None:
    """Drop rows that no longer count from the files of pictures: of pictures that were done again, or otherwise.

    Args:
        places_of: the pictures whose rows count in a file, by its path below `corpus/`.

    Raises OSError.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    for path in sorted((corpus / "frames" / PICTURES).glob(f"*{SUFFIX}")):
        wanted = places_of(str(path.relative_to(corpus)))
        there = set(_read(path, ["clip"])["clip"].to_pylist())
        if not there & wanted:
            path.unlink(missing_ok=True)
        elif there - wanted:
            table = _read(path)
            kept = pc.is_in(table["clip"], value_set=arrow_array(sorted(wanted), pa.string()))
            write_table(table.filter(kept), path)


def pictures_table(
    rows: Sequence[tuple[str, Mapping[str, str], Row]], columns_of_rows: tuple[Column, ...] = COLUMNS
) -> pa.Table:
    """Rows of pictures as a table of the frames."""
    import pyarrow as pa

    table = arrow_table([row for _, _, row in rows], schema(columns_of_rows))
    names = list(dict.fromkeys(name for _, columns, _ in rows for name in columns))
    given: dict[str, list[str | None]] = {"clip": [place for place, _, _ in rows]}
    given |= {name: [columns.get(name) for _, columns, _ in rows] for name in names}
    for name, cells in reversed(given.items()):
        table = table.add_column(0, pa.field(name, pa.string()), arrow_array(cells, pa.string()))
    return table


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read one Parquet file; `pyarrow.parquet.read_table` would load pandas and all of pyarrow's data sets for it."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return file.read(columns)


def _with_columns(table: pa.Table, place: str, columns: Mapping[str, str]) -> pa.Table:
    import pyarrow as pa

    given = {"clip": place} | dict(columns)
    for name, value in reversed(given.items()):
        cells = arrow_array([value] * table.num_rows, pa.string())  # pyarrow.repeat would load pandas, as array does
        table = table.add_column(0, pa.field(name, pa.string()), cells)
    return table


def write_table(table: pa.Table, final: Path, before_rename: Callable[[], None] = lambda: None) -> None:
    """Write a Parquet file under a temporary name, sync and rename it. Raises OSError."""
    final.parent.mkdir(parents=True, exist_ok=True)
    part = part_path(final)
    try:
        with opened(part) as file:
            write_parquet(table, file)
            sync(file)
            before_rename()
            part.replace(final)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def sweep_data_sets(corpus: Path) -> None:
    """Delete what dead runs have left in the data sets; never raises."""
    with contextlib.suppress(OSError):
        sweep(list(corpus.rglob(".*.part")))
