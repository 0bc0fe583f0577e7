"""Workers are swapped and scaled in the middle of a file: every frame is looked at, by the old or by the new."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import setproctitle

from bimodal.config import Config, check_config
from bimodal.supervisor.processes import ProcessSpec, Wanted, processes, source
from bimodal.supervisor.session import Session
from bimodal.supervisor.supervisor import Supervisor
from bimodal.workers.capture.settings import StreamSettings
from bimodal.workers.settings import RecordActorSettings, RecordSettings
from tests.artifacts import make_face_static
from tests.media import face_clip

PATIENCE_S = 90.0
TURN_S = 0.02


class Running:
    """A supervisor in this process, over one file."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder = folder
        self.record = RecordActorSettings(record=RecordSettings(folder=str(folder / "out")))
        (folder / "out").mkdir()
        self.clip = face_clip(folder / "clip.mp4", seconds, voice=False)
        self.session = Session("test-swap-of-files")
        rows = self.rows("first", 1)
        self.supervisor = Supervisor(self.session, rows, folder / "log")

    def rows(self, model: str, count: int) -> list[ProcessSpec]:
        config = self.config(model, count)
        # Its own pace, so that the file is still running whatever this machine can do.
        clip = source(config, "clip", StreamSettings(file=str(self.clip)), policy="every", realtime=True)
        return [*processes(Wanted(config, record=self.record)), clip]

    def config(self, model: str, count: int) -> Config:
        artifact = self.folder / f"{model}.onnx"
        if not artifact.exists():
            make_face_static(artifact, name=model)
        values = {"models": {"face-static": str(artifact), "speech": "none"}, "workers": {"face": {"count": count}}}
        return check_config(values, "test")

    def turn_until(self, wanted: object) -> None:
        end = time.monotonic() + PATIENCE_S
        while not wanted():  # type: ignore[operator]
            assert time.monotonic() < end, "it never came to that"
            self.supervisor.step(TURN_S)

    def frames(self) -> int:
        heartbeat = self.supervisor.children["capture clip"].heartbeat
        return int(heartbeat.figures.get("frames", 0)) if heartbeat is not None else 0

    def change(self, model: str, count: int) -> None:
        self.supervisor.reconciler.change(self.rows(model, count), time.monotonic())
        self.turn_until(lambda: not self.supervisor.reconciler.changing)
        assert self.supervisor.reconciler.given_up is None


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    title = setproctitle.getproctitle()
    found = Running(tmp_path, 14.0)
    yield found
    found.supervisor.stop()
    found.session.close()
    setproctitle.setproctitle(title)


def test_no_frame_is_lost_or_looked_at_twice(running: Running) -> None:
    running.turn_until(lambda: running.frames() >= 10)
    running.change("second", 1)
    running.change("second", 2)
    running.change("second", 1)
    assert not running.supervisor.children["capture clip"].finished, "all that happened while the file was running"
    running.turn_until(lambda: running.supervisor.children["capture clip"].finished)
    events = [json.loads(line) for line in (running.folder / "out" / "clip.jsonl").read_text().splitlines()]
    assert [event["seq"] for event in events] == list(range(350))
    assert all(event["failed"] is None for event in events)
    models = [event["models"]["face-static"] for event in events]
    assert models == sorted(models, key=["first@1", "second@1"].index), "one moment divides the old from the new"
    assert set(models) == {"first@1", "second@1"}
    workers = [child.spec.name for child in running.supervisor.children.values() if child.spec.role == "face"]
    assert len(workers) == 1
