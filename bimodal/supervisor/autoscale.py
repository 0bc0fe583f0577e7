"""Number of workers for the present load, within `{min, max}`. Pure: counters in, a number out.

Too few workers show as dropped jobs (policy `latest`) or as a backlog (`every`); too many as idle time. A wide band
between the two and a rest after each change make a steady load settle on one number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from bimodal.broker.errors import ControlError
from bimodal.broker.messages import Modality
from bimodal.config import Config
from bimodal.supervisor.processes import TABLE, Role

WINDOW_S = 5.0
LOST_TOO_MUCH = 0.05
LOST_LITTLE = 0.005
BUSY_LITTLE = 0.6
GROW_REST_S = 5.0
SHRINK_REST_S = 30.0


class Load(NamedTuple):
    """Running totals at one moment.

    Attributes:
        now: monotonic clock, seconds.
        offered, dropped: jobs so far.
        busy_s: seconds that all workers together have spent on jobs so far.
        waiting: jobs that wait for a worker at this moment.
    """

    now: float
    offered: int
    dropped: int
    busy_s: float
    waiting: int = 0


class LoadFollower:
    """Follows the load with the workers of one kind, from `least` to `most`."""

    def __init__(self, least: int, most: int) -> None:
        self.least, self.most = least, most
        self._seen: deque[Load] = deque()
        self._changed: float | None = None

    def wanted(self, count: int, load: Load) -> int:
        """Number of workers wanted, where there are `count`. To be called about once a second."""
        if self._changed is None:
            self._changed = load.now
        if self._seen and load.offered < self._seen[-1].offered:
            self._seen.clear()  # a new broker counts from 0
        self._seen.append(load)
        while load.now - self._seen[0].now > WINDOW_S:
            self._seen.popleft()
        wanted = min(self.most, max(self.least, count + self._step(count, load)))
        if wanted != count:
            self._changed = load.now
            self._seen.clear()
        return wanted

    def _step(self, count: int, load: Load) -> int:
        first, rested = self._seen[0], load.now - (self._changed or 0.0)
        span = load.now - first.now
        if span < WINDOW_S / 2:
            return 0
        offered = load.offered - first.offered
        lost = (load.dropped - first.dropped) / offered if offered > 0 else 0.0
        piled_up = min(seen.waiting for seen in self._seen) > count
        if (lost > LOST_TOO_MUCH or piled_up) and rested >= GROW_REST_S:
            return 1
        # One worker fewer must do the same work with room to spare.
        busy = (load.busy_s - first.busy_s) / span / (count - 1) if count > 1 else 1.0
        if lost <= LOST_LITTLE and busy < BUSY_LITTLE and load.waiting == 0 and rested >= SHRINK_REST_S:
            return -1
        return 0


# Requests of `bimodal scale`: pure checks.

MOST_WORKERS = 256

KINDS: dict[Role, Modality] = {role: kind.modality for role, kind in TABLE.items() if kind.modality is not None}


def checked_counts(counts: Mapping[str, int], config: Config) -> dict[Role, int]:
    """Check the requested numbers of workers. Raises ControlError where there can't be such workers."""
    wanted: dict[Role, int] = {kind: counts[kind] for kind in KINDS if kind in counts}
    if not wanted or set(counts) - set(KINDS):
        raise ControlError("only face and audio workers can be scaled: say face=4 or audio=2")
    if not all(1 <= count <= MOST_WORKERS for count in wanted.values()):
        raise ControlError(f"there may be 1 to {MOST_WORKERS} workers of a kind")
    if "audio" in wanted and not config.models.voices:
        raise ControlError("there is no speech model, so there are no audio workers to scale")
    return wanted


def describe_scale(before: Mapping[Role, int], after: Mapping[Role, int]) -> str:
    """Describe the change of numbers in one sentence."""
    return "; ".join(f"{kind}: {before[kind]} → {count} workers" for kind, count in after.items())
