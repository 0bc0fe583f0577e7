"""Events as a flat table: one row per frame and face; a frame without a face still has one row."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import msgspec

from bimodal.broker.events import Emotion, Speech, TrackedFace
from bimodal.models.emotions import EMOTIONS

if TYPE_CHECKING:
    import pyarrow as pa
Cell: TypeAlias = "str | int | float | None"
Row: TypeAlias = "tuple[Cell, ...]"

DECIMALS = 6


def _per_emotion(prefix: str) -> tuple[str, ...]:
    return tuple(f"{prefix}_{emotion}" for emotion in EMOTIONS)


FRAME_COLUMNS = ("stream", "seq", "t")
FACE_COLUMNS = (
    *("track", "box_x", "box_y", "box_width", "box_height", "score"),
    *_per_emotion("static"),
    *_per_emotion("dynamic"),
    *_per_emotion("video"),
    *_per_emotion("fused"),
    *("label", "confidence", "weight_video", "weight_speech"),
)
SPEECH_COLUMNS = ("speech_label", "speech_voice", "speech_age_ms", "speech_because", *_per_emotion("speech"))
EMOTION_COLUMNS = ("emotion_label", "emotion_confidence", "agreement", "because", *_per_emotion("emotion"))
LATENCY_COLUMNS = ("latency_queue_ms", "latency_inference_ms", "latency_total_ms")
COLUMNS = (*FRAME_COLUMNS, *FACE_COLUMNS, *SPEECH_COLUMNS, *EMOTION_COLUMNS, *LATENCY_COLUMNS, "failed")


def csv_header() -> bytes:
    """The first line of the table, UTF-8."""
    return _lines([COLUMNS])


def csv_lines(table: Iterable[Row]) -> bytes:
    """Rows as UTF-8 text, one line each; see docs/events.md for how a cell is written."""
    return _lines(table)


def rows(event: Emotion) -> list[Row]:
    """One row per face in the order of COLUMNS, or a single one with empty face cells."""
    frame: Row = (event.stream, event.seq, event.t)
    verdict, latency = event.emotion, event.latency_ms
    rest = (
        *_speech_cells(event.speech),
        *(verdict.label, verdict.confidence, verdict.agreement, verdict.because),
        *_emotion_cells(verdict.probabilities),
        *(latency.queue, latency.inference, latency.total),
        event.failed,
    )
    no_face: Row = (None,) * len(FACE_COLUMNS)
    faces = [_face_cells(face) for face in event.faces] or [no_face]
    return [(*frame, *cells, *rest) for cells in faces]


def _face_cells(face: TrackedFace) -> Row:
    return (
        *(face.track, *face.box, face.score),
        *_emotion_cells(face.static),
        *_emotion_cells(face.dynamic),
        *_emotion_cells(face.video),
        *_emotion_cells(face.fused),
        *(face.label, face.confidence, face.weights.get("video"), face.weights.get("speech")),
    )


def _speech_cells(speech: Speech | None) -> Row:
    if speech is None:
        return (None,) * len(SPEECH_COLUMNS)
    return (speech.label, speech.voice, speech.age_ms, speech.because, *_emotion_cells(speech.probabilities))


def _emotion_cells(probabilities: Mapping[str, float] | None) -> Row:
    known = probabilities or {}
    return tuple(known.get(emotion) for emotion in EMOTIONS)


def _lines(table: Iterable[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_written(cell) for cell in row] for row in table)
    return text.getvalue().encode()


def _written(cell: Cell) -> Cell:
    """Numbers rounded; text on one line, so that a row is a line and tools that read by lines work."""
    if isinstance(cell, float):
        return round(cell, DECIMALS)
    return " ".join(cell.splitlines()) if isinstance(cell, str) else cell


# Events as a Parquet file: the table of csv_rows.py with types, at full precision, plus the models of each row.
#
# pyarrow is loaded when the first rows are written, which is when there are many of them or the file is closed.


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


# An event as one line of JSON, as docs/events.md describes it.


WIRE_ONLY = ("type", "run")
"""Every line is an emotion, and a file holds one run: these two keys say nothing there."""


def event_line(event: Emotion) -> bytes:
    """An Emotion → UTF-8 JSON with a line feed at its end. Numbers keep full precision; NaN would become null.

    `msgspec.json.decode(line, type=Emotion)` gives the event back, with `run` 0.
    """
    fields = msgspec.to_builtins(event)
    for key in WIRE_ONLY:
        fields.pop(key, None)
    return msgspec.json.encode(fields) + b"\n"
