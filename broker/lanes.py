"""The acknowledged, credited lanes to fusion and recorders: pure state machines.

At most `credit` deliveries of a lane are under way at once; more wait in order. The receiver acknowledges
cumulatively. While a recorder is behind, fusion gets nothing more to do. Messages that nobody waits for are pushed for
`later`: they go when something urgent does, or a bundle of them is full, so that one wake-up deals with many.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from bimodal.broker.messages import Delivery, LaneMessage, Role

CREDIT = 256
BUNDLE = 8
# A receiver that lets this many wait has lost the live streams in them: they are announced again.
MOST_BACKLOG = 4096


class Lane:
    """Deliveries to one incarnation of one receiver, numbered from 1."""

    def __init__(self, credit: int = CREDIT) -> None:
        self._credit = credit
        self._next = 1
        self._waiting: deque[LaneMessage] = deque()
        self._under_way: deque[Delivery] = deque()
        self._urgent = False

    @property
    def due(self) -> bool:
        """Whether something is to be sent now, if there is credit."""
        return self._urgent or len(self._waiting) >= BUNDLE

    @property
    def backlog(self) -> int:
        """Messages that are not yet acknowledged, sent or not."""
        return len(self._waiting) + len(self._under_way)

    @property
    def full(self) -> bool:
        """Whether the receiver has all it may have at once."""
        return self.backlog >= self._credit

    def push(self, message: LaneMessage, *, later: bool = False) -> None:
        """Put a message at the end of the lane; one for `later` may wait for others."""
        self._waiting.append(message)
        self._urgent = self._urgent or not later

    def take(self) -> list[Delivery]:
        """The deliveries that may be sent now."""
        deliveries = []
        while self._waiting and len(self._under_way) < self._credit:
            delivery = Delivery(number=self._next, message=self._waiting.popleft())
            self._next += 1
            self._under_way.append(delivery)
            deliveries.append(delivery)
        self._urgent = self._urgent and bool(self._waiting)
        return deliveries

    def acknowledge(self, number: int) -> list[LaneMessage]:
        """What the receiver has dealt with by acknowledging up to `number`, in order."""
        settled = []
        while self._under_way and self._under_way[0].number <= number:
            settled.append(self._under_way.popleft().message)
        return settled

    def discard(self, unwanted: Callable[[LaneMessage], bool]) -> list[LaneMessage]:
        """Drop the unwanted among the messages that are not sent yet; which they were, in order."""
        dropped = [message for message in self._waiting if unwanted(message)]
        self._waiting = deque(message for message in self._waiting if not unwanted(message))
        return dropped


class Lanes:
    """The lanes of all receivers, by name."""

    def __init__(self) -> None:
        self._lanes: dict[Role, dict[str, Lane]] = {"fusion": {}, "recorder": {}}

    def open(self, name: str, role: Role) -> Lane:
        """A fresh lane for a receiver that is new."""
        self._lanes[role][name] = lane = Lane()
        return lane

    def close(self, name: str) -> None:
        """The receiver is gone, and with it what it had not acknowledged."""
        for lanes in self._lanes.values():
            lanes.pop(name, None)

    def of(self, role: Role) -> dict[str, Lane]:
        """The lanes of one role's receivers."""
        return self._lanes[role]

    def tell(self, role: Role, message: LaneMessage, *, later: bool = False) -> list[Lane]:
        """Put a message on the lanes of a role; returns those that are too far behind."""
        lanes = self.of(role).values()
        for lane in lanes:
            lane.push(message, later=later)
        return [lane for lane in lanes if lane.backlog > MOST_BACKLOG]

    def acknowledge(self, name: str, number: int) -> list[LaneMessage]:
        """What a receiver has dealt with; nothing for one that has no lane."""
        lane = next((lanes[name] for lanes in self._lanes.values() if name in lanes), None)
        return lane.acknowledge(number) if lane is not None else []

    def take(self, *, everything: bool = False) -> list[tuple[str, Delivery]]:
        """What is due, or `everything` that may be sent now, and to whom."""
        recorders = self.of("recorder")
        found = _taken(recorders, everything)
        if any(lane.full for lane in recorders.values()):
            return found
        return found + _taken(self.of("fusion"), everything)


def _taken(lanes: Mapping[str, Lane], everything: bool) -> list[tuple[str, Delivery]]:
    return [(name, delivery) for name, lane in lanes.items() if everything or lane.due for delivery in lane.take()]
