"""`bimodal.analyze` and what it returns."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import bimodal
from tests.media import scene, speech

RESULTS = {"talking.csv", "talking.jsonl", "talking.parquet", "talking.session.json", "talking.summary.json"}
RESULTS |= {"talking.segments.csv", "talking.segments.parquet"}
RESULTS |= {"talking.speech.csv", "talking.speech.jsonl", "talking.speech.parquet"}


@pytest.fixture(scope="module")
def result(clips: dict[str, Path]) -> bimodal.Result:
    return bimodal.analyze(clips["talking"])


def test_one_event_a_frame_and_the_table_of_the_parquet_file(
    result: bimodal.Result, clips: dict[str, Path], tmp_path: Path
) -> None:
    again = bimodal.analyze(clips["talking"], out=tmp_path)
    assert [event.seq for event in result.events] == list(range(60))
    assert {path.name for path in tmp_path.iterdir()} == RESULTS
    drop = [name for name in result.frames.column_names if name.startswith("latency_")]
    written = pq.read_table(tmp_path / "talking.parquet").drop_columns(drop)
    assert again.frames.drop_columns(drop).equals(written)
    assert result.frames.drop_columns(drop).equals(written)
    assert "60 events" in repr(result)


def test_segments_are_stretches_with_one_label(result: bimodal.Result) -> None:
    rows = result.segments.to_pylist()
    assert rows
    assert set(rows[0]) == {"start", "end", "track", "label", "confidence", "frames", "kind", "peak", "channel"}
    for row in rows:
        assert row["end"] > row["start"]
        assert 0 < row["confidence"] <= 1
    faces = sum(row["frames"] for row in rows if row["kind"] == "face")
    assert faces == sum(len(event.faces) for event in result.events)


def test_data_frames_or_the_sentence_what_is_missing(result: bimodal.Result) -> None:
    for package, convert in (("pandas", result.to_pandas), ("polars", result.to_polars)):
        if importlib.util.find_spec(package) is None:
            with pytest.raises(bimodal.errors.WorkerError, match=f"pip install {package}"):
                convert()
        else:
            assert len(convert()) == result.frames.num_rows


def test_the_plot_shows_all_rows(result: bimodal.Result, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = result.plot()
    assert [axis.get_ylabel() for axis in figure.axes] == ["fused", "video", "speech", "agreement"]
    figure.savefig(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000
    bimodal.Result("empty", []).plot().savefig(tmp_path / "empty.png")


def test_arrays_are_analysed_without_files() -> None:
    sound, rate = speech(1.0)
    seen = bimodal.analyze(np.stack([scene(1, n / 25) for n in range(8)]), fps=25, sound=sound, rate=rate)
    assert len(seen) == 8
    assert len(bimodal.analyze(sound, rate=rate)) == 2


def test_report_and_film_are_written_beside_the_results(clips: dict[str, Path], tmp_path: Path) -> None:
    bimodal.analyze(clips["talking"], out=tmp_path, report=True, annotate=True, hide_faces=True)
    assert {path.name for path in tmp_path.iterdir()} == RESULTS | {"talking.html", "talking.annotated.mp4"}


@pytest.mark.parametrize(
    ("source", "options", "kind", "sentence"),
    [
        ("none.mp4", {}, "SourceError", "there is no file"),
        ("none.mp4", {"report": True}, "WorkerError", "name the folder as out="),
        ("none.mp4", {"fps": 25}, "SourceError", "go with arrays"),
        ("none.mp4", {"config": {"face": {"max_fases": 1}}}, "ConfigError", "did you mean 'max_faces'"),
        ("none.mp4", {"config": "none.yaml"}, "ConfigError", "none.yaml"),
        (np.zeros(1600, np.float32), {"rate": 16_000, "out": "x"}, "WorkerError", "go with a media file"),
    ],
)
def test_what_can_not_be_is_an_error_of_ours(
    source: object, options: dict[str, object], kind: str, sentence: str
) -> None:
    with pytest.raises(getattr(bimodal.errors, kind), match=sentence):
        bimodal.analyze(source, **options)  # type: ignore[arg-type]
