"""A plan that measures as little as can be."""

from __future__ import annotations

from pathlib import Path

from bimodal.bench.plan import Plan
from bimodal.config import Config, check_config

DEAF = check_config({"models": {"speech": "none"}}, "tests")


def short_plan(folder: Path, config: Config = DEAF, cores: int = 1, seconds: float = 0.3) -> Plan:
    """One repeat of a third of a second; without a speech model there is a process less to start."""
    return Plan(
        config=config,
        folder=folder,
        log=None,
        cores=cores,
        repeats=1,
        seconds=seconds,
        progress=lambda _: None,
    )
