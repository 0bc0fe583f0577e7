"""Events as a flat table: one row per frame and face; a frame without a face still has one row."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from bimodal.broker.messages import Emotion, Speech, TrackedFace
from bimodal.models.emotions import EMOTIONS

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
