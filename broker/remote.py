"""Workers on other machines: what they may say, under which name they are known, and when they are gone. Pure.

The name of such a worker begins with the name that its key is allowed under, so it can't pass for anybody else, and
all it can say is what a worker says.
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
from bimodal.broker.keys import OWN, Room, allowed, own, own_names
from bimodal.broker.messages import Body, Envelope, FaceResult, Gone, Heartbeat, Hello, JobFailed, Ready, SpeechResult
from bimodal.broker.sockets import guarded, move_guarded

if TYPE_CHECKING:
    from bimodal.broker.authenticator import Guard
SILENT_NS = 5_000_000_000
MOST_NAME = 64


def admit(envelope: Envelope, user: str, now_ns: int) -> Envelope:
    """A message from the other machine as the broker takes it.

    The other machine's clock means nothing here: what its answer did not spend in the model, it spent on the way.
    Raises MessageError for anything that a worker has no business to say.
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
            return msgspec.structs.replace(body, pid=0)
        case Ready() | JobFailed():
            return body
        case FaceResult() | SpeechResult():
            queue_ns = max(0, now_ns - body.grab_ns - body.inference_ns)
            return msgspec.structs.replace(body, queue_ns=queue_ns)
        case Heartbeat():
            return msgspec.structs.replace(body, name=name, incarnation=envelope.incarnation, pid=0)
        case _:
            raise MessageError(f"{name} sent a {type(body).__name__}, which is not a worker's to send")


@dataclass
class _Peer:
    address: bytes
    incarnation: int
    heard_ns: int


class RemotePeers:
    """Who is connected: nobody's supervisor tells when one of them ends, so silence does."""

    def __init__(self) -> None:
        self._peers: dict[str, _Peer] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._peers

    def address(self, name: str) -> bytes:
        """Where it is to be reached."""
        return self._peers[name].address

    def heard(self, name: str, incarnation: int, address: bytes, now_ns: int) -> list[Gone]:
        """A message came. A worker that comes from a new address lost its old connection, and what was under way on it:
        it is gone before it is back."""
        peer = self._peers.get(name)
        if peer is not None and incarnation < peer.incarnation:
            return []
        self._peers[name] = _Peer(address, incarnation, now_ns)
        moved = peer is not None and (peer.address, peer.incarnation) != (address, incarnation)
        return [Gone(name=name, incarnation=peer.incarnation)] if peer is not None and moved else []

    def silent(self, now_ns: int) -> list[Gone]:
        """Those who said nothing for five seconds: they are gone."""
        names = [name for name, peer in self._peers.items() if now_ns - peer.heard_ns > SILENT_NS]
        return [Gone(name=name, incarnation=self._peers.pop(name).incarnation) for name in names]

    def all_gone(self) -> list[Gone]:
        """Every connection was closed."""
        gone = [Gone(name=name, incarnation=peer.incarnation) for name, peer in self._peers.items()]
        self._peers.clear()
        return gone


# The sockets for other machines: a second event bus and a second mailbox, open to allowed keys only.
#
# They are sockets of their own, so that nothing that a stranger does reaches the ones of the session.


log = logging.getLogger(__name__)


class Door:
    """The socket of one room."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], kind: int, room: Room, folder: Path) -> None:
        self.socket: zmq.Socket[bytes] | None = None
        self._context, self._kind, self._room, self._folder = context, kind, room, folder
        self._wanted: tuple[str, ...] = ()
        self._bound: dict[str, str] = {}

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it is to be reached."""
        return self._wanted

    @property
    def shut(self) -> bool:
        """Whether it should be open and is not: its holders were cut off and it could not be opened again yet."""
        return bool(self._wanted) and self.socket is None

    def serve(self, wanted: tuple[str, ...]) -> None:
        """Be reachable at these addresses; raises EndpointError or KeysError, and then all is as it was."""
        if not wanted:
            self.close()
        elif self.socket is not None:
            self._bound = move_guarded(self.socket, self._bound, wanted)
        else:
            socket = guarded(self._context, self._kind, own(self._folder), self._room)
            try:
                self._bound = move_guarded(socket, {}, wanted)
            except EndpointError:
                socket.close()
                raise
            self.socket = socket
        self._wanted = wanted

    def tend(self, let_in: set[str]) -> bool:
        """Cut everyone off where a key that was `let_in` is no longer allowed, and open again for those that are.

        Says whether everyone lost the connection since the last call.
        """
        removed = let_in.difference(allowed(self._folder, self._room)) if let_in else set()
        if removed:
            log.info("a key was removed: connections to the %s are closed, allowed ones come back", self._room)
            let_in -= removed
            self.close()
        if not self.shut:
            return False
        # The old socket lets go of its port a moment after it is closed; a key that is gone is missed once a second.
        with contextlib.suppress(EndpointError, KeysError):
            self.serve(self._wanted)
        return True

    def close(self) -> None:
        """Close the socket, if it is open."""
        if self.socket is not None:
            self.socket.close(linger=0)
            self.socket, self._bound = None, {}


class Doors:
    """Both doors and their guard."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], folder: Path) -> None:
        """Nothing is open yet. `folder` holds the keys."""
        self._context, self._folder = context, folder
        self._guard: Guard | None = None
        self.events = Door(context, zmq.PUB, "events", folder)
        self.workers = Door(context, zmq.ROUTER, "workers", folder)

    def serve(self, *, events: Sequence[str], workers: Sequence[str]) -> None:
        """Open both at these addresses; an empty list closes.

        Raises KeysError where this machine has no key of its own, EndpointError where an address is in use.
        """
        wanted = [*events, *workers]
        if wanted and OWN not in own_names(self._folder):
            raise KeysError(
                f"{wanted[0]} is reachable from other machines, and that needs keys: run 'bimodal keys create', "
                "then 'bimodal keys allow' for each machine that may connect (docs/security.md)"
            )
        if wanted and self._guard is None:
            # It brings asyncio, a third of what a broker without doors loads.
            from bimodal.broker.authenticator import Guard

            own(self._folder)
            self._guard = Guard(self._context, self._folder)
            self._guard.start()
        before = self.events.addresses
        self.events.serve(tuple(events))
        try:
            self.workers.serve(tuple(workers))
        except EndpointError:
            self.events.serve(before)
            raise

    def tend(self) -> bool:
        """To be called once a second: cut off the holders of removed keys.

        Says whether all workers on other machines lost the connection since the last call.
        """
        if self._guard is None:
            return False
        self.events.tend(self._guard.let_in["events"])
        return self.workers.tend(self._guard.let_in["workers"])

    def close(self) -> None:
        """Let go of everything."""
        self.events.close()
        self.workers.close()
        if self._guard is not None:
            self._guard.stop()
            self._guard = None
