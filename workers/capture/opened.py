"""An opened source: what it is, and the iterators that the reader threads walk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bimodal.workers.capture.items import Connected, Picture, Sound, SourceInfo
from bimodal.workers.capture.troubles import Troubles


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
    def trouble(self) -> str | None:
        """What the source as a whole suffers, or all of its parts, in one sentence, else None."""
        return self.troubles.text()

    @trouble.setter
    def trouble(self, sentence: str | None) -> None:
        self.troubles.say("source", sentence)
