"""Colours of the page and the report: one for each name, dark or light enough for the words on them."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from bimodal.models.emotions import EMOTIONS, FURTHER_COLOURS
from bimodal.recordings.report import index
from bimodal.recordings.report.colours import COLOURS, OWN_COLOURS, stylesheet

ROOT = Path(__file__).parents[3]
NAMES = (*EMOTIONS, *FURTHER_COLOURS)
PAGE = (ROOT / "workers/view/page/style.css").read_text()
REPORT = stylesheet()


def schemes(css: str) -> list[dict[str, str]]:
    """The variables of the light scheme, and those of the dark one."""
    light, dark = css.split("prefers-color-scheme: dark", 1)
    found = [dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{3,6})", text)) for text in (light, dark.split("\n}\n")[0])]
    return [found[0], found[0] | found[1]]


def linear(colour: str) -> list[float]:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    values = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    return [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]


def luminance(colour: str) -> float:
    return sum(part * value for part, value in zip((0.2126, 0.7152, 0.0722), linear(colour), strict=True))


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def lab(colour: str) -> tuple[float, float, float]:
    red, green, blue = linear(colour)
    xyz = (
        (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505,
        0.2126 * red + 0.7152 * green + 0.0722 * blue,
        (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089,
    )
    x, y, z = (value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116 for value in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def apart(one: str, other: str) -> float:
    """Distance in CIELAB; from about 2.3 on a difference is seen."""
    return sum((a - b) ** 2 for a, b in zip(lab(one), lab(other), strict=True)) ** 0.5


@pytest.mark.parametrize(
    "scheme", [*schemes(PAGE), *schemes(REPORT)], ids=["page", "page dark", "report", "report dark"]
)
def test_fifteen_names_are_told_apart(scheme: dict[str, str]) -> None:
    for one, other in itertools.combinations(NAMES, 2):
        assert apart(scheme[one], scheme[other]) > 18, (one, other)


@pytest.mark.parametrize("scheme", schemes(PAGE), ids=["light", "dark"])
def test_words_on_the_verdicts_of_the_timeline_are_read(scheme: dict[str, str]) -> None:
    for name in NAMES:
        assert contrast(scheme[name], scheme["panel"]) >= 4.5, name


def test_reports_index_pages_and_plots_have_their_colours_from_one_place() -> None:
    assert stylesheet() in index.STYLE
    told = [*COLOURS.values(), *OWN_COLOURS]
    sources = [path for folder in ("recordings", "bimodal/api") for path in (ROOT / folder).rglob("*.*")]
    named = {
        path.name
        for path in sources
        if path.suffix in (".py", ".css", ".jinja")
        for one in told
        if one in path.read_text()
    }
    assert named == {"colours.py"}
