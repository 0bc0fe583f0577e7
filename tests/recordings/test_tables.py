"""Cells of the CSV tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bimodal.models.emotions import EMOTIONS
from bimodal.recordings.tables import COLUMNS, HOP_COLUMNS, SEGMENT_COLUMNS, csv_cell


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_text_is_no_formula(start: str) -> None:
    assert str(csv_cell(f"{start}HYPERLINK(1)")).startswith("'")


def test_numbers_and_other_text_stay_as_they_are() -> None:
    assert [csv_cell(cell) for cell in (-1, -0.5, "a=b", None)] == [-1, -0.5, "a=b", None]


def test_every_column_is_explained_in_the_docs() -> None:
    text = (Path(__file__).parents[2] / "docs/events.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z]\w*)`", text))
    missing = []
    for column in (*COLUMNS, *HOP_COLUMNS, *SEGMENT_COLUMNS):
        group, _, rest = column.name.partition("_")
        family = rest in EMOTIONS and f"`{group}_" in text
        family |= group == "blend" and rest in named
        # Of a voice, the table names the key and the first and last column of the group.
        family |= group == "voice" and rest in named
        if column.name not in named and not family:
            missing.append(column.name)
    assert missing == []
