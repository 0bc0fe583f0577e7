"""Where a user's own models and half-finished downloads lie (XDG base directory specification)."""

from __future__ import annotations

import os
from pathlib import Path


def user_models() -> Path:
    """The folder of models that the user fetched or made: $XDG_DATA_HOME/bimodal/models."""
    return _base("XDG_DATA_HOME", ".local/share") / "bimodal" / "models"


def download_cache() -> Path:
    """The folder of downloads that are under way: $XDG_CACHE_HOME/bimodal/downloads."""
    return _base("XDG_CACHE_HOME", ".cache") / "bimodal" / "downloads"


def _base(variable: str, otherwise: str) -> Path:
    """The specification: a relative path in the variable is to be ignored."""
    given = os.environ.get(variable, "")
    return Path(given) if given.startswith("/") else Path.home() / otherwise
