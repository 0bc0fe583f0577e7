"""Results at an address: whole objects, the summary last; and whole runs against a server of S3."""

from __future__ import annotations

import csv
import importlib.util
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pyarrow.parquet as pq
import pytest

import bimodal
from bimodal.corpus.lease import Lease
from bimodal.corpus.results import CORPUS
from bimodal.corpus.store import Store, StoreError
from bimodal.recordings.recording import SUMMARY
from bimodal.recordings.records import CLIP_SUFFIX
from tests.corpus.corpora import without_latency
from tests.corpus.object_server import BUCKET, object_server
from tests.end_to_end.driving import PATIENCE_S, Driven, run
from tests.media import face_clip, scene

pytest.importorskip("fsspec")

# Objects, in memory.


@pytest.fixture
def store() -> Iterator[Store]:
    found = Store("memory://results/out/")
    yield found
    found.system.rm("/", recursive=True)


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def test_a_clips_summary_goes_first_and_comes_last_and_its_source_is_said_before_all_else(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = ("p/a.csv", "p/a.jsonl", f"p/a{CLIP_SUFFIX}", f"p/a{SUMMARY}", "p/a.parquet", "corpus/frames/p/a.parquet")
    make(tmp_path, *results, "corpus/claims/x.claim")
    make(tmp_path, "corpus/journal/x.jsonl", "p/.a.jsonl.1-1.part")
    store.put("corpus/speech/p/a.parquet", b"of an earlier run, which had sound")
    store.put(f"p/a{SUMMARY}", b"old")
    order: list[str] = []
    remove, put = Store.remove, Store.put_files

    def removing(self: Store, names: Any) -> None:
        names = list(names)
        order.extend(f"- {name}" for name in names)
        remove(self, names)

    def putting(self: Store, folder: Path, names: Any) -> None:
        order.extend(f"+ {name}" for name in names)
        put(self, folder, names)

    monkeypatch.setattr(Store, "remove", removing)
    monkeypatch.setattr(Store, "put_files", putting)
    store.put_results(tmp_path)
    assert order[0] == f"- p/a{SUMMARY}"
    assert next(step for step in order if step.startswith("+")) == f"+ p/a{CLIP_SUFFIX}", "says whose they are"
    assert order[-1] == f"+ p/a{SUMMARY}"
    assert sorted(store.system.find(store.path(""))) == sorted(store.path(name) for name in results)


def test_what_is_there_is_known_once_it_is_listed(store: Store, tmp_path: Path) -> None:
    make(tmp_path, f"p/a{SUMMARY}", "p/a.parquet", "corpus/frames/pictures/1.parquet")
    store.put_results(tmp_path)
    assert not store.exists(f"p/a{SUMMARY}")
    store.look()
    assert store.exists(f"p/a{SUMMARY}")
    assert store.tables_of_pictures() == ["frames/pictures/1.parquet"]
    assert store.files_in("p") == ["a.parquet", f"a{SUMMARY}"]
    assert store.files_in("nowhere") == []
    assert store.read("p/none") is None
    store.remove([f"p/a{SUMMARY}", "p/none"])
    assert not store.exists(f"p/a{SUMMARY}")


def test_an_object_is_created_once(store: Store) -> None:
    assert store.create("lease", b"1")
    assert not store.create("lease", b"2")
    assert store.read("lease") == b"1"


def test_a_store_that_does_not_work_is_said(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ConnectionError("nobody answers")

    monkeypatch.setattr(store.system, "pipe_file", broken)
    with pytest.raises(StoreError, match=r"^memory://results/out can't be written \(a\): nobody answers"):
        store.put("a", b"")
    with pytest.raises(StoreError, match="wrong://x can't be used"):
        Store("wrong://x")


# Whole runs, against a server.

pytestmark: list[pytest.MarkDecorator] = []
needs_server = pytest.mark.skipif(
    importlib.util.find_spec("moto") is None or importlib.util.find_spec("s3fs") is None, reason="needs moto and s3fs"
)
SOURCES, RESULTS = f"s3://{BUCKET}/clips", f"s3://{BUCKET}/results"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for number in range(3):
        face_clip(folder / f"take{number}.mp4", 0.3 + 0.1 * number, voice=number == 0)
    (folder / "broken.mp4").write_bytes(b"no media" * 100)
    for number in range(3):
        cv2.imwrite(str(folder / f"face{number}.png"), scene(number, number / 10, 320, 180)[..., ::-1])
    return folder


@pytest.fixture(scope="module")
def server(clips: Path) -> Iterator[Any]:
    with object_server() as system:
        for path in clips.iterdir():
            system.put_file(str(path), f"{BUCKET}/clips/p{path.stem[-1]}/{path.name}")
        yield system


def table(system: Any, out: str) -> dict[str, dict[str, str]]:
    text = system.cat_file(f"{out}/{CORPUS}/clips.csv").decode()
    return {row["clip"]: row for row in csv.DictReader(io.StringIO(text))}


def check(system: Any, out: str, clips: Path, detector: bimodal.Detector) -> None:
    """All clips are there, once, with the detector's events; nothing of the run itself is left."""
    found = table(system, out)
    done = {clip for clip, row in found.items() if row["status"] == "done"}
    assert done == {"p0/take0", "p1/take1", "p2/take2", "p0/face0", "p1/face1", "p2/face2"}
    assert "pn/broken" in found
    frames = pq.read_table(f"{out.removeprefix('s3://')}/{CORPUS}/frames", filesystem=system)
    keys = list(zip(*(frames[name].to_pylist() for name in ("clip", "seq", "track")), strict=True))
    assert len(keys) == len(set(keys)), "no row twice"
    assert {clip for clip, _, _ in keys} == done
    names = [name.rpartition("/")[2] for name in system.find(f"{out}/{CORPUS}")]
    assert "lease.json" not in names
    assert [name for name in names if name.endswith(".jsonl")] == ["merged.jsonl"]
    for number in range(3):
        lines = system.cat_file(f"{out}/p{number}/take{number}.jsonl").splitlines()
        wanted = detector.events(clips / f"take{number}.mp4", name=f"take{number}")
        events = [event for event in wanted if isinstance(event, bimodal.Emotion)]
        from bimodal.recordings.tables import event_line

        assert [without_latency(line) for line in lines] == [without_latency(event_line(event)) for event in events]


@needs_server
def test_a_run_that_is_killed_goes_on_and_every_clip_is_put_once(server: Any, clips: Path) -> None:
    with Driven("analyze", SOURCES, "--out", RESULTS) as driven:
        end = time.monotonic() + PATIENCE_S
        while not server.glob(f"{RESULTS}/p*/*{SUMMARY}") and driven.process.poll() is None:
            server.invalidate_cache()
            assert time.monotonic() < end
            time.sleep(0.05)
        driven.process.kill()
    code, said, errors = run("analyze", SOURCES, "--out", RESULTS)
    assert code == 1, errors
    assert "1 failed" in said
    assert f"→ {RESULTS}/" in said
    assert "Traceback" not in errors
    server.invalidate_cache()
    with bimodal.Detector() as detector:
        check(server, RESULTS, clips, detector)

    # Once more: nothing is done again. A source that was put again with the same bytes is the same, with others not.
    server.put_file(str(clips / "take1.mp4"), f"{BUCKET}/clips/p1/take1.mp4")
    server.pipe_file(f"{BUCKET}/clips/p2/take2.mp4", (clips / "take1.mp4").read_bytes())
    before = {name: info["LastModified"] for name, info in server.find(f"{RESULTS}/p1", detail=True).items()}
    code, said, errors = run("analyze", SOURCES, "--out", RESULTS)
    assert "p2/take2.mp4 has changed since its results were made; --overwrite replaces them" in errors
    assert "5 done before, 1 failed, 1 refused" in said
    server.invalidate_cache()
    assert before == {name: info["LastModified"] for name, info in server.find(f"{RESULTS}/p1", detail=True).items()}
    server.put_file(str(clips / "take2.mp4"), f"{BUCKET}/clips/p2/take2.mp4")
    result = bimodal.analyze_corpus(SOURCES, out=RESULTS)
    assert result.count.before == 6
    assert result.clips.num_rows == 7
    assert result.frames.count_rows() > 10


@needs_server
def test_two_drivers_at_one_address_are_one_too_many(server: Any) -> None:
    # The first driver's lease is held here, without its clips: a run would end, and give it back, at its own moment.
    lease = Lease(Store(f"{RESULTS}2"))
    lease.take()
    try:
        code, _, errors = run("analyze", SOURCES, "--out", f"{RESULTS}2")
        assert code == 1
        assert "results at an address have one driver at a time" in errors
        assert lease.lost is None
    finally:
        lease.close()


@needs_server
def test_addresses_of_files_folders_globs_and_lists_come_into_a_folder_here(server: Any, tmp_path: Path) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text(f"path,participant\n{SOURCES}/p0/take0.mp4,ann\n{SOURCES}/p9/none.mp4,bob\n")
    dry = run("analyze", SOURCES, f"{SOURCES}/p*/take1.mp4", f"@{listed}", "--out", tmp_path / "out", "--dry-run")
    assert "6 to do" not in dry[1]
    assert "p1/take1.mp4 → p1/take1" in dry[1]
    code, said, errors = run("analyze", f"@{listed}", "--out", tmp_path / "out", "--root", SOURCES)
    assert code == 1
    assert "s3://study/clips/p9/none.mp4 can't be fetched" in errors
    assert "1 done now, 1 failed" in said
    frames = pq.read_table(tmp_path / "out" / CORPUS / "frames")
    assert set(frames["participant"].to_pylist()) == {"ann"}
    record = (tmp_path / "out" / "p0" / "take0.session.json").read_text()
    assert f'"{SOURCES}/p0/take0.mp4"' in record
    code, _, errors = run("analyze", f"{SOURCES}/p1/take1.mp4", "--out", tmp_path / "named")
    assert code == 0, errors
    assert (tmp_path / "named" / "take1.summary.json").exists()


@needs_server
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray (the extra 'ray')")
def test_ray_actors_read_from_and_write_to_the_store(server: Any, clips: Path) -> None:
    code, said, errors = run("analyze", SOURCES, "--out", f"{RESULTS}3", "--engine", "ray", "--workers", "1")
    assert code == 1, errors
    assert "6 done now, 1 failed" in said
    server.invalidate_cache()
    with bimodal.Detector() as detector:
        check(server, f"{RESULTS}3", clips, detector)
    assert {row["engine"] for row in table(server, f"{RESULTS}3").values() if row["status"] == "done"} == {"ray"}
