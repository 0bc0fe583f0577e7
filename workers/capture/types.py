"""Types of sources: pictures, sounds, the description of a source, its problems, connections and losses."""

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


@dataclass(frozen=True, slots=True)
class Placed:
    """Where pixels lie already that a program has written into a slot of its own: as in a Job."""

    ring: str
    slot: int
    generation: int


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One video frame.

    Attributes:
        pts_ns: time on the stream's own time line, strictly increasing.
        grab_ns: `time.monotonic_ns()` when it was grabbed (of a file: read). For latency only.
        pixels: uint8 [H, W, 3] RGB, upright, contiguous.
        shown: (width, height) as a player shows it, before `max_height` scaled it; None: as its pixels are.
        placed: the slot that `pixels` are a view of, where they need not be copied into another; else None.
    """

    pts_ns: int
    grab_ns: int
    pixels: NDArray[np.uint8]
    shown: tuple[int, int] | None = None
    placed: Placed | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the picture as it is shown, in square pixels: the pixels of every box that users see."""
        return self.shown or (self.pixels.shape[1], self.pixels.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A stretch of sound.

    Attributes:
        pts_ns: time of the first sample on the stream's own time line.
        grab_ns: `time.monotonic_ns()` when the last sample was grabbed. For latency only.
        samples: float32 [n] of one voice, −1…1.
        rate: Hz, the source's own.
        channel: number of the voice where each channel is one, from 0.
    """

    pts_ns: int
    grab_ns: int
    samples: NDArray[np.float32]
    rate: int
    channel: int = 0


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """The properties of an opened source.

    Attributes:
        width, height: of a picture as a player shows it (upright, square pixels, before `max_height` scales it); 0
            without a picture.
        fps: nominal; 0 if unknown.
        frames_estimate: estimated number of pictures; None if unknown.
        duration_ns: from start to end; None if unknown or live.
        sample_rate: Hz; 0 without sound.
        sound_start_ns: `pts_ns` of the first sound of a file; the grid of hops begins there.
        live: True if it can't wait and has no end of its own.
        name: as shown to users, without passwords.
        promised_ns: duration in a file's header, for formats whose header can be trusted; a shorter file is cut off.
        channels: names of the voices where each channel is one, else empty.
        notes: sentences about what was passed over (further tracks).
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
    channels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Connected:
    """A network source was connected, for the first time or again."""

    info: SourceInfo


@dataclass(frozen=True, slots=True)
class Interruption:
    """A network source was lost or could not be opened; it is retried after `retry_s` seconds."""

    reason: str
    retry_s: float


# The current problems of a source, for the heartbeat and the log.

log = logging.getLogger(__name__)

NANO = 1_000_000_000
Part = Literal["source", "picture", "sound", "still", "memory", "damage", "length"]
_NUMBERS = re.compile(r"\d+(\.\d+)?")


class SourceProblems:
    """One sentence for each part of a source with a problem. Reader threads report, the actor's thread reads.

    A sentence is logged when it is new, and not again while only its numbers change ("trying again in 4 s").
    """

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._current: dict[Part, tuple[str, int | None]] = {}
        self._lock = threading.Lock()

    def report(self, part: Part, sentence: str | None, *, for_s: float | None = None) -> None:
        """Set the problem of a part, or clear it with None; forget it after `for_s` seconds if given."""
        if sentence is None and part not in self._current:
            return
        until_ns = None if for_s is None else time.monotonic_ns() + round(for_s * NANO)
        with self._lock:
            before, _ = self._current.pop(part, (None, None))
            if sentence is not None:
                self._current[part] = (sentence, until_ns)
        if sentence is None:
            log.info("over: %s", before)
        elif before is None or _NUMBERS.sub("#", before) != _NUMBERS.sub("#", sentence):
            log.warning("%s", sentence)

    def note(self, sentence: str) -> None:
        """Keep a sentence about the source that is no problem; once."""
        if sentence not in self.notes:
            self.notes.append(sentence)
            log.info("%s", sentence)

    def any_of(self, *parts: Part) -> bool:
        """True if one of these parts has a problem."""
        return any(part in self._current for part in parts)

    def text(self) -> str | None:
        """All current problems in one sentence, else None."""
        now_ns = time.monotonic_ns()
        with self._lock:
            over = [part for part, (_, until_ns) in self._current.items() if until_ns is not None and until_ns < now_ns]
            for part in over:
                del self._current[part]
            return "; ".join(sentence for sentence, _ in self._current.values()) or None


class Damage:
    """Counts packets that could not be decoded and were skipped. Called with the reason, once for each packet; `what`
    names other things than packets."""

    def __init__(self, problems: SourceProblems, forget_after_s: float | None = None) -> None:
        self._problems, self._forget_after_s = problems, forget_after_s
        self._count = 0

    def __call__(self, reason: str, what: str = "damaged packet") -> None:
        self._count += 1
        packets = f"1 {what} was" if self._count == 1 else f"{self._count} {what}s were"
        self._problems.report("damage", f"{packets} skipped ({reason.lower()})", for_s=self._forget_after_s)


# An opened source.


@dataclass
class OpenSource:
    """An opened source, from which a run reads.

    Attributes:
        info: its properties.
        pictures, sounds: start reading pictures or sound, each in a thread of its own; None if there are none.
        mixed: starts reading both from one connection, which yields its properties as `Connected`; None if they are
            read apart.
        largest_picture: greatest size of a picture in bytes, if sizes vary; slots are made for it.
        stopped: ends live readers soon once it is set.
        problems: the current problems of its parts.
        delay_s: by how much a bursty source is played later than it began, in seconds; None for others.
    """

    info: SourceInfo
    pictures: Callable[[], Iterator[Picture]] | None = None
    sounds: Callable[[], Iterator[Sound]] | None = None
    mixed: Callable[[], Iterator[Picture | Sound | Connected]] | None = None
    largest_picture: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)
    problems: SourceProblems = field(default_factory=SourceProblems)
    delay_s: float | None = None

    @property
    def degraded_reason(self) -> str | None:
        """The problems of the source and its parts, in one sentence; None while it is healthy."""
        return self.problems.text()

    @degraded_reason.setter
    def degraded_reason(self, sentence: str | None) -> None:
        self.problems.report("source", sentence)
