"""Chaos by hand: `python -m tests.chaos --minutes 30 --seed 7` prints every blow, and a table at the end.

`--kills 40` kills so many processes of a `bimodal analyze` instead, and counts the frames that are lost.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.chaos.every import kill_while_it_looks
from tests.chaos.footprint import grown
from tests.chaos.run import attack_for
from tests.chaos.table import table

SECONDS_A_KILL = 4.0


def main() -> int:
    """Run it: exit code 0 where the system survived, nothing has grown, and nothing was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bimodal-chaos-") as name:
        folder = Path(name)
        if wanted.kills:
            kept = kill_while_it_looks(folder, wanted.seed, wanted.kills, SECONDS_A_KILL * wanted.kills)
            print(kept)
            return 0 if kept.whole else 1
        found = attack_for(folder, wanted.seed, 60 * wanted.minutes, tell=lambda line: print(line, flush=True))
    print(table(found))
    return 1 if grown(found.before, found.after) or found.left else 0


if __name__ == "__main__":
    raise SystemExit(main())
