"""Start a module of ours in a Python process of its own, from an installation or a checkout alike."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parents[1]
"""The folder that holds the package `bimodal`: a checkout, or site-packages."""
NOT_FOR_CHILDREN = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


def python_command(module: str, *arguments: str) -> list[str]:
    """The command that runs `module` in this interpreter.

    -P keeps the working directory off the module path: a user's folder may hold a models.py of its own.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment, with the folder of `bimodal` first in PYTHONPATH, and `extra` over it.

    Without what a service manager has told this process alone.
    """
    paths = [str(FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {key: value for key, value in os.environ.items() if key not in NOT_FOR_CHILDREN}
    return {**own, "PYTHONPATH": os.pathsep.join(paths), **(extra or {})}


def last_line(output: Path) -> str:
    """Return the last line that a process of ours printed to the file `output`, without the command's name."""
    lines = output.read_text(encoding="utf-8", errors="replace").splitlines() if output.exists() else []
    return next((line for line in reversed(lines) if line.strip()), "it printed nothing").removeprefix("bimodal: ")
