"""The acknowledged, credited lanes to fusion and recorders: pure state machines.

At most `credit` deliveries of a lane are unacknowledged at once; more wait in order. The receiver acknowledges
cumulatively. While a recorder is behind, fusion gets no further deliveries. Messages that are not urgent are pushed
with `later`: they are sent together with an urgent one or once a bundle is full, so that the receiver is woken less
often.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

import msgspec

from bimodal.broker.dispatch import Dispatch
from bimodal.broker.messages import Delivery, Dropped, Job, LaneMessage, Role, StreamClosed
from bimodal.broker.streams import MODALITIES, OpenStream

CREDIT = 256
BUNDLE = 8
# Beyond this backlog, messages of live streams are discarded and the streams announced again.
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
        """True if messages are to be sent now, given credit."""
        return self._urgent or len(self._waiting) >= BUNDLE

    @property
    def backlog(self) -> int:
        """The number of messages that are not yet acknowledged, sent or not."""
        return len(self._waiting) + len(self._under_way)

    @property
    def holds(self) -> bool:
        """True if a message waits that could be sent."""
        return bool(self._waiting) and len(self._under_way) < self._credit

    @property
    def full(self) -> bool:
        """True if the receiver has used up its credit."""
        return self.backlog >= self._credit

    def push(self, message: LaneMessage, *, later: bool = False) -> None:
        """Append a message; one for `later` may wait for others."""
        self._waiting.append(message)
        self._urgent = self._urgent or not later

    def take(self) -> list[Delivery]:
        """Take the deliveries that may be sent now."""
        deliveries = []
        while self._waiting and len(self._under_way) < self._credit:
            delivery = Delivery(number=self._next, message=self._waiting.popleft())
            self._next += 1
            self._under_way.append(delivery)
            deliveries.append(delivery)
        self._urgent = self._urgent and bool(self._waiting)
        return deliveries

    def acknowledge(self, number: int) -> list[LaneMessage]:
        """Remove and return the messages of all deliveries up to `number`, in order."""
        settled = []
        while self._under_way and self._under_way[0].number <= number:
            settled.append(self._under_way.popleft().message)
        return settled

    def discard(self, unwanted: Callable[[LaneMessage], bool]) -> list[LaneMessage]:
        """Remove and return, in order, the unwanted among the messages that are not sent yet."""
        dropped = [message for message in self._waiting if unwanted(message)]
        self._waiting = deque(message for message in self._waiting if not unwanted(message))
        return dropped


class Lanes:
    """The lanes of all receivers by name, and resynchronisation of a receiver that joined late or fell behind."""

    def __init__(self, dispatch: Dispatch, streams: Mapping[str, OpenStream]) -> None:
        self._dispatch = dispatch
        self._streams = streams
        self._lanes: dict[Role, dict[str, Lane]] = {"fusion": {}, "recorder": {}}

    def open(self, name: str, role: Role) -> Lane:
        """Open an empty lane for a new receiver."""
        self._lanes[role][name] = lane = Lane()
        return lane

    def close(self, name: str) -> None:
        """Close the lane of a receiver that is gone, with everything it had not acknowledged."""
        for lanes in self._lanes.values():
            lanes.pop(name, None)

    def of(self, role: Role) -> dict[str, Lane]:
        """The lanes of one role's receivers, by name."""
        return self._lanes[role]

    def send(self, role: Role, message: LaneMessage, *, later: bool = False) -> None:
        """Put a message on all lanes of a role; lanes that are too far behind shed their live streams."""
        for lane in self.of(role).values():
            lane.push(message, later=later)
            if lane.backlog > MOST_BACKLOG:
                self._shed(lane)

    def send_missing(self, job: Job) -> None:
        """Report jobs before this one that were offered while no broker ran as dropped: fusion must not wait."""
        due = self._dispatch.counts(job.stream, job.modality).next_seq
        for seq in range(max(due, job.seq - MOST_BACKLOG), job.seq):
            missing = Dropped(
                stream=job.stream, run=job.run, modality=job.modality, seq=seq, because="no broker was there"
            )
            self.send("fusion", missing)

    def resume(self, stream: OpenStream, lane: Lane) -> None:
        """Announce a live stream from its oldest open job on; report later jobs that are settled to fusion."""
        name, run = stream.opened.stream, stream.opened.run
        oldest = {modality: self._dispatch.oldest_open(name, modality) for modality in MODALITIES}
        lane.push(
            msgspec.structs.replace(stream.opened, next_face_seq=oldest["face"], next_speech_seq=oldest["speech"])
        )
        if lane not in self.of("fusion").values():
            return
        for modality in MODALITIES:
            for seq in self._dispatch.settled_early(name, modality):
                because = "it was settled before fusion was there"
                lane.push(Dropped(stream=name, run=run, modality=modality, seq=seq, because=because))
        for end in stream.ended.values():
            lane.push(end)

    def _shed(self, lane: Lane) -> None:
        """Discard the waiting messages of live streams and announce these again from the present on."""
        live = {name: stream for name, stream in self._streams.items() if not stream.every}
        dropped = lane.discard(lambda message: message.stream in live)
        if not dropped:
            return
        for stream in live.values():
            self.resume(stream, lane)
        # StreamClosed is sent only once, so it must survive.
        for message in dropped:
            if isinstance(message, StreamClosed):
                lane.push(message)

    @property
    def hold(self) -> bool:
        """True while a message waits on a lane that could be sent."""
        return any(lane.holds for lanes in self._lanes.values() for lane in lanes.values())

    def acknowledge(self, name: str, number: int) -> list[LaneMessage]:
        """Remove and return what a receiver has dealt with; nothing if it has no lane."""
        lane = next((lanes[name] for lanes in self._lanes.values() if name in lanes), None)
        return lane.acknowledge(number) if lane is not None else []

    def take(self, *, everything: bool = False) -> list[tuple[str, Delivery]]:
        """Take the deliveries that are due, or `everything` that may be sent now, each with its receiver's name."""
        recorders = self.of("recorder")
        found = _taken(recorders, everything)
        if any(lane.full for lane in recorders.values()):
            return found
        return found + _taken(self.of("fusion"), everything)


def _taken(lanes: Mapping[str, Lane], everything: bool) -> list[tuple[str, Delivery]]:
    return [(name, delivery) for name, lane in lanes.items() if everything or lane.due for delivery in lane.take()]
