"""Fixtures every room's tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.media import ordinary_priority

# The same examples in every run, and no limit of time for one of them: a busy machine fails no test.
hypothesis.settings.register_profile("bimodal", derandomize=True, deadline=None)
hypothesis.settings.load_profile("bimodal")

# A shell's background job ignores Ctrl-C, and so would every command that a test starts from it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _ordinary_priority() -> Iterator[None]:
    yield
    ordinary_priority()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with data and models that may not be committed; tests that need it are skipped without it."""
    path = Path(os.environ.get("BIMODAL_SHARED", Path(__file__).parents[1] / ".." / "shared")).resolve()
    if not (path / "data").is_dir():
        pytest.skip(f"needs BIMODAL_SHARED (no data at {path})")
    return path
