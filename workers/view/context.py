"""What every part of the page has at hand. Lives on the server's own thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from bimodal.broker.messages import Body, Emotion
from bimodal.workers.settings import ViewActorSettings
from bimodal.workers.view.audience import Audience
from bimodal.workers.view.feed import Feed
from bimodal.workers.view.gate import Gate


class View:
    """The state behind the page; routes are built around it.

    Attributes:
        session: its name.
        directory: of the session's sockets.
        address: where people open the page, without the token.
        visitors: streams that a visitor's browser may fill; the page then shows a button.
        closers: called once on the server's thread, after everyone was hung up on.
        listeners: called on the server's thread with every message of the bus, events included.
    """

    def __init__(self, settings: ViewActorSettings, directory: Path, address: str) -> None:
        self.settings = settings
        self.session = directory.name
        self.directory = directory
        self.address = address
        self.feed = Feed()
        self.audience = Audience()
        self.gate = Gate(settings.host, settings.token, settings.origins)
        self.visitors: list[str] = []
        self.listeners: list[Callable[[Body], None]] = []
        self.closers: list[Callable[[], None]] = []

    def take(self, body: Body, payload: bytes | None = None) -> None:
        """One message of the bus; `payload` is its frame as pages get it, where somebody looks."""
        self.feed.take(body, time.monotonic())
        if payload is not None and isinstance(body, Emotion):
            self.audience.show(body.stream, payload)
        for listener in self.listeners:
            listener(body)
