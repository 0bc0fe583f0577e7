"""What the process that annotates a file is told, and what it answers."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bimodal.drawing.style import Style

ENVIRONMENT_KEY = "BIMODAL_FILM"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be made of what; `log` takes the details of a failure, `parent` is who must live."""

    source: str
    events: str
    film: str
    max_height: int
    style: Style = Style()
    log: str | None = None
    parent: int = 0


class FilmProgress(msgspec.Struct, frozen=True, kw_only=True):
    """A line of stdout."""

    pictures: int = 0
    because: str | None = None


# What films are called.


ANNOTATED = ".annotated.mp4"


def film_name(name: str) -> str:
    """The annotated film of the results called NAME."""
    return name + ANNOTATED


def part_name(film: Path) -> Path:
    """The name a film has until it is complete."""
    return film.with_name(f".{film.name}.part")
