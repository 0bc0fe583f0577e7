"""Rows as Arrow tables: as pyarrow makes them, without pandas."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bimodal.recordings.arrays import arrow_array, arrow_table

CELLS = {
    "string": st.text(max_size=5),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float64": st.floats(allow_nan=False),
    "bool": st.booleans(),
}


@settings(max_examples=30, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(CELLS)))
def test_arrays_are_those_of_pyarrow(data: st.DataObject, name: str) -> None:
    cells = data.draw(st.lists(st.none() | CELLS[name], max_size=20))
    made, wanted = arrow_array(cells, pa.type_for_alias(name)), pa.array(cells, pa.type_for_alias(name))
    made.validate(full=True)
    assert made.equals(wanted)
    assert made.null_count == wanted.null_count


def test_a_table_of_rows_and_one_without_rows() -> None:
    schema = pa.schema([("clip", pa.string()), ("frames", pa.int64())])
    assert arrow_table([("a", 1), ("b", None)], schema).to_pylist() == [
        {"clip": "a", "frames": 1},
        {"clip": "b", "frames": None},
    ]
    assert arrow_table([], schema).num_rows == 0


def test_cells_of_another_type_are_refused() -> None:
    with pytest.raises((TypeError, AttributeError)):
        arrow_array([1], pa.string())
    with pytest.raises(TypeError):
        arrow_array(["1"], pa.float64())
    with pytest.raises(OverflowError):
        arrow_array([2**31], pa.int32())


WRITE = """
import sys
from pathlib import Path
from bimodal.recordings.tables import SEGMENT_COLUMNS, TableFile
from bimodal.corpus.join import join_clip, write_pictures, prune_pictures
from bimodal.corpus.rows import ClipRow
from bimodal.corpus.tables import write_tables
corpus = Path(sys.argv[1])
file = TableFile(corpus / "a.parquet", SEGMENT_COLUMNS)
file.add([(0.0, 1.0, None, "happy", 0.5, 2, "emotion", 0.7, None)])
file.finish()
file.rename()
(corpus / "a.parquet").rename(corpus / "a.segments.parquet")
join_clip(corpus, corpus / "joint", "a", {"who": "x"})
for number, place in enumerate(("a", "b")):
    write_pictures(corpus, number, [(place, {"who": "x"}, (0.0, 1.0, None, "happy", 0.5, 2, "emotion", 0.7, None))],
                   cells=SEGMENT_COLUMNS)
prune_pictures(corpus, lambda table: {"a"})
write_tables(corpus, [ClipRow(clip="a", source="a", file="a", kind="clip", status="done")], [])
sys.exit("pandas" in sys.modules)
"""


def test_writing_tables_imports_no_pandas(tmp_path: object) -> None:
    done = subprocess.run([sys.executable, "-c", WRITE, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
