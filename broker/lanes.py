"""The acknowledged, credited lane to one receiver (fusion, a recorder): a pure state machine.

At most `credit` deliveries are under way at once; more wait in order. The receiver acknowledges cumulatively.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from broker.messages import Delivery, LaneMessage

CREDIT = 256


class Lane:
    """Deliveries to one incarnation of one receiver, numbered from 1."""

    def __init__(self, credit: int = CREDIT) -> None:
        self._credit = credit
        self._next = 1
        self._waiting: deque[LaneMessage] = deque()
        self._under_way: deque[Delivery] = deque()

    @property
    def backlog(self) -> int:
        """Messages that are not yet acknowledged, sent or not."""
        return len(self._waiting) + len(self._under_way)

    @property
    def full(self) -> bool:
        """Whether the receiver has all it may have at once."""
        return self.backlog >= self._credit

    def push(self, message: LaneMessage) -> None:
        """Put a message at the end of the lane."""
        self._waiting.append(message)

    def take(self) -> list[Delivery]:
        """The deliveries that may be sent now."""
        deliveries = []
        while self._waiting and len(self._under_way) < self._credit:
            delivery = Delivery(number=self._next, message=self._waiting.popleft())
            self._next += 1
            self._under_way.append(delivery)
            deliveries.append(delivery)
        return deliveries

    def acknowledge(self, number: int) -> list[LaneMessage]:
        """What the receiver has dealt with by acknowledging up to `number`, in order."""
        settled = []
        while self._under_way and self._under_way[0].number <= number:
            settled.append(self._under_way.popleft().message)
        return settled

    def discard(self, unwanted: Callable[[LaneMessage], bool]) -> int:
        """Drop the unwanted among the messages that are not sent yet; how many they were."""
        before = len(self._waiting)
        self._waiting = deque(message for message in self._waiting if not unwanted(message))
        return before - len(self._waiting)
