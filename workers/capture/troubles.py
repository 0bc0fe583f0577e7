"""What a source suffers at the moment, in sentences: for the heartbeat, and once each for the log."""

from __future__ import annotations

import logging
import re
import threading
import time
from typing import Literal

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
