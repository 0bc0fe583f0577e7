"""Whether the system can do its work: what /readyz answers, from heartbeats. Pure: time comes in as seconds."""

from __future__ import annotations

from typing import NamedTuple

from bimodal.broker.messages import Heartbeat

# Heartbeats come twice a second; the supervisor calls a process hung after 5 s.
FRESH_S = 5.0
GONE_AFTER_S = 60.0
ONE_OF_EACH = {
    "broker": "the broker is not",
    "fusion": "fusion is not",
    "face": "no face worker is",
    "audio": "no audio worker is",
}


class _Heard(NamedTuple):
    beat: Heartbeat
    at: float


class Health:
    """The newest heartbeat of every process."""

    def __init__(self) -> None:
        self._heard: dict[str, _Heard] = {}

    def take(self, beat: Heartbeat, now: float) -> None:
        """One more heartbeat."""
        if beat.name not in self._heard:
            self._forget(now)
        self._heard[beat.name] = _Heard(beat, now)

    def processes(self, now: float) -> list[Heartbeat]:
        """The newest of each process, but for those that ended long ago, by name."""
        self._forget(now)
        return [heard.beat for _, heard in sorted(self._heard.items())]

    def _forget(self, now: float) -> None:
        for name, heard in list(self._heard.items()):
            if now - heard.at > GONE_AFTER_S:
                del self._heard[name]

    def up(self, beat: Heartbeat, now: float) -> bool:
        """Whether a process is ready and was heard lately."""
        return beat.state == "ready" and now - self._heard[beat.name].at <= FRESH_S

    def reasons(self, now: float) -> list[str]:
        """Why the system can't work: one sentence for each kind of process without a ready one; empty when it can.

        A system without a speech model has no audio workers, and needs none.
        """
        beats = self.processes(now)
        found = []
        for kind, subject in ONE_OF_EACH.items():
            mine = [beat for beat in beats if kind_of(beat.name) == kind]
            if any(self.up(beat, now) for beat in mine) or (kind == "audio" and not mine):
                continue
            because = next((beat.because for beat in mine if beat.because), None)
            found.append(f"{subject} ready" + (f": {because}" if because else ""))
        return found


def kind_of(name: str) -> str:
    """The kind of a process from its name: "face 2" → "face"."""
    return name.partition(" ")[0]
