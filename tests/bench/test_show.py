"""Tables, pictures and JSON of what the bench found."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bimodal.bench.figures import BenchError, Figure, figure
from bimodal.bench.show import (
    MOST_BARS,
    Found,
    Panel,
    balanced,
    draw,
    most_relevant,
    number,
    panels,
    wanted,
    write_picture,
)
from tests.bench.found import found, outcomes


def shown(result: Found) -> str:
    out = io.StringIO()
    draw(result, Console(file=out, width=160))
    return out.getvalue()


def test_a_table_says_what_was_measured_beside_what_and_whether_it_holds() -> None:
    lines = shown(found()).splitlines()
    whole = next(line for line in lines if line.startswith("the pipeline"))
    assert "190 frames/s" in whole
    assert "188 - 195" in whole
    assert "0.83× of bare [ONNX] Runtime" in whole
    assert "≥ 0.80×, goal 0.90×" in whole
    assert whole.rstrip().endswith("holds")
    slow = next(line for line in lines if line.startswith("added latency"))
    assert "≤ 3 ms" in slow
    assert "does not hold" in slow
    assert any("25.0%" in line for line in lines)
    assert any("A note [b]." in line for line in lines)
    assert any("start could not be measured: no session could be started" in line for line in lines)
    assert any("A Processor (avx2), 2 cores; ONNX Runtime 1.31.1 on cpu" in line for line in lines)
    assert found().broken_floors == ["pipeline: added latency p50"]


def test_what_was_found_survives_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(found()), type=Found) == found()


@given(st.floats(min_value=1e-3, max_value=1e7))
def test_numbers_keep_two_figures_and_no_powers_of_ten(value: float) -> None:
    said = number(value)
    assert "e" not in said
    assert float(said.replace(",", "")) == pytest.approx(value, rel=0.06)


def test_a_floor_without_a_yardstick_is_about_the_value_itself() -> None:
    assert wanted(figure("memory", [90.0], "MiB", floor=130.0, at_most=True)) == "≤ 130 MiB"
    assert wanted(figure("share", [0.5], "share", floor=0.8)) == "≥ 80.0%"
    assert wanted(figure("nothing", [1.0], "ms")) == ""


def test_a_floor_against_nothing_is_neither_held_nor_broken() -> None:
    nothing = figure("yardstick", [0.0], "ms")
    judged = figure("against nothing", [0.5], "ms", against=nothing, floor=1.0, at_most=True)
    assert judged.ratio is None
    assert judged.holds is None


def test_a_picture_shows_every_figure_and_every_curve_once() -> None:
    drawn = panels(outcomes())
    assert [one.name for panel in drawn for one in panel.figures] == [
        one.name for outcome in outcomes() for one in outcome.figures
    ]
    assert [len(panel.curves) for panel in drawn if panel.curves] == [2, 1]


@given(st.lists(st.integers(1, 12), max_size=30))
def test_panels_lie_in_two_columns_in_order(counts: list[int]) -> None:
    def bars(count: int) -> tuple[Figure, ...]:
        return (figure("one", [1.0], "ms"),) * count

    drawn = [Panel(str(place), figures=bars(count)) for place, count in enumerate(counts)]
    columns = balanced(drawn)
    assert [panel for column in columns for panel in column] == drawn
    assert len(columns) <= 2


def test_a_picture_is_written_and_is_no_blank_sheet(tmp_path: Path) -> None:
    write_picture(found(), tmp_path / "found.png")
    picture = cv2.imread(str(tmp_path / "found.png"))
    assert picture is not None
    assert picture.shape[1] > 1200
    assert picture.std() > 5


def test_nothing_to_draw_and_no_place_to_write_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="nothing to draw"):
        write_picture(found(outcomes=()), tmp_path / "found.png")
    with pytest.raises(BenchError, match="can't be written"):
        write_picture(found(), tmp_path / "nowhere" / "found.png")


def test_of_many_figures_those_that_are_judged_are_drawn() -> None:
    many = [figure(f"part {number}", [float(number)], "ms") for number in range(40)]
    bound = figure("bound", [20.0], "ms")
    judged = figure("p99", [10.0], "ms", against=bound, floor=1.0, at_most=True)
    assert [each.name for each in most_relevant((*many, bound, judged))] == ["bound", "p99"]
    assert len(most_relevant(tuple(many))) == MOST_BARS
    assert most_relevant((bound, judged)) == (bound, judged)
