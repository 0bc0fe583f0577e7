"""Events as tables (CSV and Parquet: a row per frame and face, a row per hop of the voice) and as lines of JSON.

docs/events.md describes both.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import io
from collections.abc import Callable, Iterable
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, TypeAlias

import msgspec

from bimodal.broker.events import Emotion, FaceMeasures, Hop, Probabilities, Speech, TrackedFace, VoiceMeasures
from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.models.faces.units import BLENDSHAPES, UNITS
from bimodal.recordings.arrays import ArrowType, Cell, arrow_table
from bimodal.recordings.parts import opened, part_path, sync
from bimodal.recordings.segments import Segment

if TYPE_CHECKING:
    import pyarrow as pa

Row: TypeAlias = "tuple[Cell, ...]"
Getter: TypeAlias = "Callable[[Any, TrackedFace | None], Cell]"

Shares: TypeAlias = "Probabilities | msgspec.UnsetType | None"

DECIMALS = 6
SCHEMA_VERSION = "1"
# Text that begins so is a formula to a spreadsheet; an apostrophe makes it text again.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
ROWS_IN_A_GROUP = 4_096
SMALL = 256
"""Of a table with so few rows and our many columns, zstd makes a file no smaller than Snappy, in twice the time."""


class Column(NamedTuple):
    """One column of the tables.

    Attributes:
        type: Arrow type of its cells.
        get: its cell for an event and one of its faces, or None in a frame without faces; or for a hop.
        null: whether cells may be null.
        csv: whether the CSV table has it too.
    """

    name: str
    type: ArrowType
    get: Getter
    null: bool = True
    csv: bool = True


def _face(get: Callable[[TrackedFace], Cell]) -> Getter:
    return lambda _, face: get(face) if face is not None else None


def _measure(name: str) -> Column:
    """A column of what a face does, named as its field."""

    def get(_: Any, face: TrackedFace | None) -> Cell:
        return getattr(face.face, name) if face is not None and face.face is not None else None

    return Column(name, "string" if name == "affect" else "bool" if name == "eyes_closed" else "float64", get)


def _named(prefix: str, names: tuple[str, ...], field: Literal["blend", "units"]) -> list[Column]:
    """A column for each blendshape or action unit."""

    def column(name: str) -> Column:
        def cell(_: Any, face: TrackedFace | None) -> Cell:
            values = getattr(face.face, field) if face is not None and face.face is not None else None
            return None if values is None else values.get(name)

        return Column(f"{prefix}{name}", "float64", cell)

    return [column(name) for name in names]


def _sound(get: Callable[[Any], Speech | Hop | None]) -> list[Column]:
    """Columns of how a voice sounds, named as its fields."""

    def column(name: str) -> Column:
        def cell(event: Any, _: TrackedFace | None) -> Cell:
            voice = get(event)
            return getattr(voice.measures, name) if voice is not None and voice.measures is not None else None

        return Column(f"voice_{name}", "float64", cell)

    return [column(name) for name in VoiceMeasures.__struct_fields__]


def _speech(get: Callable[[Speech], Cell]) -> Getter:
    return lambda event, _: get(event.speech) if event.speech is not None else None


def _model(kind: str) -> Getter:
    return lambda event, _: event.models.get(kind)


def _listed(doubts: tuple[str, ...]) -> str | None:
    """Doubts as one cell, with semicolons; null where there is none."""
    return "; ".join(doubts) or None


def _by_name(prefix: str, names: Iterable[str], get: Callable[[Any, TrackedFace | None], Shares]) -> list[Column]:
    """One column for each emotion (category); a cell is null if it is unknown."""

    def probability(name: str) -> Getter:
        return lambda event, face: (get(event, face) or {}).get(name)

    return [Column(f"{prefix}_{name}", "float64", probability(name)) for name in names]


def _dominance(get: Callable[[Any], Speech | Hop | None]) -> Column:
    def cell(event: Any, _: TrackedFace | None) -> Cell:
        voice = get(event)
        return None if voice is None or voice.dominance is msgspec.UNSET else voice.dominance

    return Column("speech_dominance", "float64", cell)


@functools.lru_cache(maxsize=16)
def frame_columns(emotions: EmotionSet) -> tuple[Column, ...]:
    """Columns of the table of frames: of each emotion and category of a set, and all others."""
    names, further = emotions.emotions, emotions.categories
    return (
        Column("stream", "string", lambda event, _: event.stream, null=False),
        Column("seq", "int64", lambda event, _: event.seq, null=False),
        Column("t", "float64", lambda event, _: event.t, null=False),
        Column("track", "int32", _face(lambda face: face.track)),
        Column("box_x", "int32", _face(lambda face: face.box[0])),
        Column("box_y", "int32", _face(lambda face: face.box[1])),
        Column("box_width", "int32", _face(lambda face: face.box[2])),
        Column("box_height", "int32", _face(lambda face: face.box[3])),
        Column("score", "float64", _face(lambda face: face.score)),
        Column("presence", "float64", _face(lambda face: face.presence)),
        *_by_name("static", names, lambda _, face: face.static if face is not None else None),
        *_by_name("dynamic", names, lambda _, face: face.dynamic if face is not None else None),
        *_by_name("video", names, lambda _, face: face.video if face is not None else None),
        *_by_name("fused", names, lambda _, face: face.fused if face is not None else None),
        Column("label", "string", _face(lambda face: face.label)),
        Column("confidence", "float64", _face(lambda face: face.confidence)),
        Column("weight_video", "float64", _face(lambda face: face.weights.get("video"))),
        Column("weight_speech", "float64", _face(lambda face: face.weights.get("speech"))),
        Column("speech_label", "string", _speech(lambda speech: speech.label)),
        Column("speech_voice", "float64", _speech(lambda speech: speech.voice)),
        Column("speech_age_ms", "float64", _speech(lambda speech: speech.age_ms)),
        Column("speech_because", "string", _speech(lambda speech: speech.because)),
        *_by_name("speech", names, lambda event, _: event.speech.probabilities if event.speech is not None else None),
        Column("emotion_label", "string", lambda event, _: event.emotion.label),
        Column("emotion_confidence", "float64", lambda event, _: event.emotion.confidence),
        Column("agreement", "float64", lambda event, _: event.emotion.agreement),
        Column("because", "string", lambda event, _: event.emotion.because),
        *_by_name("emotion", names, lambda event, _: event.emotion.probabilities),
        Column("latency_queue_ms", "float64", lambda event, _: event.latency_ms.queue),
        Column("latency_inference_ms", "float64", lambda event, _: event.latency_ms.inference),
        Column("latency_total_ms", "float64", lambda event, _: event.latency_ms.total),
        Column("failed", "string", lambda event, _: event.failed),
        Column("picture_width", "int32", lambda event, _: event.size[0] if event.size is not None else None),
        Column("picture_height", "int32", lambda event, _: event.size[1] if event.size is not None else None),
        Column("shot", "int32", lambda event, _: event.shot),
        Column("sharpness", "float64", _face(lambda face: face.sharpness)),
        Column("light", "float64", _face(lambda face: face.light)),
        Column("eyes_seen", "float64", _face(lambda face: face.eyes_seen)),
        Column("mouth_seen", "float64", _face(lambda face: face.mouth_seen)),
        Column("doubts", "string", _face(lambda face: _listed(face.doubts))),
        Column("speech_snr_db", "float64", _speech(lambda speech: speech.snr_db)),
        Column("speech_bandwidth_hz", "float64", _speech(lambda speech: speech.bandwidth_hz)),
        Column("speech_clipped", "float64", _speech(lambda speech: speech.clipped)),
        Column("speech_doubts", "string", _speech(lambda speech: _listed(speech.doubts))),
        *(_measure(name) for name in FaceMeasures.__struct_fields__ if name not in ("blend", "units")),
        *_named("blend_", BLENDSHAPES, "blend"),
        *_named("", tuple(UNITS), "units"),
        Column("emotion_valence", "float64", lambda event, _: event.emotion.valence),
        Column("emotion_arousal", "float64", lambda event, _: event.emotion.arousal),
        *_sound(lambda event: event.speech),
        *_by_name("other", further, lambda _, face: face.other if face is not None else None),
        *_by_name("video_other", further, lambda _, face: face.video_other if face is not None else None),
        *_by_name("speech_other", further, lambda event, _: event.speech.other if event.speech is not None else None),
        *_by_name("emotion_other", further, lambda event, _: event.emotion.other),
        *([_dominance(lambda event: event.speech)] if emotions.dominance else []),
        Column("model_face_static", "string", _model("face-static"), csv=False),
        Column("model_face_dynamic", "string", _model("face-dynamic"), csv=False),
        Column("model_speech", "string", _model("speech"), csv=False),
    )


@functools.lru_cache(maxsize=16)
def hop_columns(emotions: EmotionSet) -> tuple[Column, ...]:
    """Columns of the table of the voice."""
    names, further = emotions.emotions, emotions.categories
    return (
        Column("stream", "string", lambda hop, _: hop.stream, null=False),
        Column("seq", "int64", lambda hop, _: hop.seq, null=False),
        Column("t", "float64", lambda hop, _: hop.t, null=False),
        Column("channel", "string", lambda hop, _: hop.channel),
        Column("speech_label", "string", lambda hop, _: hop.label),
        Column("speech_confidence", "float64", lambda hop, _: hop.confidence),
        Column("speech_voice", "float64", lambda hop, _: hop.voice),
        Column("speech_because", "string", lambda hop, _: hop.because),
        *_by_name("speech", names, lambda hop, _: hop.probabilities),
        Column("latency_queue_ms", "float64", lambda hop, _: hop.latency_ms.queue),
        Column("latency_inference_ms", "float64", lambda hop, _: hop.latency_ms.inference),
        Column("latency_total_ms", "float64", lambda hop, _: hop.latency_ms.total),
        Column("failed", "string", lambda hop, _: hop.failed),
        Column("speech_snr_db", "float64", lambda hop, _: hop.snr_db),
        Column("speech_bandwidth_hz", "float64", lambda hop, _: hop.bandwidth_hz),
        Column("speech_clipped", "float64", lambda hop, _: hop.clipped),
        Column("speech_doubts", "string", lambda hop, _: _listed(hop.doubts)),
        Column("speech_valence", "float64", lambda hop, _: hop.valence),
        Column("speech_arousal", "float64", lambda hop, _: hop.arousal),
        *_sound(lambda hop: hop),
        *_by_name("speech_other", further, lambda hop, _: hop.other),
        *([_dominance(lambda hop: hop)] if emotions.dominance else []),
        Column("model_speech", "string", _model("speech"), csv=False),
    )


COLUMNS, HOP_COLUMNS = frame_columns(SEVEN), hop_columns(SEVEN)
"""Of the seven emotions, without further categories."""

SEGMENT_COLUMNS: tuple[Column, ...] = (
    Column("start", "float64", lambda one, _: one.start, null=False),
    Column("end", "float64", lambda one, _: one.end, null=False),
    Column("track", "int32", lambda one, _: one.track),
    Column("label", "string", lambda one, _: one.label, null=False),
    Column("confidence", "float64", lambda one, _: one.confidence, null=False),
    Column("frames", "int64", lambda one, _: one.frames, null=False),
    Column("kind", "string", lambda one, _: one.kind, null=False),
    Column("peak", "float64", lambda one, _: one.peak, null=False),
    Column("channel", "string", lambda one, _: one.channel),
)


def segment_row(segment: Segment) -> Row:
    """The segment's row in the order of SEGMENT_COLUMNS."""
    return tuple(column.get(segment, None) for column in SEGMENT_COLUMNS)


def rows(event: Emotion, columns: tuple[Column, ...] = COLUMNS) -> list[Row]:
    """The event's rows in the order of `columns`: one per face, or a single one if there are no faces."""
    return [tuple(column.get(event, face) for column in columns) for face in event.faces or (None,)]


def hop_row(hop: Hop, columns: tuple[Column, ...] = HOP_COLUMNS) -> Row:
    """The hop's row in the order of `columns`."""
    return tuple(column.get(hop, None) for column in columns)


def csv_header(columns: tuple[Column, ...] = COLUMNS) -> bytes:
    """The first line of a CSV table, UTF-8."""
    return _lines([tuple(column.name for column in columns)], columns)


def csv_lines(table: Iterable[Row], columns: tuple[Column, ...] = COLUMNS) -> bytes:
    """Rows as lines of a CSV table, UTF-8; docs/events.md describes how a cell is written."""
    return _lines(table, columns)


def _lines(table: Iterable[Row], columns: tuple[Column, ...]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    kept = [column.csv for column in columns]
    writer.writerows([csv_cell(cell) for cell in compress(row, kept)] for row in table)
    return text.getvalue().encode()


def csv_cell(cell: Cell) -> Cell:
    """Round numbers; write booleans as JSON does; put text on one line, so that tools that read line by line work, and
    so that no spreadsheet takes it for a formula."""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        return round(cell, DECIMALS)
    if not isinstance(cell, str):
        return cell
    return ("'" if cell.startswith(FORMULA) else "") + " ".join(cell.splitlines())


def schema(columns: tuple[Column, ...] = COLUMNS) -> pa.Schema:
    """The Parquet schema of a table."""
    import pyarrow as pa

    fields = [pa.field(column.name, pa.type_for_alias(column.type), nullable=column.null) for column in columns]
    return pa.schema(fields, metadata={"bimodal.schema": SCHEMA_VERSION, "bimodal.docs": "docs/recordings.md"})


class TableFile:
    """A Parquet file under its temporary name, written in groups of rows, so that memory stays bounded.

    Raises OSError as the system does. The file can't be read before `finish`, which writes its index at the end.

    Attributes:
        whole: all rows of a finished file, where they were few enough for one group; else None.
    """

    def __init__(self, final: Path, columns: tuple[Column, ...] = COLUMNS) -> None:
        self.final = final
        self.part = part_path(final)
        self._columns = columns
        self._rows: list[Row] = []
        self._file: BinaryIO | None = opened(self.part)
        self._writer: Any = None
        self.whole: pa.Table | None = None

    def add(self, table: list[Row]) -> None:
        """Take rows; `flush` writes them when there are enough."""
        self._rows += table

    def flush(self) -> None:
        """Write a group of rows if one is complete."""
        if len(self._rows) >= ROWS_IN_A_GROUP:
            self._write_group()

    def _write_group(self) -> None:
        import pyarrow.parquet as pq

        wanted = schema(self._columns)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._file, wanted, compression="zstd")
        self._writer.write_table(arrow_table(self._rows, wanted))
        self._rows.clear()

    def finish(self) -> None:
        """Write the remaining rows and the index, and sync to disk; name and lock stay."""
        if self._file is None:
            return
        if self._writer is None:
            self.whole = arrow_table(self._rows, schema(self._columns))
            self._rows.clear()
            write_parquet(self.whole, self._file)
        else:
            self._write_group()
            self._writer.close()
        sync(self._file)

    def rename(self) -> None:
        """Take the finished name, replacing an older result, and close."""
        self.part.replace(self.final)
        self._close()

    def discard(self) -> None:
        """Close and delete the temporary file; never raises."""
        self._rows.clear()
        with contextlib.suppress(OSError):
            self.part.unlink(missing_ok=True)
        self._close()

    keep = discard

    def _close(self) -> None:
        for closing in (self._writer, self._file):
            # pyarrow raises errors of its own, and what is written is written.
            with contextlib.suppress(Exception):
                if closing is not None:
                    closing.close()
        self._writer = self._file = None


def write_parquet(table: pa.Table, file: BinaryIO) -> None:
    """Write a table as a Parquet file, a small one at once: each column is two writes else. Raises OSError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if table.num_rows > SMALL:
        pq.write_table(table, file, compression="zstd")
        return
    made = pa.BufferOutputStream()
    pq.write_table(table, made, compression="snappy")
    data = memoryview(made.getvalue())
    while data:
        data = data[file.write(data) :]


# Lines of JSON

# Left out of the lines: every line is an emotion, and a file holds one run.
WIRE_ONLY = ("type", "run")


def event_line(event: Emotion | Hop) -> bytes:
    """An event or a hop as a line of UTF-8 JSON with a line feed at its end. Numbers keep full precision, NaN is null.

    `msgspec.json.decode(line, type=Emotion)` returns the event again, with `run` 0.
    """
    fields = msgspec.to_builtins(event)
    for key in WIRE_ONLY:
        fields.pop(key, None)
    return msgspec.json.encode(fields) + b"\n"
