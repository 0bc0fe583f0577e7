"""Events as a Parquet file: the table of csv_rows.py with types, at full precision, plus the models of each row.

pyarrow is loaded when the first rows are written, which is when there are many of them or the file is closed.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from bimodal.broker.messages import Emotion
from bimodal.workers.record.csv_rows import COLUMNS, Row

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = "1"
ROWS_IN_A_GROUP = 4_096

MODEL_COLUMNS = {"model_face_static": "face-static", "model_face_dynamic": "face-dynamic", "model_speech": "speech"}
TABLE_COLUMNS = (*COLUMNS, *MODEL_COLUMNS)

INTEGERS = {"seq": "int64", "track": "int32", "box_x": "int32", "box_y": "int32"}
INTEGERS |= {"box_width": "int32", "box_height": "int32"}
TEXTS = {"stream", "label", "speech_label", "speech_because", "emotion_label", "because", "failed", *MODEL_COLUMNS}

TypedRow: TypeAlias = "tuple[str | int | float | None, ...]"


def typed_rows(event: Emotion, table: list[Row]) -> list[TypedRow]:
    """The event's rows in the order of TABLE_COLUMNS; `table` is what csv_rows.rows made of it."""
    models = tuple(event.models.get(kind) for kind in MODEL_COLUMNS.values())
    return [(*row, *models) for row in table]


def schema() -> pa.Schema:
    """Every column with its type; all but stream, seq and t may be null."""
    import pyarrow as pa

    fields = []
    for name in TABLE_COLUMNS:
        kind = "string" if name in TEXTS else INTEGERS.get(name, "float64")
        fields.append(pa.field(name, pa.type_for_alias(kind), nullable=name not in ("stream", "seq", "t")))
    return pa.schema(fields, metadata={"bimodal.schema": SCHEMA_VERSION, "bimodal.docs": "docs/recordings.md"})


class TableFile:
    """A Parquet file under its temporary name `.NAME.part`, written by groups of rows, so that memory stays bounded.

    Raises OSError as the system gives it. Until `finish` the file can't be read: its index stands at its end.
    """

    def __init__(self, final: Path) -> None:
        self.final = final
        self.part = final.with_name(f".{final.name}.part")
        self._rows: list[TypedRow] = []
        self._file: BinaryIO | None = self.part.open("wb")
        self._writer: Any = None

    def add(self, event: Emotion, table: list[Row]) -> None:
        """Take an event's rows; `flush` writes them when there are enough."""
        self._rows += typed_rows(event, table)

    def flush(self) -> None:
        """Write a group of rows if one is complete."""
        if len(self._rows) >= ROWS_IN_A_GROUP:
            self._write_group()

    def _write_group(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._writer is None:
            self._writer = pq.ParquetWriter(self._file, schema(), compression="zstd")
        columns = list(zip(*self._rows, strict=True)) or [()] * len(TABLE_COLUMNS)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema(), strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=schema()))
        self._rows.clear()

    def finish(self) -> None:
        """Write what is left and the index; the temporary name stays."""
        self._write_group()
        self._writer.close()
        if self._file is not None:
            self._file.close()
            self._file = None

    def rename(self) -> None:
        """Take the finished name, replacing an older result."""
        self.part.replace(self.final)

    def discard(self) -> None:
        """Close and delete the temporary file; never raises."""
        self._rows.clear()
        for closing in (self._writer, self._file):
            # pyarrow has errors of its own, and the file is thrown away.
            with contextlib.suppress(Exception):
                if closing is not None:
                    closing.close()
        self._writer = self._file = None
        with contextlib.suppress(OSError):
            self.part.unlink(missing_ok=True)

    keep = discard
