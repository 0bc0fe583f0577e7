"""Make every kind of recording, look at it, and print the table of docs/tried.md."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import bimodal
from tests.media import ordinary_priority
from tests.tried.kinds import KINDS
from tests.tried.looking import differences


def main() -> int:
    """Print a row a kind; exit code 1 where one differs from a player's view."""
    print("| kind | container | codec | geometry | time | sound | |\n|---|---|---|---|---|---|---|")
    wrong = 0
    with bimodal.Detector() as detector, tempfile.TemporaryDirectory() as scratch:
        for number, kind in enumerate(KINDS):
            folder = Path(scratch, str(number))
            folder.mkdir()
            try:
                found = differences(detector, kind, kind.make(folder))
            except Exception as error:
                found = [f"{type(error).__name__}: {error}"]
            ordinary_priority()
            wrong += bool(found)
            verdict = "; ".join(found) or "✓"
            cells = (kind.name, kind.container, kind.codec or "–", kind.geometry, kind.time, kind.sound, verdict)
            print(f"| {' | '.join(cells)} |", flush=True)
    print(f"\n{len(KINDS) - wrong} of {len(KINDS)} kinds are as a player shows and plays them.", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
