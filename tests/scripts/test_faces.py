"""`faces`: every figure of what looking for faces costs, from real runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.measure.faces import FOLLOWED, LIVE_EMPTY, LIVE_FACE, SMALLEST, close_face, figures, measure
from tests.bench.planning import short_plan


def test_every_figure_is_measured(tmp_path: Path) -> None:
    found = {figure.name: figure for figure in measure(short_plan(tmp_path)).figures}
    assert len(found) == 5 + len(SMALLEST)
    assert all(figure.value > 0 for figure in found.values())
    assert found[LIVE_EMPTY].against is not None
    assert found[LIVE_FACE].against is not None
    assert close_face().shape == (720, 1280, 3)


def test_live_figures_stand_beside_those_of_files() -> None:
    found = figures({"a file, one close face": [10.0, 12.0], LIVE_FACE: [5.5], FOLLOWED: [4.4]})
    assert [figure.ratio for figure in found] == [None, pytest.approx(0.5), pytest.approx(0.8)]
