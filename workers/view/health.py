"""Whether the system can do its work: what /readyz answers, from heartbeats. Pure: time comes in as seconds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

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


# What is wrong, said in sentences, from heartbeats and silence. Pure.


# Heartbeats come twice a second, and the supervisor calls a process hung after 5 s.
SILENT_S = 3.0
STREAM_SILENT_S = 3.0
# The longest pause before a process is started again is 30 s.
ENDED_GONE_AFTER_S = 45.0
SUPERVISOR = "supervisor"
# In the names of workers on other machines, after the name of their key (broker/remote.py).
ELSEWHERE = ": "

Level = Literal["error", "warning"]


class Banner(NamedTuple):
    """One thing that is wrong: `about` is a process or a stream."""

    level: Level
    about: str
    text: str


class ProcessSeen(NamedTuple):
    """A process's newest heartbeat, and when it came."""

    heartbeat: Heartbeat
    heard_at: float

    @property
    def name(self) -> str:
        """Of the process."""
        return self.heartbeat.name

    def gone(self, now: float) -> bool:
        """Whether it has ended and nobody has said for long that it will come back; one on another machine may have
        ended without a word, and its next life has another name."""
        ended = self.heartbeat.state == "stopped" or ELSEWHERE in self.name
        return ended and now - self.heard_at > ENDED_GONE_AFTER_S

    def word(self, now: float) -> str:
        """Its state in one word, as people see it."""
        state = self.heartbeat.state
        if state == "stopped":
            return "restarting" if self.heartbeat.because is not None else "ended"
        if state == "ready" and now - self.heard_at > SILENT_S:
            return "silent"
        return "troubled" if state == "ready" and self.heartbeat.because is not None else state

    def snapshot(self, queue: float | None, now: float) -> dict[str, object]:
        """The process as JSON-like values."""
        beat = self.heartbeat
        figures = dict(beat.figures)
        if not beat.pid:
            # What a process took before it ended, it takes no more.
            figures = {"restarts": figures["restarts"]} if "restarts" in figures else {}
        return {
            "name": beat.name,
            "word": self.word(now),
            "pid": beat.pid or None,
            "restarts": int(figures.pop("restarts", max(0, beat.incarnation - 1))),
            "cpu_percent": figures.pop("cpu_percent", None),
            "memory_mb": figures.pop("memory_mb", None),
            "up_s": figures.pop("up_s", None),
            "queue": queue,
            "models": beat.models,
            "figures": figures,
            "because": beat.because,
        }


class StreamSeen(NamedTuple):
    """A stream: whether it has ended, and how many seconds ago its newest event came (None: never)."""

    name: str
    ended: bool
    silent_s: float | None


def banners(processes: Sequence[ProcessSeen], streams: Sequence[StreamSeen], now: float) -> list[Banner]:
    """Everything that is wrong, errors first; one sentence a process or stream."""
    quiet_s = now - max((seen.heard_at for seen in processes), default=now)
    if quiet_s > SILENT_S:
        return [Banner("error", "event bus", f"nothing has come over it for {quiet_s:.0f} s; is the broker there?")]
    found = [banner for seen in processes if (banner := _of_process(seen, now)) is not None]
    found += _of_foreign_models([seen.heartbeat for seen in processes if seen.word(now) in ("ready", "troubled")])
    explained = {banner.about for banner in found}
    # The supervisor says about the whole what the processes say of themselves.
    found = [banner for banner in found if banner.about != SUPERVISOR or not _names(banner.text, explained)]
    for stream in streams:
        silent = stream.silent_s is not None and stream.silent_s > STREAM_SILENT_S
        if silent and not stream.ended and f"capture {stream.name}" not in explained:
            found.append(Banner("warning", stream.name, f"no frames for {stream.silent_s:.0f} s"))
    return sorted(found, key=lambda banner: banner.level != "error")


def _of_foreign_models(ready: Sequence[Heartbeat]) -> list[Banner]:
    """Workers on other machines have a config of their own; other models there make one stream's answers differ."""
    home: dict[str, set[str]] = {}
    for beat in ready:
        if ELSEWHERE not in beat.name:
            for kind, model in beat.models.items():
                home.setdefault(kind, set()).add(model)
    found = []
    for beat in ready:
        wrong = {kind: model for kind, model in beat.models.items() if kind in home and model not in home[kind]}
        if wrong and ELSEWHERE in beat.name:
            here = ", ".join(" or ".join(sorted(home[kind])) for kind in wrong)
            text = f"works with {', '.join(wrong.values())}, and this machine with {here}: give both the same config"
            found.append(Banner("warning", beat.name, text))
    return found


def _names(text: str, processes: Collection[str]) -> bool:
    return any(name in text for name in processes if name != SUPERVISOR)


def _of_process(seen: ProcessSeen, now: float) -> Banner | None:
    beat, word = seen.heartbeat, seen.word(now)
    match word:
        case "failed":
            return Banner("error", beat.name, f"failed: {beat.because or 'the log has the details'}")
        case "restarting":
            return Banner("warning", beat.name, f"is started again: {beat.because}")
        case "silent":
            return Banner("warning", beat.name, f"has said nothing for {now - seen.heard_at:.0f} s")
        case "troubled":
            return Banner("warning", beat.name, beat.because or "")
        case _:
            return None
