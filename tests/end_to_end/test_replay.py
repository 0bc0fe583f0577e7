"""`bimodal replay`: what was recorded comes over the bus again, as if it were live."""

from __future__ import annotations

import json
import shutil
import urllib.request
from pathlib import Path

import msgspec
import pytest

from bimodal.broker.events import Emotion
from bimodal.broker.messages import Heartbeat, Status, StreamClosed, StreamOpened
from bimodal.recordings.recording import Recording
from bimodal.recordings.records import ClipRecord, Host, SessionRecord, SourceRecord, stream_record
from tests.end_to_end.driving import Driven, run
from tests.recordings.events import event, face, opened, speech

HOST = Host(name="here", system="Linux", machine="x86_64", cores=1, python="3.11")


def session() -> SessionRecord:
    return SessionRecord(
        kind="analysis", session="s", started="2026-01-01T00:00:00+00:00", bimodal="1", host=HOST, libraries={},
        config={}, models=[],
    )  # fmt: skip


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of a clip, 25 frames."""
    folder = tmp_path_factory.mktemp("recorded")
    record = ClipRecord(session=session(), stream=stream_record(opened(), SourceRecord(name="clip.mp4")))
    kept = Recording(folder, "clip", opened(), "clip.mp4", 0.0, clip=lambda: record)
    for seq in range(25):
        kept.add(event(seq, faces=[face()], heard=speech()))
    kept.close(1.0)
    return folder


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(f"outputs: {{view: {{port: 0}}}}\nlog: {{file: '{tmp_path / 'log'}'}}\n")
    return path


def test_events_come_as_they_were_between_opening_and_end(recording: Path, config: Path) -> None:
    with Driven("replay", recording, "--config", config, "--session", "test-replay", session="test-replay") as driven:
        began = driven.wait_for(lambda body: isinstance(body, StreamOpened))
        assert isinstance(began, StreamOpened)
        assert (began.stream, began.policy, began.source, began.fps) == ("clip", "latest", "clip.mp4", 25.0)
        got: list[Emotion] = []
        end = driven.wait_for(
            lambda body: (isinstance(body, Emotion) and got.append(body)) or isinstance(body, StreamClosed)
        )  # type: ignore[func-returns-value]
        assert isinstance(end, StreamClosed)
        assert end.frames == 25
        code, _, err = driven.finish()
        assert code == 0, err
        assert driven.left_behind() == []
    kept = [json.loads(line) for line in (recording / "clip.jsonl").read_text().splitlines()]
    said = [
        {key: value for key, value in msgspec.to_builtins(body).items() if key not in ("type", "run")} for body in got
    ]
    assert json.loads(json.dumps(said)) == kept


def test_a_loop_is_a_new_run_and_the_page_shows_it_live(recording: Path, config: Path) -> None:
    arguments = ("replay", recording / "clip.jsonl", "--loop", "--speed", "4", "--config", config)
    with Driven(*arguments, "--session", "test-replay-loop", session="test-replay-loop") as driven:
        runs: set[int] = set()
        page: str | None = None
        statuses = 0
        for _, body in driven.events():
            if isinstance(body, Emotion):
                runs.add(body.run)
            if isinstance(body, Heartbeat) and body.name == "view" and body.state == "ready":
                page = body.address
            statuses += isinstance(body, Status)
            if len(runs) >= 3 and page is not None and statuses:
                break
        with urllib.request.urlopen(f"{page}metrics", timeout=30) as answer:
            text = answer.read().decode()
        assert 'bimodal_process_up{process="replay"} 1.0' in text
        assert 'bimodal_end_to_end_seconds_count{stream="clip"}' in text
        driven.interrupt()
        assert driven.finish()[0] == 0


def test_results_that_lost_events_are_told_and_played(recording: Path, config: Path, tmp_path: Path) -> None:
    torn = Path(shutil.copytree(recording, tmp_path / "torn"))
    (torn / "clip.jsonl").write_bytes((torn / "clip.jsonl").read_bytes()[:-5])
    sentence = f"{torn}/clip.jsonl is damaged: 24 of its 25 events can be read"
    code, _, err = run("replay", torn, "--speed", "100", "--config", config, "--session", "test-torn")
    assert code == 0, err
    assert sentence in err
    assert sentence in run("diff", torn, "--model", "face-static=face-compact")[2]


def test_what_is_no_recording_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.jsonl").write_text('{"stream": 3}\n')
    (tmp_path / "nothing.jsonl").touch()
    for place, sentence in (
        ("nowhere", "there is no recording"),
        ("empty", "holds no recording"),
        ("bad.jsonl", "line 1 of"),
        ("nothing.jsonl", "holds no event, so there is nothing to play"),
    ):
        code, _, err = run("replay", tmp_path / place, "--session", "test-replay-bad")
        assert code == 1
        assert sentence in err
        assert "Traceback" not in err
