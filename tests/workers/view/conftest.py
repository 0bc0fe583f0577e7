"""A page that is really served, for each test its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bimodal.broker.sockets import make_private
from tests.workers.view.making import Page


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Starts pages; arguments as of Page."""
    pages: list[Page] = []

    def start(**how: object) -> Page:
        folder = tmp_path / f"s{len(pages)}"
        make_private(folder)
        pages.append(Page(folder, **how))  # type: ignore[arg-type]
        return pages[-1]

    yield start
    for page in pages:
        page.close()
