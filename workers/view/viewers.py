"""Open pages, the stream that each shows, and a one-slot outbox per kind of message: slow browsers skip frames.

For the server's own thread, except `Viewers.shown` and `Viewers.awaiting`, which any thread may read.
"""

from __future__ import annotations

import asyncio
from typing import Literal

Kind = Literal["history", "notice", "state", "frame"]
Payload = bytes | str

MOST_VIEWERS = 32


class Viewer:
    """One open page. At most one message of each kind waits for it; a newer one replaces an older one."""

    def __init__(self) -> None:
        self.stream: str | None = None
        self.skipped = 0
        self._outbox: dict[Kind, Payload] = {}
        self._filled = asyncio.Event()

    @property
    def awaiting(self) -> bool:
        """True once its last frame has been handed to the network."""
        return "frame" not in self._outbox

    def put(self, kind: Kind, payload: Payload) -> None:
        """Put a message into its outbox."""
        self.skipped += kind == "frame" and not self.awaiting
        self._outbox[kind] = payload
        self._filled.set()

    async def next(self) -> tuple[Kind, Payload]:
        """Wait for the message to send next: a history before the frames that follow it."""
        while not self._outbox:
            self._filled.clear()
            await self._filled.wait()
        kind = min(self._outbox, key=("history", "notice", "state", "frame").index)
        return kind, self._outbox.pop(kind)

    def select(self, stream: str | None) -> None:
        """Show another stream, or none while its tab is hidden."""
        self.stream = stream
        self._outbox.pop("frame", None)


class Viewers:
    """All open pages.

    Attributes:
        shown: streams that at least one page shows: only their pixels are worth copying.
        awaiting: those of them for which at least one page awaits a frame: only they are worth encoding.
        sent: frames sent.
    """

    def __init__(self) -> None:
        self.shown: frozenset[str] = frozenset()
        self.awaiting: frozenset[str] = frozenset()
        self.sent = 0
        self._viewers: set[Viewer] = set()
        self._skipped_before = 0

    def __len__(self) -> int:
        return len(self._viewers)

    @property
    def full(self) -> bool:
        """True when no further page is served."""
        return len(self._viewers) >= MOST_VIEWERS

    @property
    def skipped(self) -> int:
        """Frames that slow pages did not get."""
        return self._skipped_before + sum(viewer.skipped for viewer in self._viewers)

    def add(self) -> Viewer:
        """Add a page."""
        viewer = Viewer()
        self._viewers.add(viewer)
        return viewer

    def remove(self, viewer: Viewer) -> None:
        """Remove a page that was closed."""
        self._viewers.discard(viewer)
        self._skipped_before += viewer.skipped
        self._update()

    def select(self, viewer: Viewer, stream: str | None) -> None:
        """Note that a page shows another stream, or none."""
        viewer.select(stream)
        self._update()

    def on_sent(self, kind: Kind) -> None:
        """Note that a message was sent to a page."""
        if kind == "frame":
            self.sent += 1
            self._update()

    def put_frame(self, stream: str, payload: bytes) -> None:
        """Put a frame out for every page that shows its stream."""
        for viewer in self._viewers:
            if viewer.stream == stream:
                viewer.put("frame", payload)
        self._update()

    def put_state(self, payload: str) -> None:
        """Put the system's state out for every page."""
        for viewer in self._viewers:
            viewer.put("state", payload)

    def _update(self) -> None:
        self.shown = frozenset(viewer.stream for viewer in self._viewers if viewer.stream is not None)
        self.awaiting = frozenset(one.stream for one in self._viewers if one.stream is not None and one.awaiting)
