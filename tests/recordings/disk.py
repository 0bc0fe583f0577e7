"""Temporary files of a recording in tests: their names without the run's tag, and one that lies on a full disk."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bimodal.recordings import parts, tables


def names(folder: Path) -> list[str]:
    """The names in a folder, in order; those of temporary files without the tag of their run."""
    return sorted(re.sub(r"\.\d+-\d+\.part$", ".part", path.name) for path in folder.iterdir())


def temporary(folder: Path, name: str) -> Path:
    """The temporary file of a name."""
    (found,) = folder.glob(f".{name}.*.part")
    return found


def fill_disk(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """From now on the temporary file of a name lies on a disk without room."""
    ordinary = parts.part_path

    def part_path(final: Path) -> Path:
        part = ordinary(final)
        if final.name == name:
            part = part.with_name(f"full {final.name}")
            if not part.is_symlink():
                part.symlink_to("/dev/full")
        return part

    monkeypatch.setattr(parts, "part_path", part_path)
    monkeypatch.setattr(tables, "part_path", part_path)
