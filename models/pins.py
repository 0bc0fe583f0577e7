"""Checksums of files that nobody could look at before: the first fetch pins them, later ones must agree."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bimodal.models.errors import CatalogError
from bimodal.models.install import put

FILE = "pins.json"


def pinned(folder: Path) -> dict[str, str]:
    """Address → sha256 of what was fetched from it. Raises CatalogError where the file is damaged."""
    path = folder / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        raise CatalogError(f"{path} can't be read: {error}; delete it to pin every file anew") from error


def remember(folder: Path, url: str, sha256: str) -> None:
    """Pin what was fetched from an address."""
    folder.mkdir(parents=True, exist_ok=True)
    put(msgspec.json.format(msgspec.json.encode({**pinned(folder), url: sha256}), indent=2), folder / FILE)
