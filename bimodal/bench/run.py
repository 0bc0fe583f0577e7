"""A whole run of the bench: its parts one after another, and all that it found as one value."""

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
    """All that a run found, as `--json` writes it.

    Attributes:
        at: when it began, ISO 8601.
        repeats, seconds: how it measured.
        outcomes: of the parts that could be measured, in their order.
        failed: of those that could not: the sentence, by part.
    """

    at: str
    machine: Machine
    repeats: int
    seconds: float
    outcomes: tuple[Outcome, ...]
    failed: dict[str, str] = {}

    @property
    def broken_floors(self) -> list[str]:
        """The names of the figures whose floor does not hold, each behind its part's."""
        return [
            f"{outcome.part}: {figure.name}"
            for outcome in self.outcomes
            for figure in outcome.figures
            if figure.holds is False
        ]


def measure(plan: Plan, parts: Mapping[str, Part], machine: Machine, at: str) -> Found:
    """Measure these parts. One that can't be measured costs its sentence; the others go on."""
    outcomes: dict[str, Outcome] = {}
    failed: dict[str, str] = {}
    for number, (name, part) in enumerate(parts.items(), 1):
        plan.tell(f"{name} ({number} of {len(parts)}): {part.tells}")
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
