"""The event bus: the PUB socket of the session, further addresses of it, and its twin for other machines.

It is an XPUB socket, which tells what is subscribed to: what nobody reads is not even encoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import zmq

from bimodal.broker.doors import Doors
from bimodal.broker.errors import BrokerError
from bimodal.broker.sockets import bind, events_endpoint, has_mail, move, needs_keys

SUBSCRIBED, UNSUBSCRIBED = b"\x01", b"\x00"


class EventBus:
    """May lose anything for a slow reader, and never waits for one.

    Attributes:
        socket: has something to `hear` whenever it can be read.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], directory: Path, doors: Doors) -> None:
        """Bind it at its address in the session's directory; raises EndpointError where that is in use."""
        self.socket = bind(context, zmq.XPUB, events_endpoint(directory))
        self._doors = doors
        self._near: dict[str, str] = {}
        self._prefixes: set[bytes] = set()

    def serve(self, events: Sequence[str], workers: Sequence[str]) -> None:
        """Be reachable at `events` too: of loopback and socket files openly, of anything else with keys only.

        `workers` are the addresses of the other door. Raises EndpointError or KeysError; what was served before, is.
        """
        near = [endpoint for endpoint in events if not needs_keys(endpoint)]
        before = list(self._near)
        # What is new first, what goes last: so nothing that stays is let go of, should anything in between fail.
        self._near = move(self.socket, self._near, [*before, *near])
        try:
            self._doors.serve(events=[endpoint for endpoint in events if endpoint not in near], workers=workers)
        except BrokerError:
            self._near = move(self.socket, self._near, before)
            raise
        self._near = move(self.socket, self._near, near)

    def hear(self) -> None:
        """Take note of first subscriptions to prefixes, and of the ends of the last: of all that have come."""
        while has_mail(self.socket):
            data = self.socket.recv()
            if data[:1] == SUBSCRIBED:
                self._prefixes.add(data[1:])
            elif data[:1] == UNSUBSCRIBED:
                self._prefixes.discard(data[1:])

    def has_readers(self, topic: bytes) -> bool:
        """Whether anybody may read it. What other machines subscribed to is not asked."""
        return self._doors.events.socket is not None or topic.startswith(tuple(self._prefixes))

    def publish(self, frames: list[bytes]) -> None:
        """Put a message on it."""
        self.socket.send_multipart(frames)
        if self._doors.events.socket is not None:
            self._doors.events.socket.send_multipart(frames)

    def close(self) -> None:
        """Let go of it."""
        self.socket.close()
