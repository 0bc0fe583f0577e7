"""What receivers of the acknowledged lane share: take deliveries in order, deal with them, acknowledge."""

from __future__ import annotations

from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Ack, Body, Delivery, LaneMessage

ACK_EVERY = 16


class LaneReader:
    """Subclasses deal with each message in `receive`. Deliveries are acknowledged when the mailbox is empty, or
    every sixteenth, so that one acknowledgement settles many."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.models: dict[str, str] = {}
        self._mailbox = mailbox
        self._received = 0
        self._acknowledged = 0

    def receive(self, message: LaneMessage) -> None:
        """Deal with one message."""
        raise NotImplementedError

    def welcome(self) -> None:
        """A broker that is new to us numbers its deliveries from 1."""
        self._received = self._acknowledged = 0

    def handle(self, body: Body) -> None:
        """Deal with a delivery, unless it came before."""
        if not isinstance(body, Delivery) or body.number <= self._received:
            return
        self.receive(body.message)
        self._received = body.number
        if self._received - self._acknowledged >= ACK_EVERY or not self._mailbox.waiting():
            self._acknowledge()

    def _acknowledge(self) -> None:
        if self._received > self._acknowledged:
            self._acknowledged = self._received
            self._mailbox.send_soon(Ack(number=self._received))

    def idle(self) -> None:
        """Acknowledge what is left."""
        self._acknowledge()

    def trouble(self) -> str | None:
        """None: what fails here fails a job or the process."""
        return None

    def finished(self) -> int | None:
        """Never by itself."""
        return None
