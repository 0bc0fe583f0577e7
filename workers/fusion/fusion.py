"""Fusion of all streams: lane messages in, events out."""

from __future__ import annotations

from bimodal.broker.messages import Emotion, LaneMessage, StreamClosed, StreamOpened
from bimodal.workers.fusion.dynamic import DynamicModel
from bimodal.workers.fusion.learned import LearnedFusion
from bimodal.workers.fusion.settings import FusionSettings
from bimodal.workers.fusion.stream import StreamFusion


class Fusion:
    """Holds one StreamFusion a stream: that of its newest run. What is closed is remembered by its close alone."""

    def __init__(
        self, settings: FusionSettings, dynamic: DynamicModel | None = None, learned: LearnedFusion | None = None
    ) -> None:
        self._settings = settings
        self._dynamic = dynamic
        self._learned = learned
        self._streams: dict[str, StreamFusion] = {}
        self._closed: dict[str, StreamClosed] = {}

    def reconfigure(
        self, settings: FusionSettings, dynamic: DynamicModel | None, learned: LearnedFusion | None = None
    ) -> None:
        """Go on with other settings, in all streams and those to come."""
        self._settings, self._dynamic, self._learned = settings, dynamic, learned
        for stream in self._streams.values():
            stream.reconfigure(settings, dynamic, learned)

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams that are open."""
        return tuple(self._streams)

    @property
    def held(self) -> int:
        """How many results wait in all streams."""
        return sum(stream.held for stream in self._streams.values())

    def receive(self, message: LaneMessage, now_ns: int) -> list[Emotion | StreamClosed]:
        """One message from the broker; the events that are complete with it.

        A new run of a stream takes the place of the old one, whatever that still held. Messages of older runs and
        of streams that were never opened change nothing. A run that is closed and announced again is closed again
        at once: the first close may have been lost with a broker.
        """
        if isinstance(message, StreamOpened):
            closed = self._open(message)
            if closed is not None:
                return [closed]
        stream = self._streams.get(message.stream)
        if stream is None:
            return []
        complete = stream.receive(message, now_ns)
        if stream.closed is not None:
            self._closed[message.stream] = stream.closed
            del self._streams[message.stream]
        return complete

    def _open(self, opened: StreamOpened) -> StreamClosed | None:
        """Make room for the run, unless it is old or open already; the close where it is closed already."""
        closed, held = self._closed.get(opened.stream), self._streams.get(opened.stream)
        if closed is not None and closed.run >= opened.run:
            return closed if closed.run == opened.run else None
        if held is None or held.opened.run < opened.run:
            self._closed.pop(opened.stream, None)
            self._streams[opened.stream] = StreamFusion(opened, self._settings, self._dynamic, self._learned)
        return None
