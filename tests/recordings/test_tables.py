"""Cells of the CSV tables."""

from __future__ import annotations

import pytest

from bimodal.recordings.tables import _text


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_text_is_no_formula(start: str) -> None:
    assert str(_text(f"{start}HYPERLINK(1)")).startswith("'")


def test_numbers_and_other_text_stay_as_they_are() -> None:
    assert [_text(cell) for cell in (-1, -0.5, "a=b", None)] == [-1, -0.5, "a=b", None]
