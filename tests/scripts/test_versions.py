"""Two checkouts in turn: medians, and ratios of pairs."""

from __future__ import annotations

from scripts.measure.versions import lines


def test_each_case_has_a_row_with_the_ratio_of_its_pairs() -> None:
    head, row = lines({"live, an empty room": ([2.0, 4.0, 3.0], [1.0, 1.0, 1.5])})
    assert head.split() == ["CPU", "ms", "a", "frame", "old", "new", "new", "/", "old"]
    assert row.split(maxsplit=4)[4].split() == ["3.00", "1.00", "0.50", "×", "(0.25", "–", "0.50)"]
