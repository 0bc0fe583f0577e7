"""The index of recordings: every clip in sight, what failed among them, and no name as markup."""

from __future__ import annotations

from pathlib import Path

from bimodal.recordings.reading import clips
from bimodal.recordings.report.index import number_cell, shares_cell
from bimodal.recordings.report.page import write_reports
from tests.recordings.report.test_page import NOW, felt, read, recorded


def test_each_clip_has_a_row_with_its_report_its_film_and_what_is_wrong(tmp_path: Path) -> None:
    recorded(tmp_path, [felt(seq, "happy") for seq in range(50)], "good")
    recorded(tmp_path, [felt(seq, None) for seq in range(10)], "<b>x")
    (tmp_path / "good.annotated.mp4").write_bytes(b"")
    (tmp_path / "broken.jsonl").write_bytes(b"no event\n")
    paths, problems = write_reports(tmp_path, clips(tmp_path), NOW)
    assert {path.name for path in paths} == {"good.html", "<b>x.html", "index.html"}
    assert len(problems) == 1
    assert "line 1 of" in problems[0]
    page = (tmp_path / "index.html").read_text()
    found = read(page)
    assert page.count('<tr class="failed">') == 1
    assert page.count('<tr class="done">') == 2
    assert '<a href="good.html">good</a>' in page
    assert '<a href="good.annotated.mp4">film</a>' in page
    assert '<a href="%3Cb%3Ex.html">' in page
    assert "b" not in found.tags
    assert problems[0] in found.text
    assert "0:01" in found.text
    assert "img" not in found.tags


def test_one_clip_needs_no_index(tmp_path: Path) -> None:
    recorded(tmp_path, [felt(0, "happy")])
    paths, problems = write_reports(tmp_path, clips(tmp_path), NOW)
    assert ([path.name for path in paths], problems) == (["clip.html"], [])


def test_cells_are_sorted_by_their_values() -> None:
    assert number_cell(1200, "1,200") == '<td class="number" data-n="1200">1,200</td>'
    assert shares_cell({}) == "<td></td>"
    cell = shares_cell({"sad": 0.25, "happy": 0.75})
    assert cell.startswith('<td data-n="0.750">')
    assert "happy 75%, sad 25%" in cell
