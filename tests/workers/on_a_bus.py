"""An output on an event bus that a test publishes on, all in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import zmq

from bimodal.broker.events import Message
from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Hello, seal
from bimodal.broker.sockets import bind, events_endpoint, make_private
from bimodal.broker.topics import topic_of
from bimodal.workers.actor import ActorSettings
from bimodal.workers.observer import Observer

PATIENCE_S = 60.0


class OnABus:
    """An actor and its bus.

    Attributes:
        actor: the output.
    """

    def __init__(self, kind: type[Observer], folder: Path, own: msgspec.Struct, session: str = "default") -> None:
        directory = folder / session
        make_private(directory)
        settings = ActorSettings(
            name="output", incarnation=1, role="observer", directory=str(directory), slots=str(folder),
            own=msgspec.to_builtins(own),
        )  # fmt: skip
        self._mailbox = Mailbox(directory, "output", 1, Hello(role="observer"))
        self.actor = kind(settings, self._mailbox)
        self.actor.read_s = 0.1
        self._context = zmq.Context[zmq.Socket[bytes]]()
        self._bus = bind(self._context, zmq.PUB, events_endpoint(directory))

    def say(self, *found: Message) -> None:
        """Publish messages of streams."""
        for message in found:
            topic = topic_of(message, message.stream)  # type: ignore[attr-defined]
            self._bus.send_multipart([topic, seal(message, epoch=1, sender="fusion", incarnation=1)])  # type: ignore[arg-type]

    def until(self, done: Callable[[], object], *repeated: Message) -> None:
        """Run the actor's loop until something is so; `repeated` is published in each turn, since nobody knows when
        a subscription is there."""
        end = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < end, f"waited in vain; {self.actor.degraded_reason()}"
            self.say(*repeated)
            self.actor.on_idle()
            time.sleep(0.002)

    def close(self) -> None:
        """End all of it."""
        self.actor.close()
        self._mailbox.close()
        self._bus.close(linger=0)
        self._context.term()
