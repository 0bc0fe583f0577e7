"""The order to the process that annotates a file, and its answers."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bimodal.drawing.style import Style
from bimodal.recordings.films import ANNOTATED
from bimodal.workers.capture.choice import Choice

ENVIRONMENT_KEY = "BIMODAL_FILM"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Paths and style of one annotated film.

    Attributes:
        source, events, film: packed (broker/paths.py).
        landmarks: path of the face-landmarks artifact for a style that draws meshes.
        log: takes the details of a failure.
        parent: pid to die with.
    """

    source: str
    choice: Choice = Choice()
    events: str
    film: str
    style: Style = Style()
    landmarks: str | None = None
    log: str | None = None
    parent: int = 0


class FilmProgress(msgspec.Struct, frozen=True, kw_only=True):
    """A line of stdout: pictures done so far, or why there is no film."""

    pictures: int = 0
    because: str | None = None


# Names of films.


def film_name(name: str) -> str:
    """File name of the annotated film of the results called `name`."""
    return name + ANNOTATED


def part_name(film: Path) -> Path:
    """Temporary path of a film until it is complete."""
    return film.with_name(f".{film.name}.part")
