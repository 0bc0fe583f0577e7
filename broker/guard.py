"""Who may come in from other machines: ZeroMQ asks (ZAP, RFC 27), the folder of allowed keys answers.

The folder is read at every handshake, so a key that is allowed or removed counts at once for whoever connects next;
what is connected already is cut off by `BrokerProcess`, which opens its doors anew when a key was removed.
"""

from __future__ import annotations

from pathlib import Path

import zmq
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils import z85

from broker.keys import ROOMS, Room, allowed


class Guard(ThreadAuthenticator):
    """Answers for every CURVE socket of a context, in a thread of its own. Start it before anything is bound."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], folder: Path) -> None:
        super().__init__(context)
        self._folder = folder
        for room in ROOMS:
            self.configure_curve_callback(domain=room, credentials_provider=_AllowList(folder, room))

    def curve_user_id(self, client_public_key: bytes) -> str:
        """The name that the key is allowed under: messages carry it as "User-Id"."""
        public = z85.encode(client_public_key).decode("ascii")
        return next((names[public] for room in ROOMS if public in (names := allowed(self._folder, room))), "")


class _AllowList:
    def __init__(self, folder: Path, room: Room) -> None:
        self._folder = folder
        self._room = room

    def callback(self, _domain: str, key: bytes) -> bool:
        """Whether the holder of this key may come into the room. Never raises: the guard must outlive any file."""
        try:
            return key.decode("ascii") in allowed(self._folder, self._room)
        except (OSError, ValueError):
            return False
