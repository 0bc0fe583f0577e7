"""The CPU of a live stream, by process."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from bimodal.config import Config
from scripts.measure import live
from tests.bench.planning import short_plan


@pytest.fixture
def one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SECONDS", 1)


def test_films_are_what_a_camera_gives(one_second: None, tmp_path: Path) -> None:
    for path, sound in ((live.person(tmp_path), 1), (live.room(tmp_path), 0)):
        with av.open(str(path)) as film:
            assert len(film.streams.audio) == sound
            frames = list(film.decode(video=0))
            assert len(frames) == live.FPS
            assert (frames[0].width, frames[0].height) == live.SIZE
            assert film.streams.video[0].average_rate == live.FPS


@pytest.mark.slow
def test_every_kind_of_process_has_its_share(one_second: None, tmp_path: Path) -> None:
    found = live.measure(short_plan(tmp_path, Config(), seconds=1.0))
    values = {each.name: each.value for each in found.figures}
    for name in live.AT_MOST:
        parts = [values[f"{name}: {kind}"] for kind in ("face", "capture", "broker", "audio", "fusion", "supervisor")]
        assert sum(parts) == pytest.approx(values[f"{name}: all processes"])
        assert values[f"{name}: capture"] > 0
