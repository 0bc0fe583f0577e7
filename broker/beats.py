"""The common beat of a machine's processes: in quiet times all wake at the same moments.

The monotonic clock is one for all processes, so moments that are multiples of a second on it need no agreement. What a
process says at a beat arrives together with what the others say, and its reader is woken once for all of it.
"""

from __future__ import annotations

import time

# While there is work: heartbeats, and whatever else is repeated.
BEAT_S = 0.5
# While there is none.
QUIET_BEAT_S = 1.0
# After a beat, for as long, readers wait for what else comes with it: the broker while it has no work, then the
# supervisor, which passes everything on to the broker at once.
BROKER_GATHERS_S, SUPERVISOR_GATHERS_S = 0.03, 0.06


def next_beat(now: float, every_s: float = QUIET_BEAT_S) -> float:
    """The first beat after `now`, in seconds of the monotonic clock."""
    return (now // every_s + 1) * every_s


def until_beat(now: float, every_s: float = QUIET_BEAT_S) -> float:
    """Seconds from `now` to the first beat after it."""
    return next_beat(now, every_s) - now


def left_to_gather(now: float, gather_s: float, every_s: float = BEAT_S) -> float:
    """Seconds for which more may come with the beat that was less than `gather_s` ago; 0 at any other time."""
    since_s = now % every_s
    return gather_s - since_s if since_s < gather_s else 0.0


def gather(gather_s: float, every_s: float = BEAT_S) -> bool:
    """Sleep until what comes with a beat is there; at any other time return False at once."""
    left_s = left_to_gather(time.monotonic(), gather_s, every_s)
    if left_s > 0:
        time.sleep(left_s)
    return left_s > 0
