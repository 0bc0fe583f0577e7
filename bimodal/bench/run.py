"""A run of the bench: its parts one after another, and all results as one value."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

import msgspec

from bimodal.bench.figures import Outcome
from bimodal.bench.machine import Machine
from bimodal.bench.plan import Part, Plan
from bimodal.errors import BimodalError

log = logging.getLogger(__name__)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """All results of a run, as `--json` writes them.

    Attributes:
        at: start, ISO 8601.
        repeats, seconds: as in the plan.
        outcomes: of the parts that could be measured, in their order.
        failed: the error message of each part that could not, by part.
    """

    at: str
    machine: Machine
    repeats: int
    seconds: float
    outcomes: tuple[Outcome, ...]
    failed: dict[str, str] = {}

    @property
    def broken_floors(self) -> list[str]:
        """The names of the figures whose floor does not hold, prefixed with their part's."""
        return [
            f"{outcome.part}: {figure.name}"
            for outcome in self.outcomes
            for figure in outcome.figures
            if figure.holds is False
        ]


def measure(plan: Plan, parts: Mapping[str, Part], machine: Machine, at: str) -> Found:
    """Measure these parts. An error of one is kept as its message; the others go on."""
    outcomes: dict[str, Outcome] = {}
    failed: dict[str, str] = {}
    for number, (name, part) in enumerate(parts.items(), 1):
        plan.progress(f"{name} ({number} of {len(parts)}): {part.description}")
        begun = time.monotonic()
        try:
            found = part.measure(plan)
        except BimodalError as error:
            log.info("%s: %s", name, error, exc_info=error)
            failed[name] = str(error)
            continue
        except Exception as error:
            log.exception("%s: an error of our own", name)
            failed[name] = f"{name} met an unexpected {type(error).__name__}; the log has the details"
            continue
        outcomes[name] = msgspec.structs.replace(found, seconds=round(time.monotonic() - begun, 1))
    return Found(
        at=at,
        machine=machine,
        repeats=plan.repeats,
        seconds=plan.seconds,
        outcomes=tuple(outcomes.values()),
        failed=failed,
    )
