"""The replay's process: capture and fusion in one to the broker, so that subscribers see a live session."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from bimodal.broker.events import Emotion
from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import LaneMessage, StreamClosed, StreamOpened
from bimodal.errors import BimodalError
from bimodal.recordings.reading import Clip, clips
from bimodal.workers.actor import DONE, ActorSettings, LaneReader, own
from bimodal.workers.settings import ReplaySettings

# Waiting subscribers retry at least once a second: leave them time to connect.
LEAD_IN_S = 2.0
JOIN_S = 1.0


class Player:
    """Sends each message when it is due, in a thread of its own.

    Attributes:
        sent: number of messages so far.
        error: the error that stopped it before the end, else None.
        done: set when everything is sent.
    """

    def __init__(self, found: list[Clip], settings: ReplaySettings, send: Callable[[Cue], None]) -> None:
        self.sent = 0
        self.error: BimodalError | None = None
        self.done = threading.Event()
        self._found = found
        self._settings = settings
        self._send = send
        self._stopped = threading.Event()
        self._announce = threading.Event()
        self._open: dict[str, Cue] = {}
        self._thread = threading.Thread(target=self._play, name="replay", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def announce_again(self) -> None:
        """Announce the open streams to a new broker, before the next event."""
        self._announce.set()

    def stop(self) -> None:
        """Stop the thread."""
        self._stopped.set()
        self._thread.join(JOIN_S)

    def _play(self) -> None:
        try:
            for script in rounds(self._found, loop=self._settings.loop):
                zero = time.monotonic() + LEAD_IN_S
                for cue in script:
                    self._stopped.wait(max(0.0, zero + cue.due_s / self._settings.speed - time.monotonic()))
                    if self._stopped.is_set():
                        return
                    self._play_cue(cue)
        except BimodalError as error:
            self.error = error
        finally:
            self.done.set()

    def _play_cue(self, cue: Cue) -> None:
        if self._announce.is_set():
            self._announce.clear()
            for opened in self._open.values():
                self._send(opened)
        match cue.message:
            case StreamOpened():
                self._open[cue.message.stream] = cue
            case StreamClosed():
                self._open.pop(cue.message.stream, None)
        self._send(cue)
        self.sent += 1


class ReplayActor(LaneReader):
    """Plays a recording, once or in a loop."""

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        """Open the recording; raises RecordError where there is none."""
        super().__init__(mailbox)
        mine = own(settings, ReplaySettings)
        found = clips(Path(mine.recording))
        self._sender = mailbox.sender()
        self._player = Player(found, mine, lambda cue: self._sender.send(cue.message))
        self._begun = False

    def receive(self, message: LaneMessage) -> None:
        """Ignore the lane of fusion: its messages are our own."""

    def on_connected(self) -> None:
        """Start to play, or announce the open streams to a new broker."""
        super().on_connected()
        if self._begun:
            self._player.announce_again()
        else:
            self._begun = True
            self._player.start()

    def figures(self) -> dict[str, float]:
        """Number of messages sent."""
        return {"said": float(self._player.sent)}

    def finished(self) -> int | None:
        """Done when everything is sent. Raises RecordError where a line can't be read."""
        if self._player.error is not None:
            raise self._player.error
        return DONE if self._player.done.is_set() else None

    def close(self) -> None:
        """Stop playing."""
        if self._begun:
            self._player.stop()
        self._sender.close()


# The messages of all clips of a recording on one time line. Pure but for reading.


class Cue(NamedTuple):
    """A message and its due time, in seconds from the beginning."""

    due_s: float
    message: StreamOpened | Emotion | StreamClosed


def script(clips: Sequence[Clip], first_run: int) -> Iterator[Cue]:
    """Every message of the clips, merged by time. Each run of a stream begins with its StreamOpened, and the stream
    ends with StreamClosed. Runs are numbered from `first_run`; everything else is as recorded.

    Raises RecordError where a line can't be read.
    """
    zero = min((_begin(clip) for clip in clips), default=0.0)
    return heapq.merge(*(_cues(clip, first_run, zero) for clip in clips), key=lambda cue: cue.due_s)


def runs_in(clips: Sequence[Clip]) -> int:
    """Largest number of runs in a clip: the run numbers that a round takes."""
    return max((len({part.run for part in clip.parts}) for clip in clips), default=1)


def _begin(clip: Clip) -> float:
    first = next(clip.events(), None)
    return first[0].t + first[1].offset_s if first is not None else 0.0


def _cues(clip: Clip, first_run: int, zero: float) -> Iterator[Cue]:
    numbers: dict[int, int] = {}
    frames = 0
    due = 0.0
    for event, part in clip.events():
        due = max(due, event.t + part.offset_s - zero)
        if part.run not in numbers:
            numbers[part.run] = first_run + len(numbers)
            yield Cue(due, _announcement(clip, part.run, numbers[part.run], event))
        frames += 1
        yield Cue(due, msgspec.structs.replace(event, run=numbers[part.run], stream=clip.name))
    if numbers:
        yield Cue(due, StreamClosed(stream=clip.name, run=max(numbers.values()), frames=frames))


def _announcement(clip: Clip, recorded_run: int, run: int, first: Emotion) -> StreamOpened:
    # Policy `latest`: subscribers must not hold up the replay.
    return msgspec.structs.replace(
        clip.opened(recorded_run), stream=clip.name, run=run, policy="latest", next_face_seq=first.seq
    )


def rounds(clips: Sequence[Clip], *, loop: bool) -> Iterator[Iterator[Cue]]:
    """The script once, or in a loop with new run numbers."""
    step = runs_in(clips)
    for number in itertools.count() if loop else range(1):
        yield script(clips, 1 + number * step)
