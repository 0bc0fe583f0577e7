"""Messages between the API's server and a process that analyses clips for it: MessagePack, each after its length.

The server imports no models and no media libraries: those belong to its workers.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

MOST_BYTES = 64 * 2**20


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """The first message to a worker.

    Attributes:
        config: values of config.yaml.
        parent: pid of the process with which the worker ends.
        log: path of the log; None for stderr.
    """

    config: dict[str, object]
    parent: int
    log: str | None = None


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """Analyse a clip.

    Attributes:
        file: its path.
        name: of the stream in its events.
    """

    file: str
    name: str
    video_track: int | None = None
    audio_track: int | None = None
    channel: int | str = "mix"


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The models are loaded; `models` are their names and versions by kind."""

    models: dict[str, str]


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The worker can't work with this config; `reason` is one sentence."""

    reason: str


class Opened(msgspec.Struct, frozen=True, tag="opened", kw_only=True):
    """The clip can be read; its events follow."""

    has_picture: bool
    has_sound: bool
    duration_s: float | None


class Item(msgspec.Struct, frozen=True, tag="item"):
    """An event of a frame (`emotion`), a hop of the voice (`hop`), or a stretch (`segment`), as JSON."""

    kind: str
    json: bytes


class End(msgspec.Struct, frozen=True, tag="end", kw_only=True):
    """The clip is done; `note` says what was wrong with one that has results all the same."""

    frames: int
    hops: int
    segments: int
    note: str | None = None


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The clip can't be analysed; `reason` is one sentence."""

    reason: str


Answer: TypeAlias = Ready | Refused | Opened | Item | End | Failed
answers = msgspec.msgpack.Decoder(Answer)
