"""Messages between a run over a corpus and its workers: MessagePack, each with its length before it (4 bytes).

The run itself imports no models and no media libraries: those belong to the workers.
"""

from __future__ import annotations

import msgspec

from bimodal.corpus.resume import Options
from bimodal.corpus.rows import ClipRow
from bimodal.recordings.exports import FormatName
from bimodal.workers.capture.choice import Choice
from bimodal.workers.framing import LENGTH


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a worker of a corpus.

    Attributes:
        config: values of config.yaml.
        out: the output folder, absolute; packed. Empty where there is a `store`.
        store: address of the output folder: the worker makes results in a folder of its own, and puts them there.
        session: record that stands beside the results of each clip; `settings` in it is the run's.
        report: whether NAME.html is written.
        also: formats of other programs that are written too (recordings/exports.py).
        engine: as in the column `engine`.
        threads: that work on the frames of one clip; more than one where there are fewer clips than cores.
    """

    config: dict[str, object]
    out: str
    store: str | None = None
    session: dict[str, object]
    choice: Choice = Choice()
    options: Options = Options()
    report: bool = False
    also: tuple[FormatName, ...] = ()
    engine: str = "local"
    threads: int = 1
    log: str | None = None
    parent: int = 0


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """Progress of a clip: frames and seconds done, seconds in all (0 where unknown)."""

    place: str
    frames: int
    seconds: float
    duration_s: float


class Done(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    """The answer to a task.

    Attributes:
        rows: of the clips that were done or failed.
        taken: places that another run holds at this moment.
        before: rows of clips that another run has completed meanwhile.
    """

    number: int
    rows: tuple[ClipRow, ...] = ()
    taken: tuple[str, ...] = ()
    before: tuple[ClipRow, ...] = ()


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The models are loaded; `models` are their names and versions by kind."""

    models: dict[str, str]


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The worker can't work at all, or no longer; `reason` is one sentence."""

    reason: str


Message = Ready | Refused | Progress | Done
_messages = msgspec.msgpack.Decoder(Message)


class Frames:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete now. Raises msgspec.MsgspecError for anything else."""
        self._data += data
        found = []
        while len(self._data) >= LENGTH.size:
            (size,) = LENGTH.unpack_from(self._data)
            if len(self._data) < LENGTH.size + size:
                break
            found.append(_messages.decode(self._data[LENGTH.size : LENGTH.size + size]))
            del self._data[: LENGTH.size + size]
        return found
