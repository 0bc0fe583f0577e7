"""The protocol of service managers (sd_notify): ready, status, watchdog, stopping. Silent where none has asked for it.

systemd gives a service of Type=notify the address of a datagram socket in NOTIFY_SOCKET, and with WatchdogSec= the time
in which it wants to hear of it in WATCHDOG_USEC.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

from bimodal.child_process import NOT_FOR_CHILDREN
from bimodal.workers.redaction import safe
from bimodal.workers.system_state import SystemState

SOCKET, WATCHDOG, WATCHDOG_PID = NOT_FOR_CHILDREN
SEND_WITHIN_S = 0.5
# The figures in the status change all the time; whoever looks at it does not.
STATUS_EVERY_S = 10.0
# So many times within the time that the watchdog allows.
FEEDS = 4
# Without an event for so long, and after so many analysed frames, fusion gives no results.
SILENT_S, FRAMES = 20.0, 20

log = logging.getLogger(__name__)


class Service:
    """What a service manager is told of a live system.

    The watchdog is fed only while results come out: a system that lives and gives none is started again by the service
    manager, after the supervisor's own remedies.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get(SOCKET, "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog_s = _watchdog_s(environment) if address else None
        self._ready = self._lost = False
        self._starved_of: str | None = None
        self._feed_at = self._status_at = 0.0
        self._status = ""
        self._trouble: str | None = None

    def update(self, *, ready: bool, trouble: str | None, status: str, now: float) -> None:
        """Say how the system is; may be called often.

        Args:
            ready: whether it has begun to work.
            trouble: why no results come out, one sentence; None while they do.
            status: what it does, one line.
            now: monotonic clock, seconds.
        """
        if not self._address:
            return
        if ready and not self._ready:
            self._ready = True
            self._send("READY=1")
        if trouble != self._trouble or now >= self._status_at:
            self._trouble, self._status_at = trouble, now + STATUS_EVERY_S
            self._tell(trouble or status)
        if self.watchdog_s is not None and ready:
            self._feed(self.watchdog_s, trouble, now)

    def stopping(self) -> None:
        """Say that the system stops."""
        if self._address:
            self._send("STOPPING=1\nSTATUS=stopping")

    def _tell(self, status: str) -> None:
        if status != self._status:
            self._status = status
            self._send(f"STATUS={safe(status)}")

    def _feed(self, watchdog_s: float, trouble: str | None, now: float) -> None:
        if (trouble is None) != (self._starved_of is None):
            if trouble is not None:
                log.warning("no results come out (%s): in %.0f s the service manager starts bimodal again", trouble,
                            watchdog_s)  # fmt: skip
            else:
                log.info("results come out again")
        self._starved_of = trouble
        if trouble is None and now >= self._feed_at:
            self._feed_at = now + watchdog_s / FEEDS
            self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.settimeout(SEND_WITHIN_S)
                channel.connect(self._address)
                channel.send(text.encode())
        except (OSError, ValueError) as error:
            if not self._lost:
                log.warning("the service manager can't be told anything, at %s: %s", self._address.strip("\0"), error)
            self._lost = True


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """The time in which the service manager wants to hear of this process; None where it does not."""
    microseconds, pid = environment.get(WATCHDOG, ""), environment.get(WATCHDOG_PID, "")
    if not microseconds.isdigit() or int(microseconds) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(microseconds) / 1_000_000


# What it is told. Pure.


class Results:
    """Whether events come for the frames that are analysed: fusion may live and give none."""

    def __init__(self) -> None:
        self._event_at: float | None = None
        self._done_then: int | None = None

    def on_event(self, now: float) -> None:
        """Take one event."""
        self._event_at, self._done_then = now, None

    def missing(self, done: int, now: float) -> str | None:
        """Why events are missing, one sentence; None while they come. `done`: frames analysed so far."""
        if self._event_at is None:
            self._event_at = now
        if self._done_then is None or done < self._done_then:
            self._done_then = done
        frames, silent_s = done - self._done_then, now - self._event_at
        if frames < FRAMES or silent_s < SILENT_S:
            return None
        return f"{frames} frames were analysed, and no event came for {silent_s:.0f} s"


def status_line(system: SystemState, degraded: str | None, now: float) -> str:
    """What the system does, in one line without anything of the people before the camera."""
    streams = system.streams.values()
    rate = sum(stream.rate(now) for stream in streams)
    dropping = sum(stream.dropping for stream in streams)
    count = f"{len(streams)} stream{'' if len(streams) == 1 else 's'}"
    line = f"{count}, {rate:.1f} events/s, {dropping:.1f} jobs/s dropped"
    return f"{line}; degraded: {degraded}" if degraded else line
