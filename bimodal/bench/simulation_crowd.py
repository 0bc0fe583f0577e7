"""Many simulated processes in one: each with its own line to the broker, all in one loop with one clock."""

from __future__ import annotations

import heapq
import itertools
import select
import selectors
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import zmq

from bimodal.broker.mailbox import HELLO_EVERY_S
from bimodal.broker.messages import Body, Heartbeat, Hello, Role, Welcome, decode, seal
from bimodal.broker.router import SUPERVISOR
from bimodal.broker.sockets import connect, events_endpoint, mailbox_endpoint

LONGEST_WAIT_S = 0.05


class Line:
    """One simulated process's own connection to the broker: what broker.mailbox.Mailbox is to a real one.

    Attributes:
        name: of the process.
        epoch: of the broker; 0 before the first Welcome.
        hello: what it says of itself, if it does.
    """

    def __init__(self, name: str, socket: zmq.Socket[bytes], hello: Hello | None = None) -> None:
        self.name = name
        self.epoch = 0
        self.hello = hello
        self.socket = socket
        self.touched: Callable[[Line], None] = lambda _line: None

    def send(self, body: Body) -> None:
        """Put a message on its way."""
        self.socket.send(seal(body, epoch=self.epoch, sender=self.name, incarnation=1))
        # Sending may also take note of what arrived, and then the descriptor does not tell of it any more.
        self.touched(self)

    def waiting(self) -> bool:
        """Whether a message lies ready."""
        return bool(self._option(zmq.EVENTS) & zmq.POLLIN)

    @property
    def descriptor(self) -> int:
        """Readable when something has happened on the line since it was last looked at."""
        return self._option(zmq.FD)

    def _option(self, option: int) -> int:
        value = self.socket.getsockopt(option)
        assert isinstance(value, int)
        return value

    def receive(self) -> Body | None:
        """The message that lies ready; None for a Welcome of the broker that is known already."""
        envelope = decode(self.socket.recv())
        if isinstance(envelope.body, Welcome):
            if envelope.epoch == self.epoch:
                return None
            self.epoch = envelope.epoch
        return envelope.body


class _Ear(Line):
    """A line to the event bus, on which nothing is understood."""

    def receive(self) -> Body | None:
        """Take it, and let it go."""
        self.socket.recv_multipart()
        return None


class Simulated(Protocol):
    """One simulated process."""

    line: Line

    def handle(self, body: Body) -> None:
        """One message of the broker; the first is the Welcome."""


class Crowd:
    """The loop: lines, timers, and what every process does beside its work: Hello and heartbeat twice a second.

    Attributes:
        context: of all their sockets.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._touched: dict[Line, None] = {}
        self._actors: dict[Line, Simulated] = {}
        self._supervisor = self.line(SUPERVISOR, "supervisor")

    def line(self, name: str, role: Role) -> Line:
        """A line for a process of that name."""
        hello = Hello(role=role, modality="face" if role == "worker" else None)
        return Line(name, connect(self.context, zmq.DEALER, mailbox_endpoint(self._directory)), hello)

    def join(self, actor: Simulated) -> None:
        """Take a process into the loop; one that has a Hello says it at once, and again and again."""
        line = actor.line
        self._actors[line] = actor
        line.touched = lambda touched: self._touched.setdefault(touched)
        self._selector.register(line.descriptor, selectors.EVENT_READ, line)
        if line.hello is not None:
            self._keep(line, line.hello)

    def leave(self, actor: Simulated) -> None:
        """Take a process without a Hello out of the loop again."""
        line = actor.line
        self._selector.unregister(line.descriptor)
        del self._actors[line]
        self._touched.pop(line, None)
        line.socket.close(linger=0)

    def join_supervisor(self) -> None:
        """Say Hello in its name too, and its processes' heartbeats, which it puts on the bus. One in all crowds."""
        self.join(_Silent(self._supervisor))

    def join_listener(self) -> None:
        """Have someone listen to the whole event bus, as a live page does."""
        ear = _Ear("listener", connect(self.context, zmq.SUB, events_endpoint(self._directory)))
        ear.socket.setsockopt(zmq.SUBSCRIBE, b"")
        self.join(_Silent(ear))

    def _keep(self, line: Line, hello: Hello) -> None:
        """What a process says twice a second, whatever it does."""
        line.send(hello)
        if self._supervisor.epoch:
            beat = Heartbeat(name=line.name, incarnation=1, state="ready", pid=1, figures={"cpu_percent": 50.0})
            self._supervisor.send(beat)
        self.at(time.monotonic_ns() + round(HELLO_EVERY_S * 1e9), lambda: self._keep(line, hello))

    def at(self, due_ns: int, action: Callable[[], None]) -> None:
        """Do something at a time of the monotonic clock."""
        heapq.heappush(self._timers, (due_ns, next(self._order), action))

    @property
    def welcomed(self) -> bool:
        """Whether the broker knows all of them."""
        return all(line.epoch for line in self._actors if line.hello is not None)

    def serve(self, until: Callable[[], bool]) -> None:
        """Let all of them work until `until` says that it is enough."""
        while not until():
            self._ring()
            while self._touched:
                line, _ = self._touched.popitem()
                self._read(line)
            for line in self._wait():
                self._read(line)

    def _ring(self) -> None:
        """Do what is due."""
        while self._timers and self._timers[0][0] <= time.monotonic_ns():
            heapq.heappop(self._timers)[2]()

    def _wait(self) -> list[Line]:
        """The lines that something happened on, until the next timer at the latest."""
        if self._touched:
            return []
        due_ns = self._timers[0][0] if self._timers else 0
        left_s = min(LONGEST_WAIT_S, max(0.0, (due_ns - time.monotonic_ns()) / 1e9))
        # The selector itself waits for whole milliseconds only.
        select.select([self._selector], [], [], left_s)
        return [key.data for key, _ in self._selector.select(0)]

    def _read(self, line: Line) -> None:
        actor = self._actors[line]
        while line.waiting():
            body = line.receive()
            if body is not None:
                actor.handle(body)

    def close(self) -> None:
        """Let go of all lines."""
        for line in {*self._actors, self._supervisor}:
            line.socket.close(linger=0)
        self.context.term()


class _Silent:
    """A process that only is there."""

    def __init__(self, line: Line) -> None:
        self.line = line

    def handle(self, body: Body) -> None:
        """Nothing concerns it."""
