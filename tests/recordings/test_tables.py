"""Cells of the CSV tables."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bimodal.broker.events import Speech, Verdict
from bimodal.models.emotions import EMOTIONS, SEVEN, EmotionSet
from bimodal.recordings.arrays import arrow_table
from bimodal.recordings.tables import (
    COLUMNS,
    HOP_COLUMNS,
    SEGMENT_COLUMNS,
    SMALL,
    TableFile,
    csv_cell,
    frame_columns,
    hop_columns,
    rows,
    schema,
)
from tests.recordings.events import event


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
