"""Action units derived from blendshapes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.models.faces.units import BLENDSHAPES, SIDES, UNITS, units_of


def test_the_mean_of_both_sides_stands_for_a_unit() -> None:
    found = units_of({"mouthSmileLeft": 0.2, "mouthSmileRight": 0.6, "jawOpen": 0.5, "mouthUpperUpLeft": 0.1})
    assert found["au12_derived"] == pytest.approx(0.4)
    assert found["au25_derived"] == found["au26_derived"] == 0.5
    assert "au1_derived" not in found


def test_every_source_is_a_blendshape_and_every_unit_is_in_the_docs() -> None:
    names = {side_of for sources in UNITS.values() for one in sources for side_of in _sides(one)}
    assert names <= set(BLENDSHAPES)
    assert len(BLENDSHAPES) == 51
    table = (Path(__file__).parents[3] / "docs/events.md").read_text(encoding="utf-8")
    assert set(UNITS) <= set(re.findall(r"au\d+_derived", table))
    assert [name for name in BLENDSHAPES if f"`{name}`" not in table] == []


def _sides(source: str) -> list[str]:
    return [source.replace("…", side) for side in SIDES] if source.endswith("…") else [source]


@given(st.dictionaries(st.sampled_from(BLENDSHAPES), st.floats(0, 1)))
def test_units_lie_between_0_and_1(blend: dict[str, float]) -> None:
    assert all(0 <= value <= 1 for value in units_of(blend).values())
