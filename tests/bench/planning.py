"""A plan that measures as little as can be."""

from __future__ import annotations

from pathlib import Path

from bench.plan import Plan
from workers.config import Config


def short_plan(folder: Path, config: Config | None = None) -> Plan:
    """One repeat of a third of a second."""
    return Plan(
        config=config if config is not None else Config(),
        folder=folder,
        log=None,
        cores=1,
        repeats=1,
        seconds=0.3,
        torch=False,
        mediapipe=None,
        tell=lambda _: None,
    )
