"""The supervisor's sockets: where heartbeats arrive, and its line to the broker."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TypeAlias

import zmq

from bimodal.broker.errors import MessageError
from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import (
    Gone,
    Heartbeat,
    Hello,
    OffDuty,
    Reconfigure,
    Reconfigured,
    Status,
    StreamWithdrawn,
    Welcome,
    decode,
)
from bimodal.broker.sockets import bind, supervisor_endpoint

NAME = "supervisor"
# Whoever floods this address must not keep the supervisor from its children.
MOST_PER_TURN = 1024

Order: TypeAlias = Gone | Heartbeat | OffDuty | Reconfigure | StreamWithdrawn
Report: TypeAlias = Heartbeat | Welcome | Reconfigured | Status


class SupervisorLine:
    """Owns both sockets. For the supervisor's main thread only."""

    def __init__(self, directory: Path) -> None:
        """Bind the heartbeats' address of the session; raises EndpointError where that fails."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._heartbeats = bind(self._context, zmq.PULL, supervisor_endpoint(directory))
        self._mailbox = Mailbox(directory, NAME, 1, Hello(role="supervisor", pid=os.getpid()))

    def receive(self, timeout_s: float) -> list[Report]:
        """What came, waiting up to `timeout_s` for the first heartbeat: heartbeats of all processes; a Welcome from a
        broker that is new and knows nothing of what it was told before; answers and counters of the broker."""
        found: list[Report] = []
        while (body := self._mailbox.receive(0.0)) is not None:
            if isinstance(body, Welcome | Reconfigured | Status):
                found.append(body)
        deadline = time.monotonic() + timeout_s
        for _ in range(MOST_PER_TURN):
            if not self._heartbeats.poll(0 if found else int(max(0.0, deadline - time.monotonic()) * 1000)):
                break
            try:
                body = decode(self._heartbeats.recv()).body
            except MessageError:
                continue
            if isinstance(body, Heartbeat):
                found.append(body)
        return found

    def send(self, message: Order) -> None:
        """Tell the broker; nothing is said while it has not answered yet."""
        if self._mailbox.epoch:
            self._mailbox.send(message)

    def close(self) -> None:
        """Let go of both."""
        self._heartbeats.close()
        self._mailbox.close()
        self._context.term()
