"""The joint tables: whole or not at all, read by whatever reads Parquet and CSV, and a page that sorts."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bimodal.corpus.join import pictures_table, prune_pictures, write_table
from bimodal.corpus.rows import TABLE_COLUMNS, of_summary
from bimodal.corpus.tables import MOST_ON_PAGE, columns_of, write_tables
from bimodal.models.emotions import EmotionSet
from bimodal.recordings.summary import Summarizer
from bimodal.recordings.tables import COLUMNS
from tests.corpus.making import item, row_of
from tests.recordings.events import opened

CELLS = {"string": "x", "int32": 1, "int64": 1, "float64": 1.0, "bool": True}


def test_tables_hold_every_clip_with_its_own_columns(tmp_path: Path) -> None:
    rows = [
        row_of(item(tmp_path / "a.mp4", columns={"group": "=1+1"}), share={"happy": 0.25}, models={"speech": "s@1"}),
        row_of(item(tmp_path / "<b>.mp4"), status="failed", reason="it is cut off\nhere"),
    ]
    carried = columns_of(rows)
    write_tables(tmp_path, rows, carried)
    table = pq.read_table(tmp_path / "clips.parquet")
    assert table.column_names == ["clip", "source", "group", *[name for name, _ in TABLE_COLUMNS[2:]]]
    assert table["share_happy"].to_pylist() == [0.25, None]
    assert table["models"].to_pylist() == ["speech=s@1", None]
    with (tmp_path / "clips.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["group"] for line in lines] == ["'=1+1", ""], "no cell is a formula"
    with (tmp_path / "failures.csv").open() as file:
        assert list(csv.DictReader(file)) == [
            {"clip": "<b>", "source": "<b>.mp4", "group": "", "reason": "it is cut off here"}
        ]
    page = (tmp_path / "index.html").read_text()
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert '<a href="../a.summary.json">a</a>' in page
    assert not list(tmp_path.glob(".*.part"))


def test_further_categories_have_their_mean_share(tmp_path: Path) -> None:
    about = EmotionSet(("neutral", "bored"), ("contempt", "calm"))
    rows = [
        row_of(item(tmp_path / "a.mp4"), share={"bored": 1.0}, other={"contempt": 0.125}),
        row_of(item(tmp_path / "b.mp4")),
    ]
    write_tables(tmp_path, rows, [], about=about)
    table = pq.read_table(tmp_path / "clips.parquet")
    assert table["other_contempt"].to_pylist() == [0.125, None]
    assert table["other_calm"].to_pylist() == [None, None]
    with (tmp_path / "clips.csv").open() as file:
        assert [line["other_contempt"] for line in csv.DictReader(file)] == ["0.125", ""]
    assert of_summary(Summarizer(opened(), "a.mp4").summary(0.0))["other"] == {}


def test_nothing_is_replaced_where_writing_fails(tmp_path: Path) -> None:
    write_tables(tmp_path, [row_of(item(tmp_path / "a.mp4"))], [])
    before = (tmp_path / "clips.csv").read_bytes()

    def rows():  # type: ignore[no-untyped-def]
        yield row_of(item(tmp_path / "b.mp4"))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_tables(tmp_path, rows(), [])
    assert (tmp_path / "clips.csv").read_bytes() == before
    assert not list(tmp_path.glob(".*.part"))


def test_a_page_of_many_clips_ends_somewhere(tmp_path: Path) -> None:
    count = MOST_ON_PAGE + 5
    write_tables(tmp_path, (row_of(item(tmp_path / "a.mp4", f"{n:06}")) for n in range(count)), [])
    page = (tmp_path / "index.html").read_text()
    assert page.count("<tr class") == MOST_ON_PAGE
    assert f"of {count} clips" in page


def test_rows_of_pictures_that_count_no_longer_are_dropped(tmp_path: Path) -> None:
    row = tuple(CELLS[column.type] for column in COLUMNS)
    place = tmp_path / "frames/pictures/1.parquet"
    write_table(pictures_table([("a", {"age": "3"}, row), ("b", {}, row), ("b", {}, row)]), place)
    assert pq.read_table(place, columns=["clip", "age"]).to_pylist()[0] == {"clip": "a", "age": "3"}
    prune_pictures(tmp_path, lambda _: {"b"})
    assert pq.read_table(place)["clip"].to_pylist() == ["b", "b"]
    prune_pictures(tmp_path, lambda _: set())
    assert not place.exists()


@pytest.mark.parametrize("reader", ["pandas", "polars", "duckdb"])
def test_data_sets_open_in_one_line(tmp_path: Path, reader: str) -> None:
    if importlib.util.find_spec(reader) is None:
        pytest.skip(f"needs {reader}")
    row = tuple(CELLS[column.type] for column in COLUMNS)
    for name in ("p01/a", "p01/pictures"):
        write_table(pictures_table([("p01/a", {}, row)]), tmp_path / "frames" / f"{name}.parquet")
    if reader == "pandas":
        import pandas

        found = len(pandas.read_parquet(tmp_path / "frames"))
    elif reader == "polars":
        import polars

        found = len(polars.scan_parquet(f"{tmp_path}/frames/**/*.parquet").collect())
    else:
        import duckdb

        ((found,),) = duckdb.sql(f"SELECT count(*) FROM '{tmp_path}/frames/**/*.parquet'").limit(1).fetchall()
    assert found == 2
