"""Results of a stream: complete under their names, or not there at all."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings

from bimodal.broker.events import Emotion, Verdict
from bimodal.recordings.reading import clips, read_hops
from bimodal.recordings.recording import RecordError, Recording
from bimodal.recordings.tables import COLUMNS, rows, schema
from tests.recordings.disk import fill_disk, names, temporary
from tests.recordings.events import event, event_lists, face, hop, opened, speech

ROOT = Path(__file__).parents[2]
FINISHED = [
    *("clip.csv", "clip.jsonl", "clip.parquet", "clip.segments.csv", "clip.segments.parquet", "clip.summary.json")
]
PARTS = [f".{name}.part" for name in FINISHED]
LIVE_PARTS = [".clip.csv.part", ".clip.segments.csv.part", ".clip.summary.json.part", "clip.jsonl"]


def start(folder: Path, name: str = "clip", **changes: object) -> Recording:
    return Recording(folder, name, opened(**changes), "films/clip.mp4", now=100.0)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=event_lists())
def test_what_is_kept_can_be_read_back(tmp_path: Path, events: list[Emotion]) -> None:
    recording = start(tmp_path)
    for one in events:
        recording.add(one)
    lines_path, table_path, typed_path, *_, summary_path = recording.close(now=101.0)
    lines = lines_path.read_bytes().splitlines(keepends=True) if events else []
    assert [msgspec.json.decode(line, type=Emotion) for line in lines] == events
    with table_path.open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert len(table) == sum(max(1, len(one.faces)) for one in events)
    assert all(set(row) == {column.name for column in COLUMNS if column.csv} for row in table)
    assert [row["track"] for row in table] == [
        track for one in events for track in ([str(f.track) for f in one.faces] or [""])
    ]
    typed = pq.read_table(typed_path)
    assert typed.schema.equals(schema())
    flat = [row for one in events for row in rows(one)]
    assert [tuple(row.values()) for row in typed.to_pylist()] == flat
    summary = json.loads(summary_path.read_bytes())
    assert summary["frames"] == len(events)
    gaps = events[-1].seq + 1 - len(events) if events else 0
    assert summary["frames_lost"] == gaps + sum(one.failed is not None for one in events)
    assert names(tmp_path) == FINISHED


def test_finished_names_appear_only_when_complete(tmp_path: Path) -> None:
    recording = start(tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"
    recording.add(event(0, faces=[face()]))
    assert names(folder) == PARTS
    assert temporary(folder, "clip.jsonl").read_bytes() == b""
    recording.flush()
    assert temporary(folder, "clip.jsonl").read_bytes().endswith(b"}\n")
    closed = [path.name for path in recording.close(now=101.0)]
    assert closed == ["clip.jsonl", "clip.csv", "clip.parquet", *FINISHED[3:]]
    assert names(folder) == FINISHED


def test_older_results_stay_until_the_new_ones_are_complete(tmp_path: Path) -> None:
    first = start(tmp_path)
    first.add(event(0))
    first.close(now=101.0)
    old = (tmp_path / "clip.jsonl").read_bytes()
    second = start(tmp_path)
    for seq in range(3):
        second.add(event(seq, faces=[face()]))
    second.flush()
    assert (tmp_path / "clip.jsonl").read_bytes() == old
    second.abandon()
    assert names(tmp_path) == FINISHED
    assert (tmp_path / "clip.jsonl").read_bytes() == old
    third = start(tmp_path)
    third.close(now=101.0)
    assert (tmp_path / "clip.jsonl").read_bytes() == b""
    assert names(tmp_path) == FINISHED


def test_lines_carry_what_users_need_and_nothing_of_the_wire(tmp_path: Path) -> None:
    recording = start(tmp_path)
    recording.add(event(0, faces=[face()], heard=speech()))
    line = json.loads(recording.close(now=101.0)[0].read_bytes())
    keys = ["stream", "seq", "t", "faces", "speech", "emotion", "latency_ms", "models", "failed", "size", "shot"]
    assert list(line) == keys
    assert line["faces"][0]["box"] == [10, 20, 30, 40]


@pytest.mark.parametrize("seq", [0, 1])
def test_events_out_of_order_are_refused(tmp_path: Path, seq: int) -> None:
    recording = start(tmp_path)
    recording.add(event(0))
    recording.add(event(1))
    with pytest.raises(RecordError, match=f"frame {seq} of clip came when frame 2 was due"):
        recording.add(event(seq))
    assert names(tmp_path) == []
    with pytest.raises(RecordError, match="is over"):
        recording.add(event(2))


def test_a_killed_recorder_leaves_no_finished_file(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from tests.recordings.test_recording import start; from tests.recordings.events import event\n"
        "recording = start(Path(sys.argv[1]))\n"
        "for seq in range(50): recording.add(event(seq))\n"
        "recording.flush(); recording.add(event(50)); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, check=False, timeout=60)
    assert run.returncode == -signal.SIGKILL
    assert names(tmp_path) == PARTS
    assert len(temporary(tmp_path, "clip.jsonl").read_bytes().splitlines()) == 50
    again = start(tmp_path)
    again.add(event(0))
    again.close(now=101.0)
    assert names(tmp_path) == FINISHED
    assert len((tmp_path / "clip.jsonl").read_bytes().splitlines()) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("name", FINISHED)
def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_disk(monkeypatch, name)
    recording = start(tmp_path)
    recording.add(event(0))
    with pytest.raises(RecordError, match=r"^the disk is full: .* free some space, then start again$"):
        recording.close(now=101.0)
    assert names(tmp_path) == []
    recording.abandon()


def test_of_a_live_stream_everything_before_the_disk_refused_is_kept(tmp_path: Path) -> None:
    """A real limit on file size, in a process of its own: the line that does not fit is cut off again."""
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from tests.recordings.test_recording import start; from tests.recordings.events import event\n"
        "from bimodal.recordings.recording import RecordError\n"
        "recording = start(Path(sys.argv[1]), policy='latest')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "try:\n"
        "    for seq in range(100):\n"
        "        recording.add(event(seq)); recording.flush()\n"
        "except RecordError as error: print(error)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, check=True, timeout=60, capture_output=True, text=True)
    assert "larger than" in run.stdout
    assert "is kept in" in run.stdout
    assert names(tmp_path) == LIVE_PARTS
    lines = (tmp_path / "clip.jsonl").read_bytes().splitlines()
    kept = [msgspec.json.decode(line, type=Emotion) for line in lines]
    assert [one.seq for one in kept] == list(range(len(kept)))
    assert len(kept) > 5


@pytest.mark.parametrize(("policy", "left"), [("latest", FINISHED), ("every", [])])
def test_stopping_early_finishes_a_live_stream_and_abandons_a_file(
    tmp_path: Path, policy: str, left: list[str]
) -> None:
    recording = start(tmp_path, policy=policy)
    recording.add(event(0))
    assert sorted(path.name for path in recording.stop(now=101.0)) == left
    assert names(tmp_path) == left
    assert recording.stop(now=102.0) == ()
    assert names(tmp_path) == left


def test_two_runs_at_once_don_t_mix_and_what_dead_ones_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / ".clip.csv.part").write_text("of 0.2")
    (tmp_path / ".clip.jsonl.4711-1000.part").write_text("of a dead run")
    (tmp_path / ".other.jsonl.4711-1000.part").write_text("not ours")
    first = start(tmp_path)
    first.add(event(0))
    with pytest.raises(RecordError, match=r"^another run is writing the results of clip into .*; wait for it, or use"):
        start(tmp_path)
    first.close(now=101.0)
    assert names(tmp_path) == [".other.jsonl.part", *FINISHED]
    start(tmp_path).close(now=102.0)


def test_results_that_may_not_be_replaced_stay_as_they_are(tmp_path: Path) -> None:
    start(tmp_path).close(now=101.0)
    before = (tmp_path / "clip.jsonl").read_bytes()
    second = Recording(tmp_path, "clip", opened(), "clip.mp4", 0.0, guard=lambda: "clip belongs to another")
    second.add(event(0))
    with pytest.raises(RecordError, match="clip belongs to another"):
        second.close(now=102.0)
    assert (tmp_path / "clip.jsonl").read_bytes() == before
    assert names(tmp_path) == FINISHED


def test_the_voice_has_rows_of_its_own(tmp_path: Path) -> None:
    recording = start(tmp_path, has_sound=True)
    recording.add(event(0))
    said = [hop(0), hop(1, None), msgspec.structs.replace(hop(2, None), failed="it broke", because="speech failed")]
    for one in said:
        recording.add_hop(one)
    recording.close(now=101.0)
    voice = [f"clip.speech.{ending}" for ending in ("csv", "jsonl", "parquet")]
    assert names(tmp_path) == sorted([*FINISHED, *voice])
    (clip,) = clips(tmp_path)
    assert [msgspec.structs.replace(found, run=3) for found in read_hops(clip.parts[0].path)] == said
    typed = pq.read_table(tmp_path / "clip.speech.parquet").to_pylist()
    assert [row["speech_label"] for row in typed] == ["sad", None, None]
    with (tmp_path / "clip.speech.csv").open(newline="", encoding="utf-8") as file:
        assert [row["speech_because"] for row in csv.DictReader(file)] == ["", "no voice", "speech failed"]
    summary = json.loads((tmp_path / "clip.summary.json").read_bytes())
    assert (summary["frames"], summary["hops"], summary["hops_failed"]) == (1, 3, 1)
    assert summary["dominant"]["speech"] == "sad"
    assert summary["because"]["failed"] == {"it broke": 1}


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "x" * 300, "nul\0"])
def test_names_that_are_no_plain_file_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecordError, match="can't name a result"):
        start(tmp_path, name)
    assert names(tmp_path) == []


def test_a_folder_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(RecordError, match="can't be written into"):
        start(tmp_path / "taken")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_one_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RecordError, match="may not be written to"):
        start(tmp_path)


def test_undecodable_file_names_do_no_harm(tmp_path: Path) -> None:
    recording = Recording(tmp_path, "clip", opened(), os.fsdecode(b"caf\xe9.mp4"), now=0.0)
    summary = json.loads(recording.close(now=1.0)[-1].read_bytes())
    assert summary["file"] == "caf?.mp4"


def test_the_table_rounds_and_leaves_unknown_cells_empty(tmp_path: Path) -> None:
    heard = msgspec.structs.replace(speech(), probabilities={"sad": 2 / 3})
    recording = start(tmp_path)
    recording.add(event(0, faces=[face(confidence=1 / 3), face(track=2)], heard=heard))
    recording.add(event(1, verdict=Verdict(label=None, confidence=None, because='none, "at all"\r\nnothing')))
    with recording.close(now=101.0)[1].open(newline="", encoding="utf-8") as file:
        first, second, empty = csv.DictReader(file)
    assert (first["track"], second["track"], empty["track"]) == ("1", "2", "")
    assert first["confidence"] == "0.333333"
    assert first["speech_sad"] == "0.666667"
    assert first["speech_happy"] == first["dynamic_happy"] == ""
    assert (first["box_x"], first["box_y"], first["box_width"], first["box_height"]) == ("10", "20", "30", "40")
    assert empty["because"] == 'none, "at all" nothing'
    assert empty["latency_total_ms"] == "4.0"
