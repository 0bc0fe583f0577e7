"""Workers on other machines: admission of their messages, liveness, and the sockets that they connect to.

The name of such a worker begins with the name under which its key is allowed, so that it can't pass for another, and
only the messages of a worker are admitted.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import zmq

from bimodal.broker.errors import EndpointError, KeysError, MessageError
from bimodal.broker.keys import OWN, Scope, allowed, own, own_names
from bimodal.broker.messages import (
    Body,
    Envelope,
    FaceResult,
    FileWanted,
    Gone,
    Heartbeat,
    Hello,
    JobFailed,
    Ready,
    SpeechResult,
)
from bimodal.broker.sockets import curve_socket, rebind_curve

if TYPE_CHECKING:
    from bimodal.broker.authenticator import Authenticator

log = logging.getLogger(__name__)

SILENT_NS = 5_000_000_000
MOST_NAME = 64
# Of a heartbeat: figures, models, and characters of a text.
MOST_FIGURES, MOST_WORDS = 32, 500


def admit(envelope: Envelope, user: str, now_ns: int) -> Envelope:
    """Check and rewrite a message from another machine, sent under the key of `user`.

    The other machine's clock can't be compared with ours, so all time not spent in the model counts as queueing.
    Raises MessageError for anything that is not a worker's message.
    """
    sender = envelope.sender
    if not user or not sender.isprintable() or not 0 < len(sender) <= MOST_NAME:
        raise MessageError("a worker on another machine with no proper name")
    name = f"{user}: {sender}"
    return msgspec.structs.replace(envelope, sender=name, body=_admitted(envelope, name, now_ns))


def _admitted(envelope: Envelope, name: str, now_ns: int) -> Body:
    body = envelope.body
    match body:
        case Hello(role="worker") if body.modality is not None:
            models = {_words(kind): _words(found) for kind, found in list(body.models.items())[:MOST_FIGURES]}
            product = _words(body.product)
            return msgspec.structs.replace(body, pid=0, product=product, models=models, settings={}, files=())
        case Ready():
            return body
        case FileWanted() if len(body.sha256) <= MOST_NAME:
            return body
        case JobFailed():
            return msgspec.structs.replace(body, because=_words(body.because))
        case FaceResult() | SpeechResult():
            queue_ns = max(0, now_ns - body.grab_ns - body.inference_ns)
            return msgspec.structs.replace(body, queue_ns=queue_ns)
        case Heartbeat():
            return msgspec.structs.replace(
                body,
                name=name,
                incarnation=envelope.incarnation,
                pid=0,
                because=_words(body.because) if body.because is not None else None,
                figures={_words(key): value for key, value in list(body.figures.items())[:MOST_FIGURES]},
                models={_words(kind): _words(name) for kind, name in list(body.models.items())[:MOST_FIGURES]},
                address=None,
            )
        case _:
            raise MessageError(f"{name} sent a {type(body).__name__}, which is not a worker's to send")


def _words(text: str) -> str:
    """Words of another machine as they may be shown: bounded, and without characters that steer a terminal."""
    short = text[:MOST_WORDS]
    if short.isprintable():
        return short
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in short)


@dataclass
class _Peer:
    address: bytes
    incarnation: int
    last_ns: int


class RemotePeers:
    """The connected remote workers. No supervisor reports the exit of one; 5 s of silence count as one."""

    def __init__(self) -> None:
        self._peers: dict[str, _Peer] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._peers

    def address(self, name: str) -> bytes:
        """The ROUTER address of a connected worker."""
        return self._peers[name].address

    def on_message(
        self, name: str, incarnation: int, address: bytes, now_ns: int, *, beats: bool = False
    ) -> list[Gone]:
        """Register the sender of a message; return Gone for an older connection or incarnation that it replaces.

        A worker at a new address has lost its old connection, with everything that was in transit on it.
        """
        peer = self._peers.get(name)
        if peer is not None and incarnation < peer.incarnation:
            return []
        if beats:
            # They come over a connection of their own, so that a worker beats while it works.
            if peer is not None:
                peer.last_ns = now_ns
            return []
        self._peers[name] = _Peer(address, incarnation, now_ns)
        moved = peer is not None and (peer.address, peer.incarnation) != (address, incarnation)
        return [Gone(name=name, incarnation=peer.incarnation)] if peer is not None and moved else []

    def expire(self, now_ns: int) -> list[Gone]:
        """Remove the workers that sent nothing for 5 s; return Gone for each."""
        names = [name for name, peer in self._peers.items() if now_ns - peer.last_ns > SILENT_NS]
        return [Gone(name=name, incarnation=self._peers.pop(name).incarnation) for name in names]

    def disconnect_all(self) -> list[Gone]:
        """Remove all workers, because their socket was closed; return Gone for each."""
        gone = [Gone(name=name, incarnation=peer.incarnation) for name, peer in self._peers.items()]
        self._peers.clear()
        return gone


# Sockets for other machines


class RemoteListener:
    """The listening socket of one scope, open to allowed keys only.

    It is a socket of its own, so that strangers can't affect the session's own sockets.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], kind: int, scope: Scope, folder: Path) -> None:
        self.socket: zmq.Socket[bytes] | None = None
        self._context, self._kind, self._scope, self._folder = context, kind, scope, folder
        self._wanted: tuple[str, ...] = ()
        self._bound: dict[str, str] = {}

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that it should listen at."""
        return self._wanted

    @property
    def down(self) -> bool:
        """True if it was closed because a key was removed, and could not be reopened yet."""
        return bool(self._wanted) and self.socket is None

    def serve(self, wanted: tuple[str, ...]) -> None:
        """Listen at exactly these addresses; raises EndpointError or KeysError, and changes nothing then."""
        if not wanted:
            self.close()
        elif self.socket is not None:
            self._bound = rebind_curve(self.socket, self._bound, wanted)
        else:
            socket = curve_socket(self._context, self._kind, own(self._folder), self._scope)
            try:
                self._bound = rebind_curve(socket, {}, wanted)
            except EndpointError:
                socket.close()
                raise
            self.socket = socket
        self._wanted = wanted

    def enforce_keys(self, admitted: set[str]) -> bool:
        """Close all connections if a key that was `admitted` is no longer allowed, and reopen for the others.

        Returns True if all connections were lost since the last call.
        """
        removed = admitted.difference(allowed(self._folder, self._scope)) if admitted else set()
        if removed:
            log.info("a key was removed: connections for %s are closed, allowed ones reconnect", self._scope)
            admitted -= removed
            self.close()
        if not self.down:
            return False
        # The old socket frees its port a moment after it is closed; and this machine's own key may be missing.
        with contextlib.suppress(EndpointError, KeysError):
            self.serve(self._wanted)
        return True

    def close(self) -> None:
        """Close the socket, if it is open."""
        if self.socket is not None:
            self.socket.close(linger=0)
            self.socket, self._bound = None, {}


class RemoteListeners:
    """The listeners for event readers and for workers, and their authenticator."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], folder: Path) -> None:
        """Open nothing yet. `folder` holds the keys."""
        self._context, self._folder = context, folder
        self._authenticator: Authenticator | None = None
        self.events = RemoteListener(context, zmq.XPUB, "events", folder)
        self.workers = RemoteListener(context, zmq.ROUTER, "workers", folder)

    def serve(self, *, events: Sequence[str], workers: Sequence[str]) -> None:
        """Listen at exactly these addresses; an empty list closes a listener.

        Raises KeysError if this machine has no key of its own, EndpointError if an address is in use.
        """
        wanted = [*events, *workers]
        if wanted and OWN not in own_names(self._folder):
            raise KeysError(
                f"{wanted[0]} is reachable from other machines, and that needs keys: run 'bimodal keys create', "
                "then 'bimodal keys allow' for each machine that may connect (docs/security.md)"
            )
        if wanted and self._authenticator is None:
            # Imports asyncio, which a broker without remote listeners does not need.
            from bimodal.broker.authenticator import Authenticator

            own(self._folder)
            self._authenticator = Authenticator(self._context, self._folder)
            self._authenticator.start()
        before = self.events.addresses
        self.events.serve(tuple(events))
        try:
            self.workers.serve(tuple(workers))
        except EndpointError:
            self.events.serve(before)
            raise

    def enforce_keys(self) -> bool:
        """Cut off the holders of removed keys; to be called once a second.

        Returns True if all remote workers lost their connection since the last call.
        """
        if self._authenticator is None:
            return False
        self.events.enforce_keys(self._authenticator.admitted["events"])
        return self.workers.enforce_keys(self._authenticator.admitted["workers"])

    def close(self) -> None:
        """Close both listeners and stop the authenticator."""
        self.events.close()
        self.workers.close()
        if self._authenticator is not None:
            self._authenticator.stop()
            self._authenticator = None
