"""The supervisor's sockets: heartbeats of all processes, and its mailbox at the broker."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TypeAlias

import zmq

from bimodal.broker.beats import SUPERVISOR_GATHERS_S, gather
from bimodal.broker.errors import MessageError
from bimodal.broker.mailbox import Mailbox, Watched
from bimodal.broker.messages import (
    Dismissed,
    Gone,
    Heartbeat,
    Hello,
    OffDuty,
    Reconfigure,
    Reconfigured,
    Shadow,
    Shadowed,
    Status,
    StreamWithdrawn,
    Welcome,
    decode,
)
from bimodal.broker.readers import Connections
from bimodal.broker.sockets import SocketFile, bind, readable, supervisor_endpoint

NAME = "supervisor"
# Bounded, so that a flood of heartbeats can't keep the supervisor from its children.
MOST_BEATS_PER_TURN = 1024

Order: TypeAlias = Gone | Heartbeat | OffDuty | Reconfigure | Shadow | StreamWithdrawn
Report: TypeAlias = Heartbeat | Welcome | Reconfigured | Status | Dismissed | Shadowed


class SupervisorChannel:
    """The socket for heartbeats and the mailbox at the broker. For the supervisor's main thread only."""

    def __init__(self, directory: Path) -> None:
        """Bind the session's address for heartbeats; raises EndpointError if that fails."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._heartbeats = bind(self._context, zmq.PULL, supervisor_endpoint(directory))
        self._file = SocketFile(self._heartbeats, supervisor_endpoint(directory))
        self._connections = Connections(self._heartbeats, "the supervisor")
        self._mailbox = Mailbox(directory, NAME, 1, Hello(role="supervisor", pid=os.getpid()))
        for one in (self._heartbeats, self._connections.descriptor):
            self._mailbox.watch(one)

    def watch(self, what: Watched, *, drain: bool = False) -> None:
        """Let `receive` return early when this is readable, too. `drain`: read a descriptor's bytes then."""
        self._mailbox.watch(what, drain=drain)

    def unwatch(self, what: Watched) -> None:
        """Watch it no longer."""
        self._mailbox.unwatch(what)

    def receive(self, timeout_s: float, *, gathers: bool = True) -> list[Report]:
        """Receive all reports, waiting up to `timeout_s` for the first, and (`gathers`) for what comes with its beat.

        These are heartbeats of all processes, answers and counters of the broker, and a Welcome from a new broker,
        which knows nothing of earlier orders. Returns early without any once something watched is readable.
        """
        self._file.restore(time.monotonic())
        found = self._read(0.0)
        if not found and timeout_s > 0:
            found = self._read(timeout_s)
            if gathers and gather(SUPERVISOR_GATHERS_S):
                found += self._read(0.0)
        self._connections.update()
        self._connections.ended.clear()
        return found

    def _read(self, timeout_s: float) -> list[Report]:
        found: list[Report] = []
        body = self._mailbox.receive(timeout_s)
        while body is not None:
            if isinstance(body, Welcome | Reconfigured | Status | Dismissed | Shadowed):
                found.append(body)
            body = self._mailbox.receive(0.0) if self._mailbox.waiting() else None
        for _ in range(MOST_BEATS_PER_TURN):
            if not readable(self._heartbeats):
                break
            try:
                beat = decode(self._heartbeats.recv()).body
            except MessageError:
                continue
            if isinstance(beat, Heartbeat):
                found.append(beat)
        return found

    def send_soon(self, message: Order) -> None:
        """Send an order with the next `send` or `flush`; it is discarded like there."""
        if self._mailbox.epoch:
            self._mailbox.send_soon(message)

    def flush(self) -> None:
        """Send what `send_soon` has queued."""
        self._mailbox.flush()

    def send(self, message: Order) -> None:
        """Send an order to the broker. It is discarded if the broker has not answered yet."""
        if self._mailbox.epoch:
            self._mailbox.send(message)

    def close(self) -> None:
        """Close both sockets."""
        self._connections.close()
        self._heartbeats.close()
        self._mailbox.close()
        self._context.term()
