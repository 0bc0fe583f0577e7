"""What is said when: the messages of a recording on one time line, for every clip of it. Pure but for reading."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from bimodal.broker.messages import Emotion, StreamClosed, StreamOpened
from bimodal.recordings.reading import Clip


class Cue(NamedTuple):
    """A message and when it is due, in seconds from the beginning."""

    due_s: float
    message: StreamOpened | Emotion | StreamClosed


def script(clips: Sequence[Clip], first_run: int) -> Iterator[Cue]:
    """Every message of the clips, merged by time. Each run of a stream begins with its StreamOpened, and the stream
    ends with StreamClosed. Runs are numbered from `first_run`; everything else is as it was recorded.

    Raises RecordError where a line can't be read.
    """
    zero = min((_begin(clip) for clip in clips), default=0.0)
    return heapq.merge(*(_cues(clip, first_run, zero) for clip in clips), key=lambda cue: cue.due_s)


def runs_in(clips: Sequence[Clip]) -> int:
    """The most runs that any of the clips has: how many numbers a round takes."""
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
    # Played back, everything is live: nobody may hold it up.
    return msgspec.structs.replace(
        clip.opened(recorded_run), stream=clip.name, run=run, policy="latest", next_face_seq=first.seq
    )


def rounds(clips: Sequence[Clip], *, loop: bool) -> Iterator[Iterator[Cue]]:
    """The script once, or again and again with new runs."""
    step = runs_in(clips)
    for number in itertools.count() if loop else range(1):
        yield script(clips, 1 + number * step)
