"""Full shared memory and a full disk: said in a sentence, survived by everything else, and over when there is room."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bimodal.broker.events import Emotion
from bimodal.broker.messages import Heartbeat
from tests.end_to_end import confined
from tests.end_to_end.driving import Driven
from tests.media import face_clip

SESSION = f"test-full-{os.getpid()}"
pytestmark = pytest.mark.skipif(not confined.possible(), reason="needs root, for mounts that nobody else sees")


def within(disk: Path, *, shm_room_kb: int, disk_room_kb: int) -> list[str | Path]:
    disk.mkdir()
    return [sys.executable, confined.__file__, disk, str(shm_room_kb), str(disk_room_kb)]


def make_room(driven: Driven, folder: Path) -> None:
    (Path(f"/proc/{driven.process.pid}/root") / folder.relative_to("/") / confined.FILLER).unlink()


def said(name: str, words: str) -> Callable[[object], bool]:
    def check(body: object) -> bool:
        return isinstance(body, Heartbeat) and body.name == name and words in (body.because or "")

    return check


def test_live_streams_outlive_full_shared_memory_and_a_full_disk(tmp_path: Path) -> None:
    clip, disk = face_clip(tmp_path / "clip.mp4", 2.0), tmp_path / "disk"
    config = tmp_path / "config.yaml"
    config.write_text(
        f"streams: {{clip: {{file: '{clip}', loop: true}}}}\nworkers: {{face: {{count: 1}}}}\n"
        f"outputs: {{record: '{disk}', view: false}}\nlog: {{file: '{tmp_path / 'log'}'}}\n"
    )
    arguments = ("up", "--config", config, "--session", SESSION)
    with Driven(*arguments, session=SESSION, within=within(disk, shm_room_kb=512, disk_room_kb=8)) as driven:
        starved = driven.wait_for(said("capture clip", "shared memory in /dev/shm is full"))
        assert isinstance(starved, Heartbeat)
        assert starved.state == "ready"
        assert "lower capture.max_height" in str(starved.because)
        make_room(driven, Path("/dev/shm"))
        first = driven.wait_for(lambda body: isinstance(body, Emotion))
        unkept = driven.wait_for(said("record", "clip is not being recorded: the disk is full"))
        assert isinstance(unkept, Heartbeat)
        assert unkept.state == "ready"
        later = driven.wait_for(lambda body: isinstance(body, Emotion) and body.seq > first.seq + 25)  # type: ignore[attr-defined]
        assert isinstance(later, Emotion)
        assert later.run == first.run  # type: ignore[attr-defined]
        driven.interrupt()
        code, _, err = driven.finish()
        assert code == 0, err
        assert "Traceback" not in err
        assert driven.left_behind() == []


@pytest.mark.parametrize(
    ("shm_room_kb", "disk_room_kb", "sentence"),
    [(512, 64 * 1024, "shared memory in /dev/shm is full"), (64 * 1024, 8, "the disk is full: ")],
)
def test_a_file_that_finds_no_room_is_refused_with_the_reason(
    tmp_path: Path, shm_room_kb: int, disk_room_kb: int, sentence: str
) -> None:
    clip, disk = face_clip(tmp_path / "clip.mp4", 1.0), tmp_path / "disk"
    surroundings = within(disk, shm_room_kb=shm_room_kb, disk_room_kb=disk_room_kb)
    with Driven("analyze", clip, "--out", disk, "--face-workers", "1", within=surroundings) as driven:
        code, _, err = driven.finish()
    assert code == 1
    assert sentence in err
    assert "Traceback" not in err
