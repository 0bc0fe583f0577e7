"""Who may come in from other machines: ZeroMQ asks (ZAP, RFC 27), the folder of allowed keys answers.

The folder is read at every handshake, so a key that is allowed or removed counts at once for whoever connects next;
what is connected already is cut off by `BrokerProcess`, which opens its doors anew when a key was removed.
"""

from __future__ import annotations

from pathlib import Path

import zmq
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils import z85

from bimodal.broker.keys import ROOMS, Room, allowed


class Guard(ThreadAuthenticator):
    """Answers for every CURVE socket of a context, in a thread of its own. Start it before anything is bound.

    Attributes:
        let_in: the keys that ever came into each room.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], folder: Path) -> None:
        super().__init__(context)
        self._folder = folder
        self.let_in: dict[Room, set[str]] = {room: set() for room in ROOMS}
        for room in ROOMS:
            self.configure_curve_callback(domain=room, credentials_provider=_AllowList(folder, room, self.let_in[room]))

    def curve_user_id(self, client_public_key: bytes) -> str:
        """The name that the key is allowed under: messages carry it as "User-Id"."""
        public = z85.encode(client_public_key).decode("ascii")
        return next((names[public] for room in ROOMS if public in (names := allowed(self._folder, room))), "")

    def _send_zap_reply(
        self, request_id: bytes, status_code: bytes, status_text: bytes, user_id: str = "anonymous"
    ) -> None:
        """A refusal is "not now" (300): after "never" (400) clients would not try again once the key is allowed.

        They notice when the time for the handshake is over (HANDSHAKE_MS in broker/sockets.py).
        """
        super()._send_zap_reply(request_id, b"300" if status_code == b"400" else status_code, status_text, user_id)


class _AllowList:
    def __init__(self, folder: Path, room: Room, let_in: set[str]) -> None:
        self._folder, self._room, self._let_in = folder, room, let_in

    def callback(self, _domain: str, key: bytes) -> bool:
        """Whether the holder of this key may come into the room. Never raises: the guard must outlive any file."""
        try:
            public = key.decode("ascii")
            known = public in allowed(self._folder, self._room)
        except (OSError, ValueError):
            return False
        if known:
            self._let_in.add(public)
        return known
