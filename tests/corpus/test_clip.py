"""The work on one clip: its price is its own, and what killed workers leave is gone after the next run."""

from __future__ import annotations

import contextlib
import os
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

from bimodal.config import Config
from bimodal.corpus.clip import ClipWorker
from bimodal.corpus.run import CorpusRequest, Run
from tests.media import noise

_listed: list[str] | None = None


def _on_event(event: str, arguments: tuple[object, ...]) -> None:
    if _listed is not None and event in ("os.scandir", "os.listdir"):
        _listed.append(os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes | Path) else "")


sys.addaudithook(_on_event)


@contextlib.contextmanager
def listings() -> Iterator[list[str]]:
    """The folders that are listed meanwhile."""
    global _listed
    _listed = found = []
    try:
        yield found
    finally:
        _listed = None


LEFT = ("one.jsonl.4711-1000", "gone.html.4711-1000", "gone.csv")
"""Temporary results of dead runs, without dot and `.part`: of a clip's lines, of a page, of 0.2."""


def test_a_clip_costs_the_same_however_many_files_lie_beside_it(tmp_path: Path) -> None:
    study, out = tmp_path / "study", tmp_path / "out"
    study.mkdir()
    for name in ("one", "two"):
        with wave.open(str(study / f"{name}.wav"), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes((noise(0.5, 16000) * 9000).astype("<i2").tobytes())
    (study / "broken.wav").write_bytes(b"no sound")
    places = [out, *(out / "corpus" / kind for kind in ("frames", "speech", "segments"))]
    for place in places:
        place.mkdir(parents=True)
        for name in LEFT:
            (place / f".{name}.part").touch()
    (out / ".film.annotated.mp4.part").touch()
    run = Run(CorpusRequest(given=(str(study),), out=str(out)), Config())
    try:
        run.plan()
        settings = run.worker_settings()
        assert [path.name for place in places for path in place.glob(".*")] == [".film.annotated.mp4.part"]
        worker = ClipWorker(settings)
        # As of a worker that is killed now, whose clips another one does.
        (out / ".one.csv.4711-1000.part").touch()
        with listings() as listed:
            while (task := run.next_task()) is not None:
                run.on_done(worker.run(task))
        assert {Path(one) for one in listed if out in Path(one).parents or Path(one) == out} <= {out / "corpus/journal"}
        worker.close()
        run.work()
        assert (run.count.done, run.count.failed) == (2, 1)
        assert [path.name for path in out.rglob(".*.part")] == [".film.annotated.mp4.part"]
    finally:
        run.close()
