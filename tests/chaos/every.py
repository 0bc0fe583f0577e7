"""Files under blows: `bimodal analyze` of a clip while its processes are killed at random. Nothing may be lost."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bimodal.broker.events import Emotion
from tests.end_to_end.driving import PATIENCE_S, Driven, events_of, summary_of
from tests.media import face_clip

# A worker's frame is given out again, and a killed recorder, fusion, broker or capture begins the file anew.
WORKERS = ("face", "audio")
OTHERS = ("broker", "fusion", "record", "capture")
FRAMES_A_SECOND = 25
# Kills fall on frames apart: one that has cost three workers their life is failed, by design.
APART_FRAMES = 10


@dataclass(frozen=True)
class Kept:
    """What came of a file.

    Attributes:
        killed: the processes that were killed, in order.
        frames: that the clip has.
        missing: numbers of frames without an event, or out of order.
        failed: frames whose place was kept without a look.
        seconds: that it took.
        left: what was left behind.
    """

    killed: tuple[str, ...]
    frames: int
    missing: tuple[int, ...]
    failed: int
    seconds: float
    left: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether nothing was lost, nor left behind."""
        return not (self.missing or self.failed or self.left)

    def __str__(self) -> str:
        lost = len(self.missing) + self.failed
        return (
            f"{self.frames} frames, {len(self.killed)} kills ({', '.join(self.killed)}): {lost} frames lost, "
            f"in {self.seconds:.1f} s; left behind: {'; '.join(self.left) or 'nothing'}"
        )


def victims(seed: int, kills: int) -> list[str]:
    """Roles to kill: workers mostly, and each of the others once when all workers have had their turn; pure."""
    chance = random.Random(seed)
    others = chance.sample(OTHERS, min(len(OTHERS), kills // 2))
    found = [chance.choice(WORKERS) for _ in range(kills - len(others))] + others
    chance.shuffle(found)
    return found


def kill_while_it_looks(folder: Path, seed: int, kills: int, seconds: float) -> Kept:
    """Look at a clip of so many seconds at its own pace, and kill."""
    clip, begun = face_clip(folder / "clip.mp4", seconds), time.monotonic()
    frames, killed = round(seconds * FRAMES_A_SECOND), []
    chance = random.Random(seed)
    with Driven("analyze", clip, "--out", folder / "out", "--speed", "realtime", "--face-workers", "2") as driven:
        for role in victims(seed, kills):
            _goes_on(driven, APART_FRAMES + chance.randrange(APART_FRAMES))
            found = [name for name in driven.children() if name.partition(" ")[0] == role]
            if not found:
                break
            killed.append(chance.choice(sorted(found)))
            driven.kill(killed[-1], signal.SIGKILL)
        # Whoever is no worker has begun the file anew, at its own pace.
        driven.process.wait((len(OTHERS) + 1) * seconds + PATIENCE_S)
        code, _, err = driven.finish()
        assert code == 0, err
        left = [str(place) for place in driven.left_behind()]
    events = events_of(folder / "out", "clip")
    assert summary_of(folder / "out", "clip")["frames"] == len(events)
    took_s = time.monotonic() - begun
    failed = sum(event["failed"] is not None for event in events)
    return Kept(
        tuple(killed), frames, _missing(frames, [event["seq"] for event in events]), failed, took_s, tuple(left)
    )


def _goes_on(driven: Driven, events: int) -> None:
    """Wait until so many events have come, of whichever run of the file."""
    for _ in range(events):
        driven.wait_for(lambda body: isinstance(body, Emotion))


def _missing(frames: int, seqs: Sequence[int]) -> tuple[int, ...]:
    if list(seqs) == list(range(frames)):
        return ()
    return tuple(sorted(set(range(frames)) ^ set(seqs))) or tuple(seqs)
