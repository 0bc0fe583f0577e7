"""What films are called."""

from __future__ import annotations

from pathlib import Path

ANNOTATED = ".annotated.mp4"


def film_name(name: str) -> str:
    """The annotated film of the results called NAME."""
    return name + ANNOTATED


def part_name(film: Path) -> Path:
    """The name a film has until it is complete."""
    return film.with_name(f".{film.name}.part")
