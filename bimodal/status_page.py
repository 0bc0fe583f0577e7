"""The state of a running system as text or JSON. Loads nothing but the broker's client, so that it is quick."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys

import msgspec

from bimodal.broker.control import ProcessReport, StatusReply, StatusRequest, ask
from bimodal.broker.errors import ControlError
from bimodal.broker.words import Modality, StreamStatus
from bimodal.supervisor.session import find_session, running_sessions
from bimodal.tables import MIDDLE, NARROW, PIPE_WIDTH, WIDE, Column, duration, fit, plain
from bimodal.workers.redaction import clean_json, clean_lines

# Exit codes: all is well; something fails.
DONE, DEGRADED = 0, 3
# What people reach at the address of a process, by its name.
SERVED = {"view": "live page", "api": "HTTP API"}
DEFAULT = "default"
CORPUS_SESSIONS = "analyze-"
YELLOW, BOLD, ORDINARY = "\x1b[33m", "\x1b[1m", "\x1b[0m"

PROCESS_COLUMNS = (
    Column("process"),
    Column("state"),
    Column("pid", NARROW, number=True),
    Column("restarts", NARROW, number=True),
    Column("up", WIDE, number=True),
    Column("cpu %", number=True),
    Column("memory MiB", number=True),
    Column("models", MIDDLE),
)
STREAM_COLUMNS = (
    Column("stream"),
    Column("modality"),
    Column("offered", NARROW, number=True),
    Column("done", number=True),
    Column("dropped", number=True),
    Column("failed", NARROW, number=True),
    Column("source", MIDDLE),
)


def show_status(session: str | None, *, as_json: bool) -> int:
    """Print the state of the system of this name; return the exit code, 3 where something in it fails.

    Args:
        session: None: `default`, else the only one that runs; with the runs over corpora that are under way.

    Raises ControlError where none runs, or it does not answer.
    """
    reply = ask_session(session) if session is not None else present()
    text = clean_json(msgspec.json.encode(reply).decode()) if as_json else "\n".join(_lines(reply))
    print(text, flush=True)
    return DEGRADED if troubles(reply) else DONE


def ask_session(name: str) -> StatusReply:
    """The state of the system of this name. Raises ControlError where none runs, or it does not answer."""
    return ask(find_session(name), StatusRequest(), StatusReply)


def present() -> StatusReply:
    """The state of the session `default`, else of the only one that runs; with a line for each run over a corpus that
    is under way, whatever its session. Raises ControlError where none of these answers."""
    names = running_sessions()
    runs: dict[str, StatusReply] = {}
    for name in filter(lambda name: name.startswith(CORPUS_SESSIONS), names):
        with contextlib.suppress(ControlError):  # it has ended a moment ago
            found = ask_session(name)
            runs |= {name: found} if found.corpus is not None else {}
    others = [name for name in names if name not in runs]
    if runs and DEFAULT not in others:
        reply = next(iter(runs.values()))
    else:
        only = others[0] if len(others) == 1 else DEFAULT
        reply = ask_session(DEFAULT if DEFAULT in others else only)
    lines = [f"{run.corpus} (session {name})" for name, run in runs.items()]
    return msgspec.structs.replace(reply, corpus="\n".join(lines) or None)


def troubles(reply: StatusReply) -> list[str]:
    """One sentence for each problem."""
    found = [reply.because] if reply.because is not None else []
    reported = {process.name for process in reply.processes if process.state == "failed"} | {"supervisor"}
    found += [
        f"{process.name}: {process.because}"
        for process in reply.processes
        if process.because is not None and process.name not in reported
    ]
    return found


def _lines(reply: StatusReply) -> list[str]:
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else PIPE_WIDTH
    yellow, bold, ordinary = (YELLOW, BOLD, ORDINARY) if terminal and not os.environ.get("NO_COLOR") else ("", "", "")
    tables = [fit(PROCESS_COLUMNS, [_process_row(process) for process in reply.processes], width)]
    if reply.streams:
        rows = [_stream_row(stream, modality) for stream in reply.streams for modality in ("face", "speech")]
        tables.append(fit(STREAM_COLUMNS, rows, width))
    lines = []
    for table in tables:
        title, *rest = plain(table, width) if terminal else plain(table)
        lines += [f"{bold}{title}{ordinary}", *rest]
    said = [f"corpus {line}" for line in (reply.corpus or "").splitlines()]
    place = f"config {reply.config}" if reply.config is not None else "built-in config"
    state = "a change is on its way" if reply.changing else "in force" if reply.refused is None else "not taken over"
    said.append(f"session {reply.session}, up {duration(reply.up_s)}, {place}: {state}")
    said += _elsewhere(reply)
    if reply.tried is not None:
        said.append(f"newest change: {reply.tried}")
    said += [
        f"{SERVED.get(process.name, process.name)} at {process.address}"
        for process in reply.processes
        if process.address is not None
    ]
    return [
        *lines,
        *map(clean_lines, said),
        *(f"{yellow}{clean_lines(f'! {trouble}')}{ordinary}" for trouble in troubles(reply)),
    ]


# Kinds of workers by role (bimodal/supervisor/autoscale.py, which loads the config).
WORKERS: dict[str, Modality] = {"face": "face", "audio": "speech"}


def _elsewhere(reply: StatusReply) -> list[str]:
    """One line for each kind of worker that runs on other machines only."""
    here = {process.role for process in reply.processes}
    return [
        f"{role}: no worker here, {reply.workers[modality]} on other machines"
        for role, modality in WORKERS.items()
        if role not in here and reply.workers.get(modality)
    ]


def _process_row(process: ProcessReport) -> tuple[str, ...]:
    figures = process.figures
    return (
        process.name,
        process.state,
        str(process.pid or "-"),
        f"{figures.get('restarts', 0):.0f}",
        duration(figures.get("up_s", 0.0)),
        f"{figures.get('cpu_percent', 0):.0f}",
        f"{figures.get('memory_mb', 0):.0f}",
        ", ".join(process.models.values()),
    )


def _stream_row(stream: StreamStatus, modality: Modality) -> tuple[str, ...]:
    counters = (getattr(stream, what).get(modality, 0) for what in ("offered", "done", "dropped", "failed"))
    return stream.stream, modality, *map(str, counters), stream.source
