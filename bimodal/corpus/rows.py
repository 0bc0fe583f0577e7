"""One clip of a corpus: what is to be done with it, and its row in the joint table."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.recordings.summary import Summary
from bimodal.supervisor.addresses import is_address
from bimodal.workers.redaction import redact

Kind = Literal["clip", "picture"]
Status = Literal["done", "failed"]

MOST_TRIES = 3
"""A clip whose worker died so many times is a failed row."""


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One input of a corpus.

    Attributes:
        place: path of its results below the output folder, without their endings; parts joined by "/".
        file: absolute path, packed (broker/paths.py), or an address as it is fetched, which may hold a password.
        source: path relative to its root, as people read it: its identity, with the bytes.
        picture: whether its row goes into the joint tables only, as of pictures from a folder, a glob or a list.
        bytes, mtime_ns: of the file, as it was found; 0 where it can't be read.
        etag: mark of the content that an object store gives; None without one.
        columns: what its list says of it beside the path, carried into all tables.
        refused: why it can't be an input, one sentence: it is a folder that can't be read; else None.
    """

    place: str
    file: str
    source: str
    picture: bool = False
    bytes: int = 0
    mtime_ns: int = 0
    etag: str | None = None
    columns: dict[str, str] = {}
    refused: str | None = None

    @property
    def remote(self) -> bool:
        """True where the file lies at an address, and is fetched first."""
        return is_address(self.file)

    @property
    def shown_file(self) -> str:
        """The file as rows and sentences have it: without a password."""
        return redact(self.file) if self.remote else self.file

    @property
    def name(self) -> str:
        """The last part of the place: the name of its results and its stream."""
        return self.place.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """The place without its last part; empty for the output folder itself."""
        return self.place.rpartition("/")[0]


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """Work for one worker: a clip, or pictures at a time; `join` only makes the joint tables of complete results."""

    number: int
    items: tuple[Item, ...]
    join: bool = False


class ClipRow(msgspec.Struct, frozen=True, kw_only=True):
    """One clip of the joint table, and a line of the journal. docs/corpora.md describes the columns.

    Attributes:
        table: of a picture: the file below `corpus/` that holds its rows; the row counts only where that file is.
    """

    clip: str
    source: str
    file: str
    kind: Kind
    status: Status
    reason: str | None = None
    note: str | None = None
    bytes: int = 0
    mtime_ns: int = 0
    etag: str | None = None
    sha256: str | None = None
    settings: str = ""
    frames: int = 0
    frames_lost: int = 0
    frames_with_face: int = 0
    hops: int = 0
    hops_failed: int = 0
    duration_s: float = 0.0
    faces: int = 0
    shots: int = 0
    emotion: str | None = None
    video: str | None = None
    speech: str | None = None
    share: dict[str, float] = {}
    other: dict[str, float] = {}
    models: dict[str, str] = {}
    wall_s: float = 0.0
    cpu_s: float = 0.0
    host: str = ""
    engine: str = "local"
    finished: str = ""
    columns: dict[str, str] = {}
    table: str | None = None

    @property
    def lost(self) -> bool:
        """True where frames or hops were lost or failed, so that the clip is not all well."""
        return bool(self.frames_lost or self.hops_failed)


def row_of(item: Item, settings: str, status: Status = "done", **given: Any) -> ClipRow:
    """Make the row of an item that ends now, on this machine; `given` are its other columns."""
    return ClipRow(
        clip=item.place,
        source=item.source,
        file=item.shown_file,
        kind="picture" if item.picture else "clip",
        status=status,
        bytes=item.bytes,
        mtime_ns=item.mtime_ns,
        etag=item.etag,
        settings=settings,
        host=platform.node(),
        finished=datetime.now().astimezone().isoformat(timespec="milliseconds"),
        columns=item.columns,
        **given,
    )


Cell = str | int | float | None

SHARE = "share_"
"""Beginning of the names of the columns with the share of each emotion."""
FURTHER = "other_"
"""Of those with the mean share of each further category."""

_FIRST = (
    ("clip", "string"),
    ("source", "string"),
    ("kind", "string"),
    ("status", "string"),
    ("reason", "string"),
    ("note", "string"),
    ("emotion", "string"),
    ("video", "string"),
    ("speech", "string"),
)
_LAST = (
    ("duration_s", "float64"),
    ("frames", "int64"),
    ("frames_lost", "int64"),
    ("frames_with_face", "int64"),
    ("faces", "int64"),
    ("shots", "int64"),
    ("hops", "int64"),
    ("hops_failed", "int64"),
    ("models", "string"),
    ("settings", "string"),
    ("bytes", "int64"),
    ("sha256", "string"),
    ("wall_s", "float64"),
    ("cpu_s", "float64"),
    ("host", "string"),
    ("engine", "string"),
    ("finished", "string"),
)


def table_columns(about: EmotionSet) -> tuple[tuple[str, str], ...]:
    """Name and Arrow type of the columns of `corpus/clips.parquet`; carried columns come after `source`."""
    shares = [*(f"{SHARE}{name}" for name in about.emotions), *(f"{FURTHER}{name}" for name in about.categories)]
    return (*_FIRST, *((name, "float64") for name in shares), *_LAST)


TABLE_COLUMNS = table_columns(SEVEN)
"""Those of the seven emotions."""


def table_cells(row: ClipRow, carried: Sequence[str], about: EmotionSet = SEVEN) -> list[Cell]:
    """The row's cells: the first two columns, the carried ones, the others."""
    given: dict[str, Cell] = {f"{SHARE}{emotion}": row.share.get(emotion) for emotion in about.emotions}
    given |= {f"{FURTHER}{category}": row.other.get(category) for category in about.categories}
    given["models"] = ", ".join(f"{kind}={name}" for kind, name in sorted(row.models.items())) or None
    cells = [given[name] if name in given else getattr(row, name) for name, _ in table_columns(about)]
    return [*cells[:2], *(row.columns.get(name) for name in carried), *cells[2:]]


def of_summary(summary: Summary) -> dict[str, Any]:
    """The columns of a row that its summary gives."""
    return {
        "frames": summary.frames,
        "frames_lost": summary.frames_lost,
        "frames_with_face": summary.frames_with_face,
        "hops": summary.hops,
        "hops_failed": summary.hops_failed,
        "duration_s": summary.duration_s,
        "faces": summary.faces,
        "shots": summary.shots,
        "emotion": summary.dominant.get("emotion"),
        "video": summary.dominant.get("video"),
        "speech": summary.dominant.get("speech"),
        "share": summary.share.get("emotion", {}),
        "other": summary.other or {},
        "models": summary.models,
    }
