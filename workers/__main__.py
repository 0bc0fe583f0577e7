"""Start one actor: `python -P -m bimodal.workers MODULE:NAME [MODULE…]`, as the supervisor's process table says.

Further modules are what the actor will load by itself once it has its settings, which may come later.
"""

from __future__ import annotations

import importlib
import sys
from types import FunctionType

from bimodal.workers.actor import refuse, run


def main(entry: str, *preloaded: str) -> int:
    """Run the actor class `NAME` of `bimodal.workers.MODULE`, or a function of that name; gives the exit code."""
    module, _, name = entry.partition(":")
    try:
        found = getattr(importlib.import_module(f"bimodal.workers.{module}"), name)
        for each in preloaded:
            importlib.import_module(f"bimodal.workers.{each}")
    except ImportError as error:
        return refuse(f"a library that it needs can't be loaded: {error}; 'bimodal doctor' says what to install")
    code: int = found() if isinstance(found, FunctionType) else run(found)
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
