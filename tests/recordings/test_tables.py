"""Cells of the CSV tables."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from bimodal.broker.events import FaceMeasures, Speech, Verdict
from bimodal.models.emotions import EMOTIONS, SEVEN, EmotionSet
from bimodal.recordings.arrays import arrow_table
from bimodal.recordings.tables import (
    COLUMNS,
    HOP_COLUMNS,
    SEGMENT_COLUMNS,
    SMALL,
    TableFile,
    csv_cell,
    csv_header,
    csv_lines,
    frame_columns,
    hop_columns,
    rows,
    schema,
)
from tests.recordings.events import event, face


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_text_is_no_formula(start: str) -> None:
    assert str(csv_cell(f"{start}HYPERLINK(1)")).startswith("'")


def test_numbers_and_other_text_stay_as_they_are() -> None:
    assert [csv_cell(cell) for cell in (-1, -0.5, "a=b", None)] == [-1, -0.5, "a=b", None]


def test_booleans_are_written_as_in_json() -> None:
    assert [csv_cell(cell) for cell in (True, False)] == ["true", "false"]


def test_csv_and_parquet_read_back_equal(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    shut = [msgspec.structs.replace(face(track=n), face=FaceMeasures(eyes_closed=n > 1)) for n in (1, 2)]
    heard = Speech(label="sad", probabilities={"sad": 1.0}, voice=0.8, age_ms=120.0)
    events = [event(0, faces=shut), event(1, heard=heard), event(2, faces=shut[:1], failed="a frame, lost\ntwice")]
    (tmp_path / "x.csv").write_bytes(csv_header() + b"".join(csv_lines(rows(one)) for one in events))
    table = TableFile(tmp_path / "x.parquet")
    table.add([row for one in events for row in rows(one)])
    table.finish()
    table.rename()
    with (tmp_path / "x.csv").open() as file:
        assert [row["eyes_closed"] for row in csv.DictReader(file)] == ["false", "true", "", "false"]
    typed = pandas.read_parquet(tmp_path / "x.parquet")
    given = pandas.read_csv(tmp_path / "x.csv", keep_default_na=False, na_values=[""])
    typed = typed[[column for column in typed if column in given]]
    typed["failed"] = typed["failed"].str.replace("\n", " ")
    assert [column.name for column in COLUMNS if column.csv] == list(typed) == list(given)
    shut_read = [frame.pop("eyes_closed").astype("boolean") for frame in (given, typed)]
    pandas.testing.assert_series_equal(*shut_read)
    pandas.testing.assert_frame_equal(given, typed.round(6), check_dtype=False)


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


OWN = EmotionSet(("neutral", "bored"), ("contempt",), dominance=True)


def test_a_set_of_ones_own_has_columns_of_its_own() -> None:
    names = [column.name for column in frame_columns(OWN)]
    plain = [column.name for column in COLUMNS]
    assert [name for name in names if name.startswith("fused_")] == ["fused_neutral", "fused_bored"]
    further = ["other_contempt", "video_other_contempt", "speech_other_contempt", "emotion_other_contempt"]
    further += ["speech_dominance"]
    assert [name for name in names if name not in plain and not name.endswith("_bored")] == further
    assert set(plain) - set(names) == {
        f"{group}_{emotion}"
        for group in ("static", "dynamic", "video", "fused", "speech", "emotion")
        for emotion in EMOTIONS[1:]
    }
    assert [column.name for column in hop_columns(OWN)][-3:] == [
        "speech_other_contempt",
        "speech_dominance",
        "model_speech",
    ]


def test_cells_of_categories_and_dominance() -> None:
    verdict = Verdict(
        label="bored", confidence=0.7, probabilities={"neutral": 0.3, "bored": 0.7}, other={"contempt": 0.2}
    )
    voice = Speech(label="bored", probabilities={"bored": 1.0}, voice=1.0, age_ms=1.0, dominance=-0.5)
    for about, wanted in ((OWN, (0.7, 0.2, None, -0.5)), (SEVEN, (None, None, None, None))):
        columns = frame_columns(about)
        (row,) = rows(event(0, verdict=verdict, heard=voice), columns)
        cells = dict(zip([column.name for column in columns], row, strict=True))
        names = ("emotion_bored", "emotion_other_contempt", "speech_other_contempt", "speech_dominance")
        assert tuple(cells.get(name) for name in names) == wanted


@pytest.mark.parametrize(("count", "coded"), [(0, None), (SMALL, "SNAPPY"), (SMALL + 1, "ZSTD")])
def test_a_table_is_written_whole_whatever_its_size(tmp_path: Path, count: int, coded: str | None) -> None:
    file = TableFile(tmp_path / "a.parquet")
    table = [row for number in range(count) for row in rows(event(number))]
    file.add(table)
    file.finish()
    file.rename()
    with pq.ParquetFile(tmp_path / "a.parquet") as read:
        assert read.read().equals(arrow_table(table, schema()))
        assert read.schema_arrow.metadata[b"bimodal.schema"] == b"1"
        coding = {read.metadata.row_group(0).column(0).compression} if count else {None}
    assert coding == {coded}
    assert file.whole is not None
    assert file.whole.num_rows == count
