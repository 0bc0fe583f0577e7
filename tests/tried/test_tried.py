"""Every kind of recording is looked at as a player shows and plays it. `python -m tests.tried` prints the table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import bimodal
from tests.tried.kinds import KINDS, Kind
from tests.tried.looking import differences

PAGE = Path(__file__).parents[2] / "docs" / "tried.md"
QUICK = {"MP4", "AVI with B-frames", "16:9 DV size", "mirrored", "HEIC in tiles", "two tracks of each", "EXIF 5"}


@pytest.fixture(scope="module")
def detector() -> Iterator[bimodal.Detector]:
    with bimodal.Detector() as opened:
        yield opened


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, id=kind.name, marks=() if kind.name in QUICK else pytest.mark.slow) for kind in KINDS],
)
def test_as_a_player_has_it(detector: bimodal.Detector, tmp_path: Path, kind: Kind) -> None:
    assert differences(detector, kind, kind.make(tmp_path)) == []


def test_the_page_names_every_kind() -> None:
    named = set(re.findall(r"^\| ([^|]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert {kind.name for kind in KINDS} <= named
    assert len(KINDS) >= 50
