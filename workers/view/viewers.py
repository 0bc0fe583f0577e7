"""Who looks at what, and what waits for them: the newest of each kind only, so that a slow browser gets fewer frames
and holds nobody up. For the server's own thread, but for `looked_at` and `hungry`, which any thread may read."""

from __future__ import annotations

import asyncio
from typing import Literal

Kind = Literal["history", "state", "frame"]
Payload = bytes | str

MOST_VIEWERS = 32


class Viewer:
    """One open page. At most one message of each kind waits for it; a newer one takes an older one's place."""

    def __init__(self) -> None:
        self.stream: str | None = None
        self.skipped = 0
        self._waiting: dict[Kind, Payload] = {}
        self._news = asyncio.Event()

    @property
    def hungry(self) -> bool:
        """Whether the last frame for it is on its way."""
        return "frame" not in self._waiting

    def offer(self, kind: Kind, payload: Payload) -> None:
        """Put a message out for it."""
        self.skipped += kind == "frame" and not self.hungry
        self._waiting[kind] = payload
        self._news.set()

    async def next(self) -> tuple[Kind, Payload]:
        """The message that goes next: a history before the frames that go on from it."""
        while not self._waiting:
            self._news.clear()
            await self._news.wait()
        kind = min(self._waiting, key=("history", "state", "frame").index)
        return kind, self._waiting.pop(kind)

    def look(self, stream: str | None) -> None:
        """It shows another stream now, or none while its tab is hidden."""
        self.stream = stream
        self._waiting.pop("frame", None)


class Audience:
    """All open pages. As a container it holds the streams that are looked at.

    Attributes:
        looked_at: streams that at least one page shows: only their pixels are worth copying.
        hungry: those of them for which at least one page has taken its last frame: only they are worth encoding.
    """

    def __init__(self) -> None:
        self.looked_at: frozenset[str] = frozenset()
        self.hungry: frozenset[str] = frozenset()
        self.sent = 0
        self._viewers: set[Viewer] = set()
        self._skipped_by_gone = 0

    def __len__(self) -> int:
        return len(self._viewers)

    def __contains__(self, stream: object) -> bool:
        return stream in self.looked_at

    @property
    def full(self) -> bool:
        """Whether no further page can be served."""
        return len(self._viewers) >= MOST_VIEWERS

    @property
    def skipped(self) -> int:
        """Frames that slow pages did not get."""
        return self._skipped_by_gone + sum(viewer.skipped for viewer in self._viewers)

    def enter(self) -> Viewer:
        """One page more."""
        viewer = Viewer()
        self._viewers.add(viewer)
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """One page less."""
        self._viewers.discard(viewer)
        self._skipped_by_gone += viewer.skipped
        self._reckon()

    def look(self, viewer: Viewer, stream: str | None) -> None:
        """A page shows another stream now, or none."""
        viewer.look(stream)
        self._reckon()

    def taken(self, kind: Kind) -> None:
        """A message has gone out to a page."""
        if kind == "frame":
            self.sent += 1
            self._reckon()

    def show(self, stream: str, payload: bytes) -> None:
        """A frame, for every page that shows its stream."""
        for viewer in self._viewers:
            if viewer.stream == stream:
                viewer.offer("frame", payload)
        self._reckon()

    def tell(self, payload: str) -> None:
        """The state, for every page."""
        for viewer in self._viewers:
            viewer.offer("state", payload)

    def _reckon(self) -> None:
        shown = [viewer for viewer in self._viewers if viewer.stream is not None]
        self.looked_at = frozenset(viewer.stream for viewer in shown if viewer.stream is not None)
        self.hungry = frozenset(viewer.stream for viewer in shown if viewer.stream is not None and viewer.hungry)
