"""Records of session, streams and sources beside the events of a recording; docs/recordings.md describes them."""

from __future__ import annotations

from typing import Literal

import msgspec

from bimodal.broker.events import Size
from bimodal.broker.messages import Policy, StreamOpened
from bimodal.models.emotions import EMOTIONS, EmotionSet

FORMAT = 1
SESSION_FILE = "session.json"
STREAM_FILE = "stream.json"
CLIP_SUFFIX = ".session.json"


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """The machine: name, system, processor family, number of cores, and Python version."""

    name: str
    system: str
    machine: str
    cores: int
    python: str


class ModelRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One artifact at the start of the session: `given` is the entry of config.yaml, the rest describes the file."""

    kind: str
    given: str
    name: str | None
    version: str | None
    file: str
    bytes: int
    sha256: str


class FileRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the session folder: its path relative to the folder, and its size."""

    path: str
    bytes: int


class SessionRecord(msgspec.Struct, kw_only=True):
    """A whole session. Times are local with UTC offset; `config` contains no passwords.

    Attributes:
        kind: "live" (bimodal up) or "analysis" (bimodal analyze).
        ended, files: set when a live session has ended normally, or by `bimodal report`.
        settings: of an analysis, a checksum of all that its results depend on beside the source (models, settings,
            choice of tracks).
    """

    format: int = FORMAT
    kind: Literal["live", "analysis"]
    session: str
    started: str
    ended: str | None = None
    bimodal: str
    host: Host
    libraries: dict[str, str]
    config: dict[str, object]
    models: list[ModelRecord]
    files: list[FileRecord] = []
    settings: str | None = None


class SourceRecord(msgspec.Struct, kw_only=True):
    """The source of a stream. `file`, `path`, `bytes` and `sha256` are set only if it was a file.

    Attributes:
        file: absolute path; a name that is no UTF-8 is packed (broker/paths.py).
        path: the same, relative to its root: for a file that was named, the folder that it lies in.
        mtime_ns: when the file was last changed, in nanoseconds since 1970.
        sha256: of the file's bytes; None if there was no time to compute it.
    """

    name: str
    file: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    path: str | None = None
    mtime_ns: int | None = None


class PartRecord(msgspec.Struct, kw_only=True):
    """One part of a stream's recording.

    Attributes:
        name: of its files, without their suffixes.
        begun: wall clock at the start of writing.
        complete: true once its table and summary are written.
    """

    name: str
    run: int
    begun: str
    frames: int = 0
    first_t: float | None = None
    last_t: float | None = None
    complete: bool = False


class StreamRecord(msgspec.Struct, kw_only=True):
    """A stream as its source announced it, and the parts of its recording in the order of time.

    `size` is (width, height) of the picture as it is shown, in whose pixels boxes are; None without a picture.
    `emotions` (empty: the seven), `categories` and `dominance`: what its results are about, as in its announcement.
    """

    format: int = FORMAT
    stream: str
    policy: Policy
    source: SourceRecord
    has_picture: bool
    has_sound: bool
    width: int
    height: int
    fps: float
    hop_s: float
    duration_s: float | None = None
    parts: list[PartRecord] = []
    size: Size | None = None
    emotions: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    dominance: bool = False


class ClipRecord(msgspec.Struct, kw_only=True):
    """NAME.session.json: everything about one analysed file."""

    session: SessionRecord
    stream: StreamRecord


def stream_record(opened: StreamOpened, source: SourceRecord) -> StreamRecord:
    """Make the record of an announced stream, without parts."""
    return StreamRecord(
        stream=opened.stream,
        policy=opened.policy,
        source=source,
        has_picture=opened.has_picture,
        has_sound=opened.has_sound,
        width=opened.width,
        height=opened.height,
        fps=opened.fps,
        hop_s=opened.hop_ns / 1e9,
        duration_s=opened.duration_ns / 1e9 if opened.duration_ns is not None else None,
        size=size_of(opened),
        emotions=opened.emotions,
        categories=opened.categories,
        dominance=opened.dominance,
    )


def set_of(said: StreamOpened | StreamRecord) -> EmotionSet:
    """What the results of a stream are about, as its announcement or its record says."""
    return EmotionSet(said.emotions or EMOTIONS, said.categories, said.dominance)


def size_of(opened: StreamOpened) -> Size | None:
    """(width, height) of the stream's pictures as they are shown; None without pictures."""
    return (opened.width, opened.height) if opened.has_picture and opened.width and opened.height else None


def pretty(record: msgspec.Struct) -> bytes:
    """Format a record as indented JSON with a line feed at its end."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
