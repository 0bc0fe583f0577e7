"""Live recordings: parts by time, what survives a crash, and how it is read back and completed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.broker.messages import StreamOpened
from bimodal.recordings.reading import clips, complete, read_events
from bimodal.recordings.recording import RecordError
from bimodal.recordings.records import StreamRecord
from bimodal.recordings.writers import LiveRecording, SourceChecksum, part_of
from tests.recordings.disk import fill_disk
from tests.recordings.events import event, face, opened

ROOT = Path(__file__).parents[2]
ENDS = (".csv", ".jsonl", ".parquet", ".segments.csv", ".segments.parquet", ".summary.json")
BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Clock:
    """A wall clock that is set by hand, as seconds after BEGIN."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def wall(self) -> datetime:
        return BEGIN + timedelta(seconds=self.seconds)


def live(run: int = 1000, **changes: object) -> StreamOpened:
    return opened(policy="latest", run=run, **changes)


def start(folder: Path, began: StreamOpened, clock: Clock | None = None, split_s: float = 2.0) -> LiveRecording:
    clock = clock or Clock()
    return LiveRecording(folder, began, split_s, SourceChecksum("camera 0", None), clock.monotonic, clock.wall)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def record_of(folder: Path) -> StreamRecord:
    return msgspec.json.decode((folder / "stream.json").read_bytes(), type=StreamRecord)


@given(st.floats(0, 1e6), st.floats(0.1, 1e5))
def test_a_frame_belongs_to_the_part_that_its_time_lies_in(t: float, split_s: float) -> None:
    part = part_of(t, split_s)
    assert part >= 1
    assert (part - 1) * split_s <= t * (1 + 1e-12) + 1e-9
    assert t < part * split_s * (1 + 1e-12) + 1e-9


def test_parts_follow_each_other_without_losing_a_frame(tmp_path: Path) -> None:
    recording = start(tmp_path, live())
    for seq in range(125):
        recording.add(event(seq, faces=[face()]))
    recording.close(125)
    wanted = {f"1000-{part:04d}{end}" for part in (1, 2, 3) for end in ENDS}
    assert names(tmp_path) == wanted | {"stream.json"}
    (clip,) = clips(tmp_path)
    assert [found.seq for found, _ in clip.events()] == list(range(125))
    parts = record_of(tmp_path).parts
    assert [(part.name, part.frames, part.first_t, part.complete) for part in parts] == [
        ("1000-0001", 50, 0.0, True),
        ("1000-0002", 50, 2.0, True),
        ("1000-0003", 25, 4.0, True),
    ]
    summaries = [json.loads((tmp_path / f"{part.name}.summary.json").read_bytes()) for part in parts]
    assert [summary["frames_lost"] for summary in summaries] == [0, 0, 0]


def test_frames_that_are_lost_between_two_parts_are_counted(tmp_path: Path) -> None:
    recording = start(tmp_path, live())
    for seq in (0, 1, 60, 61):
        recording.add(event(seq))
    recording.close(70)
    second = json.loads((tmp_path / "1000-0002.summary.json").read_bytes())
    assert (second["frames"], second["frames_lost"]) == (2, 58 + 8)


def test_a_new_recorder_goes_on_behind_what_is_there(tmp_path: Path) -> None:
    first = start(tmp_path, live())
    for seq in range(10):
        first.add(event(seq))
    first.flush()
    old = (tmp_path / "1000-0001.jsonl").read_bytes()
    second = start(tmp_path, live(next_face_seq=15))
    for seq in range(15, 20):
        second.add(event(seq))
    second.close()
    assert (tmp_path / "1000-0001.jsonl").read_bytes() == old
    assert [part.name for part in record_of(tmp_path).parts] == ["1000-0001", "1000-0001-2"]
    (clip,) = clips(tmp_path)
    assert [found.seq for found, _ in clip.events()] == [*range(10), *range(15, 20)]


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.recordings.test_writers import event, face, live, start
recording = start(Path(sys.argv[1]), live())
for seq in range(70):
    recording.add(event(seq, faces=[face()]))
recording.flush()
recording.add(event(70))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_first_event_may_precede_the_announced_one(tmp_path: Path) -> None:
    """Fusion may hold a result already when the broker announces the stream again to a recorder that is new."""
    recording = start(tmp_path, live(next_face_seq=86))
    for seq in (85, 86, 88):
        recording.add(event(seq))
    recording.flush()
    with pytest.raises(RecordError, match="frame 87 of clip came when frame 89 was due"):
        recording.add(event(87))
    (clip,) = clips(tmp_path)
    assert [found.seq for found, _ in clip.events()] == [85, 86, 88]


def test_what_a_killed_recorder_left_is_read_and_completed(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, check=False, timeout=60)
    assert run.returncode == -signal.SIGKILL
    (clip,) = clips(tmp_path)
    assert [found.seq for found, _ in clip.events()] == list(range(70))
    changed = (tmp_path / "1000-0002.jsonl").stat().st_mtime
    assert complete(clip, changed + 1.0) == [], "a recorder may still be at work there"
    assert complete(clip, changed + 60.0) == ["1000-0002"]
    assert names(tmp_path) == {"stream.json", *(f"1000-000{part}{end}" for part in (1, 2) for end in ENDS)}
    assert pq.read_table(tmp_path / "1000-0002.parquet").num_rows == 20
    summary = json.loads((tmp_path / "1000-0002.summary.json").read_bytes())
    assert (summary["frames"], summary["frames_lost"]) == (20, 0)
    assert [part.complete for part in record_of(tmp_path).parts] == [True, True]
    assert complete(clips(tmp_path)[0], changed + 60.0) == []


def test_a_line_that_was_cut_off_is_passed_over_and_one_that_is_wrong_is_named(tmp_path: Path) -> None:
    recording = start(tmp_path, live())
    for seq in range(3):
        recording.add(event(seq))
    recording.close()
    lines = tmp_path / "1000-0001.jsonl"
    whole = lines.read_bytes()
    for cut in range(1, len(whole.splitlines()[-1])):
        lines.write_bytes(whole[:-cut])
        assert [found.seq for found in read_events(lines)] == [0, 1]
    lines.write_bytes(whole.replace(b'"seq":1', b'"seq":"x"'))
    with pytest.raises(RecordError, match=r"line 2 of .*1000-0001\.jsonl is no event"):
        list(read_events(lines))


def test_runs_are_placed_behind_each_other_by_the_wall_clock(tmp_path: Path) -> None:
    clock = Clock()
    for run, begun in ((1000, 0.0), (2000, 30.0)):
        clock.seconds = begun
        recording = start(tmp_path, live(run), clock)
        for seq in range(25):
            recording.add(event(seq))
        recording.close()
    (clip,) = clips(tmp_path)
    times = [found.t + part.offset_s for found, part in clip.events()]
    assert times[:25] == [seq / 25 for seq in range(25)]
    assert times[25:] == pytest.approx([30.0 + seq / 25 for seq in range(25)])
    assert {found.run for found, _ in clip.events()} == {1000, 2000}


def test_parts_that_the_list_does_not_name_are_found_all_the_same(tmp_path: Path) -> None:
    recording = start(tmp_path, live())
    recording.add(event(0))
    recording.close()
    (tmp_path / "stream.json").write_text("{")
    (tmp_path / "session.json").write_text("{}")
    folder = tmp_path / "desk"
    folder.mkdir()
    for path in tmp_path.glob("1000-*"):
        path.rename(folder / path.name)
    (clip,) = clips(tmp_path)
    assert (clip.name, clip.live) == ("desk", True)
    assert [found.run for found, _ in clip.events()] == [1000]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_ends_the_part_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_disk(monkeypatch, "1000-0001.csv")
    recording = start(tmp_path, live())
    recording.add(event(0))
    with pytest.raises(RecordError, match="the disk is full"):
        recording.flush()
    assert [found.seq for found in read_events(tmp_path / "1000-0001.jsonl")] == [0]


def test_a_source_file_has_its_checksum(tmp_path: Path) -> None:
    source = tmp_path / "film.mp4"
    source.write_bytes(b"film" * 500_000)
    record = SourceChecksum("film.mp4", source).record(patience_s=30.0)
    digest = subprocess.run(["sha256sum", source], capture_output=True, text=True, check=True).stdout.split()[0]
    assert (record.bytes, record.sha256) == (2_000_000, digest)
    gone = SourceChecksum("film.mp4", tmp_path / "gone.mp4").record(patience_s=30.0)
    assert (gone.file, gone.sha256) == (str(tmp_path / "gone.mp4"), None)


def test_events_are_the_same_after_they_were_read(tmp_path: Path) -> None:
    recording = start(tmp_path, live())
    said = [event(seq, faces=[face(track=seq)]) for seq in range(5)]
    for one in said:
        recording.add(one)
    recording.close()
    found = [msgspec.structs.replace(one, run=3) for one in read_events(tmp_path / "1000-0001.jsonl")]
    assert found == said
