"""The sockets for other machines: a second event bus and a second mailbox, open to allowed keys only.

They are sockets of their own, so that nothing that a stranger does reaches the ones of the session.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import zmq

from bimodal.broker.errors import EndpointError, KeysError
from bimodal.broker.keys import OWN, Room, allowed, own, own_names
from bimodal.broker.sockets import guarded, move_guarded

if TYPE_CHECKING:
    from bimodal.broker.guard import Guard

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
            from bimodal.broker.guard import Guard

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
