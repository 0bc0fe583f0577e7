"""Judgements on the state of the system: what /readyz answers, and the page's banners. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

from bimodal.broker.messages import Heartbeat
from bimodal.workers.system_state import ELSEWHERE, FORGOTTEN_AFTER_S, SILENT_S, ProcessState, SystemState

# Heartbeats come twice a second; the supervisor calls a process hung after 5 s.
FRESH_S = 5.0
STREAM_SILENT_S = 3.0
SUPERVISOR = "supervisor"
ONE_OF_EACH = {
    "broker": "the broker is not",
    "fusion": "fusion is not",
    "face": "no face worker is",
    "audio": "no audio worker is",
}

Level = Literal["error", "warning"]


def recent_processes(system: SystemState, now: float) -> list[ProcessState]:
    """Processes with a heartbeat in the last minute, by name."""
    return [
        process for _, process in sorted(system.processes.items()) if now - process.received_at <= FORGOTTEN_AFTER_S
    ]


def is_up(process: ProcessState, now: float) -> bool:
    """True while a process is ready and sends heartbeats."""
    return process.heartbeat.state == "ready" and now - process.received_at <= FRESH_S


def unready_reasons(system: SystemState, now: float) -> list[str]:
    """Reasons why the system can't work: one sentence for each kind of process without a ready one, and
    for each stream of which no results come out (workers/progress.py).

    A system without a speech model has no audio workers, and needs none. Workers on other machines count.
    Several sessions are ready once each is.
    """
    if system.parts:
        return [f"{name}: {text}" for name, part in system.parts.items() for text in unready_reasons(part, now)]
    processes = recent_processes(system, now)
    found = []
    for kind, subject in ONE_OF_EACH.items():
        mine = [process for process in processes if kind_of(process.name) == kind]
        if any(is_up(process, now) for process in mine) or (kind == "audio" and not mine and not _has_speech(system)):
            continue
        because = next((process.heartbeat.because for process in mine if process.heartbeat.because), None)
        found.append(f"{subject} ready" + (f": {because}" if because else ""))
    return found + [f"{stream}: {text}" for stream, text in system.progress.troubles(now).items()]


def kind_of(name: str) -> str:
    """The kind of a process from its name: "face 2" → "face", and "gpu: face 4711" of another machine too."""
    return name.rpartition(ELSEWHERE)[2].partition(" ")[0]


def _has_speech(system: SystemState) -> bool:
    """True where windows of sound are offered: then there is a speech model, and somebody must listen."""
    return system.status is not None and any(stream.offered.get("speech", 0) for stream in system.status.streams)


class Banner(NamedTuple):
    """One thing that is wrong: `about` is a process or a stream."""

    level: Level
    about: str
    text: str


def banners(system: SystemState, now: float) -> list[Banner]:
    """Everything that is wrong, errors first; one sentence a process or stream."""
    processes = [process for process in system.processes.values() if not process.gone(now)]
    quiet_s = now - max((process.received_at for process in processes), default=now)
    if quiet_s > SILENT_S:
        return [Banner("error", "event bus", f"nothing has come over it for {quiet_s:.0f} s; is the broker there?")]
    found = [banner for process in processes if (banner := _of_process(process, now)) is not None]
    found += _of_foreign_models([one.heartbeat for one in processes if one.word(now) in ("ready", "troubled")])
    without_results = system.progress.troubles(now)
    found += [Banner("error", stream, text) for stream, text in without_results.items()]
    explained = {banner.about for banner in found}
    # The supervisor repeats what processes report themselves.
    found = [banner for banner in found if banner.about != SUPERVISOR or not _names(banner.text, explained)]
    for stream in system.streams.values():
        silent_s = stream.silent_s(now) or 0.0
        if stream.name in without_results or f"capture {stream.name}" in explained:
            continue
        if silent_s > STREAM_SILENT_S and stream.closed_at is None:
            found.append(Banner("warning", stream.name, f"no frames for {silent_s:.0f} s"))
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


def _of_process(process: ProcessState, now: float) -> Banner | None:
    beat = process.heartbeat
    match process.word(now):
        case "failed":
            return Banner("error", beat.name, f"failed: {beat.because or 'the log has the details'}")
        case "restarting":
            return Banner("warning", beat.name, f"is started again: {beat.because}")
        case "silent":
            return Banner("warning", beat.name, f"has said nothing for {now - process.received_at:.0f} s")
        case "troubled":
            return Banner("warning", beat.name, beat.because or "")
        case _:
            return None
