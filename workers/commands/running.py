"""What the commands share that ask a running system: find it, or say which ones run."""

from __future__ import annotations

from typing import TypeVar

from bimodal.broker.control import Request, ask
from bimodal.broker.errors import ControlError
from bimodal.broker.sockets import session_directory
from bimodal.supervisor.session import running_sessions

_T = TypeVar("_T")


def ask_session(name: str, request: Request, wanted: type[_T]) -> _T:
    """Ask the system that runs under this name; raises ControlError where none does, or it refuses."""
    running = running_sessions()
    if name not in running:
        others = f"; running: {', '.join(running)}" if running else ""
        raise ControlError(f"no bimodal runs as session '{name}'{others}")
    return ask(session_directory(name), request, wanted)
