"""A plan that measures as little as can be."""

from __future__ import annotations

from pathlib import Path

from bench.plan import Plan
from workers.config import Config, check_config

DEAF = check_config({"models": {"speech": "none"}}, "tests")


def short_plan(folder: Path, config: Config = DEAF) -> Plan:
    """One repeat of a third of a second; without a speech model there is a process less to start."""
    return Plan(
        config=config,
        folder=folder,
        log=None,
        cores=1,
        repeats=1,
        seconds=0.3,
        torch=False,
        mediapipe=None,
        tell=lambda _: None,
    )
