"""Authentication of clients on other machines: a ZAP handler (ZeroMQ RFC 27) that reads the folder of allowed keys.

The folder is read at every handshake, so that a key that is allowed or removed counts at once for new connections;
existing ones are cut by `BrokerProcess`, which reopens its remote listeners when a key was removed.
"""

from __future__ import annotations

from pathlib import Path

import zmq
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils import z85

from bimodal.broker.keys import SCOPES, Scope, allowed


class Authenticator(ThreadAuthenticator):
    """ZAP handler for all CURVE sockets of a context, in a thread of its own. Start it before anything is bound.

    Attributes:
        admitted: the public keys that were ever admitted, by scope.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], folder: Path) -> None:
        super().__init__(context)
        self._folder = folder
        self.admitted: dict[Scope, set[str]] = {scope: set() for scope in SCOPES}
        for scope in SCOPES:
            self.configure_curve_callback(
                domain=scope, credentials_provider=_AllowList(folder, scope, self.admitted[scope])
            )

    def curve_user_id(self, client_public_key: bytes) -> str:
        """The name under which the key is allowed; messages carry it as "User-Id"."""
        public = z85.encode(client_public_key).decode("ascii")
        return next((names[public] for scope in SCOPES if public in (names := allowed(self._folder, scope))), "")

    def _send_zap_reply(
        self, request_id: bytes, status_code: bytes, status_text: bytes, user_id: str = "anonymous"
    ) -> None:
        """Refuse with the temporary status 300: after 400, clients would not try again once their key is allowed.

        They notice the refusal when the handshake times out (HANDSHAKE_MS in broker/sockets.py).
        """
        super()._send_zap_reply(request_id, b"300" if status_code == b"400" else status_code, status_text, user_id)


class _AllowList:
    def __init__(self, folder: Path, scope: Scope, admitted: set[str]) -> None:
        self._folder, self._scope, self._admitted = folder, scope, admitted

    def callback(self, _domain: str, key: bytes) -> bool:
        """True if this key is allowed in the scope. Never raises, so that no broken file ends the handler's thread."""
        try:
            public = key.decode("ascii")
            known = public in allowed(self._folder, self._scope)
        except (OSError, ValueError):
            return False
        if known:
            self._admitted.add(public)
        return known
