"""An older checkout beside this one: CPU of fusion an event (fusion_costs.py), in turn, A B A B; and whether events are
the same, to the bit.

The messages are real: this checkout's models look at clips, and what the workers answer is recorded once for both.

Run: python -m scripts.measure.fusion OLD_CHECKOUT CLIP… [--rounds 5] [--frames 120]
"""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated
from unittest import mock

import msgspec
import typer

from bimodal.api.detector import Detector
from bimodal.broker.messages import Delivery, FaceResult, LaneMessage, StreamOpened, seal
from bimodal.workers.fusion.streams import Fusion, FusionEvent

HERE = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("fusion_costs.py")


def main(
    old: Annotated[Path, typer.Argument(help="A checkout of the older commit (git worktree add ../old COMMIT).")],
    clips: Annotated[list[Path], typer.Argument(help="Clips with faces and voices.")],
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 5,
    frames: Annotated[int, typer.Option(min=1, help="Frames of each clip.")] = 120,
) -> None:
    """Print CPU milliseconds an event of both checkouts, their ratio, and how many events differ."""
    with tempfile.TemporaryDirectory(prefix="bimodal-") as scratch:
        messages = Path(scratch) / "messages"
        messages.write_bytes(msgspec.msgpack.encode(recorded(clips, frames)))
        costs: tuple[list[float], list[float]] = [], []
        events = Path(scratch) / "old", Path(scratch) / "new"
        for number in range(rounds):
            for side, checkout in enumerate((old, HERE)):
                costs[side].append(cost(checkout.absolute(), messages, events[side]))
            typer.echo(f"round {number + 1} of {rounds} is over", err=True)
        before, after = (msgspec.msgpack.decode(file.read_bytes()) for file in events)
    for line in lines(*costs, differing(before, after), len(after)):
        typer.echo(line)


def recorded(clips: Iterable[Path], frames: int) -> list[bytes]:
    """The messages that fusion gets of so many frames of each clip, sealed, as from live streams."""
    found: list[bytes] = []

    class Recording(Fusion):
        def receive(self, message: LaneMessage, now_ns: int) -> list[FusionEvent]:
            found.append(seal(Delivery(number=1, message=_live(message)), epoch=1, sender="broker", incarnation=1))
            return super().receive(message, now_ns)

    with mock.patch("bimodal.api.detector.Fusion", Recording), Detector(quick=True) as detector:
        for clip in clips:
            for _ in itertools.islice(detector.events(str(clip)), frames):
                pass
    return found


def _live(message: LaneMessage) -> LaneMessage:
    """The message as the broker sends it of a live stream."""
    if isinstance(message, StreamOpened):
        return msgspec.structs.replace(message, policy="latest", quick=False)
    return msgspec.structs.replace(message, hints=None) if isinstance(message, FaceResult) else message


def cost(checkout: Path, messages: Path, events: Path) -> float:
    """Play the messages in a process of its own; CPU milliseconds an event. The events are written to a file."""
    given = [sys.executable, str(PROGRAM), str(messages), str(events)]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    done = subprocess.run(given, cwd=checkout, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return float(done.stdout)


def differing(before: Sequence[bytes], after: Sequence[bytes]) -> int:
    """Number of events in which two runs differ; one that only one of them has counts."""
    return sum(one != other for one, other in itertools.zip_longest(before, after))


def lines(old: Sequence[float], new: Sequence[float], differ: int, count: int) -> list[str]:
    """The medians of both, that of the ratios of pairs with the extremes, and what differs."""
    ratios = [after / before for before, after in zip(old, new, strict=True)]
    return [
        f"CPU of fusion an event: {statistics.median(old):.3f} ms before, {statistics.median(new):.3f} after, "
        f"{statistics.median(ratios):.2f} × ({min(ratios):.2f} – {max(ratios):.2f})",
        f"{differ} of {count} messages differ" if differ else f"all {count} messages are the same, to the bit",
    ]


if __name__ == "__main__":
    typer.run(main)
