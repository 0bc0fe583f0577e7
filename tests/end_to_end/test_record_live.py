"""Recording what is live: real processes, killed and started again; what is on the disk at every moment."""

from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bimodal.broker.events import Emotion
from bimodal.broker.messages import Heartbeat
from bimodal.recordings.reading import clips, read_events
from tests.end_to_end.driving import Driven, run
from tests.media import face_clip

# All but the last second must be there; twice as much is allowed, since the machine may be busy with other tests.
LAST_S = 2.0


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A talking face."""
    return face_clip(tmp_path_factory.mktemp("live") / "clip.mp4", 3.0)


def config_of(folder: Path, clip: Path, split_minutes: float = 60.0) -> Path:
    path = folder / "config.yaml"
    path.write_text(
        f"streams: {{desk: {{file: '{clip}', loop: true}}}}\nworkers: {{face: {{count: 1}}}}\n"
        f"outputs: {{view: false, record: {{folder: '{folder / 'kept'}', split_minutes: {split_minutes}}}}}\n"
        f"log: {{file: '{folder / 'log'}'}}\n"
    )
    return path


def up(config: Path, session: str) -> Driven:
    return Driven("up", "--config", config, "--session", session, session=session)


def later_than(t: float) -> object:
    return lambda body: isinstance(body, Emotion) and body.t > t


def the_session(folder: Path) -> Path:
    (session,) = (folder / "kept").iterdir()
    return session


def test_parts_tables_and_origin_are_there_when_it_has_stopped(tmp_path: Path, clip: Path) -> None:
    with up(config_of(tmp_path, clip, split_minutes=0.05), "test-parts") as driven:
        driven.wait_for(later_than(3.5))  # type: ignore[arg-type]
        driven.interrupt()
        code, _, err = driven.finish()
        assert code == 0, err
    session = the_session(tmp_path)
    assert str(session) in err
    record = json.loads((session / "session.json").read_bytes())
    assert record["ended"]
    assert record["session"] == "test-parts"
    assert record["config"]["streams"]["desk"]["file"] == str(clip)
    listed = {entry["path"]: entry["bytes"] for entry in record["files"]}
    assert {"desk/stream.json", "desk/1000-0001.jsonl", "desk/1000-0002.parquet"} <= set(listed)
    assert all((session / path).stat().st_size == size for path, size in listed.items())
    (kept,) = clips(session)
    assert kept.stream is not None
    assert kept.stream.source.sha256 == hashlib.sha256(clip.read_bytes()).hexdigest()
    events = [event for event, _ in kept.events()]
    assert [event.seq for event in events] == sorted({event.seq for event in events})
    for part in kept.parts:
        lines = list(read_events(part.path))
        number = int(part.path.stem[-4:])
        assert all((number - 1) * 3.0 <= event.t < number * 3.0 for event in lines)
        rows = pq.read_table(part.path.with_suffix(".parquet")).num_rows
        assert rows == sum(max(1, len(event.faces)) for event in lines)
    code, out, err = run("report", session)
    assert code == 0, err
    assert out.strip() == str(session / "desk" / "report.html")
    assert "<script" not in (session / "desk" / "report.html").read_text()


def test_a_recorder_that_is_killed_loses_no_line_that_was_flushed(tmp_path: Path, clip: Path) -> None:
    with up(config_of(tmp_path, clip), "test-killed-recorder") as driven:
        first = driven.wait_for(lambda body: isinstance(body, Emotion))
        assert isinstance(first, Emotion)
        seen = driven.wait_for(later_than(2.5))  # type: ignore[arg-type]
        assert isinstance(seen, Emotion)
        pid = driven.kill("record", signal.SIGKILL)
        lines = the_session(tmp_path) / "desk" / "1000-0001.jsonl"
        before = lines.read_bytes()
        kept = list(read_events(lines))
        assert kept[0].seq <= first.seq
        assert kept[-1].t >= seen.t - LAST_S
        driven.wait_for(
            lambda body: (
                isinstance(body, Heartbeat) and body.name == "record" and body.state == "ready" and body.pid != pid
            )
        )
        back = driven.wait_for(lambda body: isinstance(body, Emotion))
        assert isinstance(back, Emotion)
        driven.wait_for(later_than(back.t + 1.0))  # type: ignore[arg-type]
        driven.interrupt()
        assert driven.finish()[0] == 0
    assert lines.read_bytes() == before
    again = list(read_events(lines.with_name("1000-0001-2.jsonl")))
    assert again[0].seq > kept[-1].seq
    assert lines.with_name("1000-0001-2.summary.json").is_file()


def test_all_but_the_last_second_survives_the_end_of_everything(tmp_path: Path, clip: Path) -> None:
    with up(config_of(tmp_path, clip), "test-killed-all") as driven:
        # Before a worker is there, frames of a live stream are dropped.
        first = driven.wait_for(lambda body: isinstance(body, Emotion))
        assert isinstance(first, Emotion)
        seen = driven.wait_for(later_than(2.5))  # type: ignore[arg-type]
        assert isinstance(seen, Emotion)
        driven.process.kill()
        driven.process.wait()
    session = the_session(tmp_path)
    (kept,) = clips(session)
    events = [event for event, _ in kept.events()]
    assert [event.seq for event in events] == sorted({event.seq for event in events})
    assert events[0].seq <= first.seq
    assert events[-1].t >= seen.t - LAST_S
