"""Temporary files: locked while they are written, swept when their run is dead."""

from __future__ import annotations

from pathlib import Path

from bimodal.recordings.parts import PartFile, part_path, replace_text, sweep_folder

DEAD = (".a.jsonl.4711-1000.part", ".a b.summary.json.4711-1000.part", ".a.html.4711-1000.part", ".a.csv.part")
OTHERS = (".a.annotated.mp4.part", ".notes.part", "a.csv.part", "a.jsonl", ".a.jsonl.4711-1000")


def test_a_folder_is_swept_of_dead_runs_only(tmp_path: Path) -> None:
    for name in (*DEAD, *OTHERS):
        (tmp_path / name).touch()
    living = PartFile(tmp_path / "b.csv")
    sweep_folder(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*OTHERS, living.part.name}
    living.discard()
    sweep_folder(tmp_path / "missing")


def test_a_small_file_is_replaced_whole_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    for data in (b"old", b"new" * 100_000):
        replace_text(path, data)
        assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]
    assert part_path(path).name.startswith(".page.html.")
