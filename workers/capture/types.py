"""What sources give: pictures, sounds, what is known of a source, and word of what happens to a live one."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One video frame.

    Attributes:
        pts_ns: its place on the stream's own time line, strictly increasing.
        grab_ns: `time.monotonic_ns()` when it was grabbed (of a file: read). For latency only.
        pixels: uint8 [H, W, 3] RGB, upright, contiguous.
    """

    pts_ns: int
    grab_ns: int
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A stretch of sound.

    Attributes:
        pts_ns: when its first sample was, on the stream's own time line.
        grab_ns: `time.monotonic_ns()` when its last sample was grabbed. For latency only.
        samples: float32 [n] mono, −1…1.
        rate: samples a second, the source's own.
    """

    pts_ns: int
    grab_ns: int
    samples: NDArray[np.float32]
    rate: int


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source when it is opened.

    Attributes:
        width, height: of an upright picture before `max_height` scales it; 0 without a picture.
        fps: nominal; 0 where unknown.
        frames_estimate: how many pictures there may be; None where unknown.
        duration_ns: from the start of the source to its end; None where unknown or live.
        sample_rate: Hz; 0 without sound.
        sound_start_ns: `pts_ns` of the first sound of a file; the grid of hops begins there.
        live: it can't wait, and has no end of its own.
        name: as users see it, without passwords.
        promised_ns: how long a file's header says it is, where that can be trusted; less than that is a file cut off.
    """

    has_picture: bool
    has_sound: bool
    width: int
    height: int
    fps: float
    frames_estimate: int | None
    duration_ns: int | None
    sample_rate: int
    live: bool
    name: str
    sound_start_ns: int = 0
    promised_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Connected:
    """A network source was opened, for the first time or again."""

    info: SourceInfo


@dataclass(frozen=True, slots=True)
class Interruption:
    """A network source was lost or could not be opened; it is tried again after `retry_s` seconds."""

    because: str
    retry_s: float


# What a source suffers at the moment, in sentences: for the heartbeat, and once each for the log.


log = logging.getLogger(__name__)

NANO = 1_000_000_000
Part = Literal["source", "picture", "sound", "still", "memory", "damage", "length"]
_NUMBERS = re.compile(r"\d+(\.\d+)?")


class Troubles:
    """One sentence for each part of a source that suffers. Reader threads say it, the actor's thread tells it on.

    The log gets a sentence when it is new, and not again while only its numbers change ("trying again in 4 s").
    """

    def __init__(self) -> None:
        self._said: dict[Part, tuple[str, int | None]] = {}
        self._lock = threading.Lock()

    def say(self, part: Part, sentence: str | None, *, for_s: float | None = None) -> None:
        """What a part suffers from now on, or None where all is well with it; after `for_s` it is forgotten."""
        if sentence is None and part not in self._said:
            return
        until_ns = None if for_s is None else time.monotonic_ns() + round(for_s * NANO)
        with self._lock:
            before, _ = self._said.pop(part, (None, None))
            if sentence is not None:
                self._said[part] = (sentence, until_ns)
        if sentence is None:
            log.info("over: %s", before)
        elif before is None or _NUMBERS.sub("#", before) != _NUMBERS.sub("#", sentence):
            log.warning("%s", sentence)

    def about(self, *parts: Part) -> bool:
        """Whether one of these parts suffers."""
        return any(part in self._said for part in parts)

    def text(self) -> str | None:
        """All sentences in one, else None."""
        now_ns = time.monotonic_ns()
        with self._lock:
            over = [part for part, (_, until_ns) in self._said.items() if until_ns is not None and until_ns < now_ns]
            for part in over:
                del self._said[part]
            return "; ".join(sentence for sentence, _ in self._said.values()) or None


class Damage:
    """Counts what could not be decoded and was skipped. To be called with the reason, once for each packet."""

    def __init__(self, troubles: Troubles, forget_after_s: float | None = None) -> None:
        self._troubles, self._forget_after_s = troubles, forget_after_s
        self._count = 0

    def __call__(self, reason: str) -> None:
        self._count += 1
        packets = "1 damaged packet was" if self._count == 1 else f"{self._count} damaged packets were"
        self._troubles.say("damage", f"{packets} skipped ({reason.lower()})", for_s=self._forget_after_s)


# An opened source: what it is, and the iterators that the reader threads walk.


@dataclass
class OpenSource:
    """What a run reads from.

    Attributes:
        info: what the source is.
        pictures, sounds: begin to read one of both, each in a thread of its own; None where there is none.
        mixed: begins to read both from one connection, which says what it carries with `Connected`; None where
            they are read apart.
        largest_picture: bytes that a picture may have where they change their size; slots are made for it.
        stopped: ends live readers soon once it is set.
        troubles: what it suffers at the moment, part by part.
    """

    info: SourceInfo
    pictures: Callable[[], Iterator[Picture]] | None = None
    sounds: Callable[[], Iterator[Sound]] | None = None
    mixed: Callable[[], Iterator[Picture | Sound | Connected]] | None = None
    largest_picture: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)
    troubles: Troubles = field(default_factory=Troubles)

    @property
    def degraded_reason(self) -> str | None:
        """What the source as a whole suffers, or all of its parts, in one sentence, else None."""
        return self.troubles.text()

    @degraded_reason.setter
    def degraded_reason(self, sentence: str | None) -> None:
        self.troubles.say("source", sentence)
