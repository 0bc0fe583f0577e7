"""An API that is really served, for each test its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bimodal.broker.sockets import make_private
from bimodal.workers.http_api import analyses
from tests.workers.http_api.making import FAKE_CLIPS, Served


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Served]]:
    """Starts APIs; arguments as of Served, `session=False` for one without a running system."""
    monkeypatch.setattr(analyses, "WORKER_MODULE", FAKE_CLIPS)
    started: list[Served] = []

    def start(*, session: bool = True, **how: Any) -> Served:
        directory = tmp_path / f"s{len(started)}"
        if session:
            make_private(directory)
        started.append(Served(directory if session else None, **how))
        return started[-1]

    yield start
    for one in started:
        one.close()
