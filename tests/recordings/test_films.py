"""Films beside results: which there are, and where on the time line they begin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bimodal.recordings.films import Film, begin_s, films_of
from bimodal.recordings.reading import Clip, Part
from bimodal.recordings.recording import RecordError
from bimodal.recordings.records import SourceRecord, stream_record
from bimodal.workers.film.writer import NANO, FilmWriter
from tests.recordings.events import opened


def film(path: Path, begin: float = 0.0) -> Path:
    path.parent.mkdir(exist_ok=True)
    writer = FilmWriter(path, (16, 16), 25.0, begin_ns=round(begin * NANO))
    writer.picture(round(begin * NANO), np.zeros((16, 16, 3), np.uint8))
    writer.close()
    return path


def test_films_of_a_live_stream_begin_where_they_say(tmp_path: Path) -> None:
    folder = tmp_path / "desk"
    begins = {"2000-0001.mp4": 1.5, "1000-0001-2.mp4": 8.0, "1000-0001.mp4": 0.5}
    later, again, first = (film(folder / name, begin) for name, begin in begins.items())
    (folder / "1000-0002.mp4").write_bytes(b"cut off")
    parts = (
        Part(folder / "1000-0001.jsonl", 1000),
        Part(folder / "1000-0002.jsonl", 1000),
        Part(folder / "2000-0001.jsonl", 2000, offset_s=60.0),
    )
    assert films_of(Clip("desk", folder, parts, live=True)) == [Film(first, 0.5), Film(again, 8.0), Film(later, 61.5)]
    with pytest.raises(RecordError, match="can't be read as a film"):
        begin_s(folder / "1000-0002.mp4")


def test_of_a_file_it_is_the_annotated_copy_else_itself_where_it_lies_there(tmp_path: Path) -> None:
    def clip(file: Path | None) -> Clip:
        source = SourceRecord(name="a.mp4", file=None if file is None else str(file))
        return Clip("a", tmp_path, (), stream=stream_record(opened(), source))

    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "a.avi").write_bytes(b"")
    assert films_of(clip(tmp_path / "a.mp4")) == [Film(tmp_path / "a.mp4", 0.0, drawn=False)]
    assert films_of(clip(tmp_path / "a.avi")) == [], "browsers don't play it"
    assert films_of(clip(tmp_path / "elsewhere" / "a.mp4")) == []
    assert films_of(clip(None)) == []
    (tmp_path / "a.annotated.mp4").write_bytes(b"")
    assert films_of(clip(None)) == [Film(tmp_path / "a.annotated.mp4", 0.0)]
