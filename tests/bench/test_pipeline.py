"""The clip with its decoding done, and the whole system on it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest

from bimodal.bench.media import COUNT, Decoded, decoded
from bimodal.bench.pipeline import frames_per_s
from bimodal.broker.sockets import session_directory, slots_directory
from bimodal.config import check_config
from bimodal.workers.capture import files
from tests.bench.planning import short_plan


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Decoded:
    return decoded(tmp_path_factory.mktemp("decoded"))


def test_the_clip_has_the_very_pixels_and_the_sound_to_them(found: Decoded) -> None:
    frames = np.load(found.frames, mmap_mode="r")
    assert frames.shape == (COUNT, 360, 640, 3)
    for frame, picture in zip(frames[:5], files.pictures(found.clip), strict=False):
        assert np.array_equal(picture.pixels, frame)
    assert abs(sum(sound.samples.size for sound in files.sounds(found.clip)) / found.rate - COUNT / found.fps) < 0.1
    assert np.load(found.sound).std() > 0.01, "someone speaks in it"


def test_a_clip_that_is_there_is_not_written_again(found: Decoded) -> None:
    written = found.clip.stat().st_mtime_ns
    assert decoded(found.clip.parent) == found
    assert found.clip.stat().st_mtime_ns == written


def test_the_whole_system_looks_at_frames_and_leaves_nothing_behind(tmp_path: Path, found: Decoded) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        plan = short_plan(tmp_path, check_config({"outputs": {"events": [address]}}, "tests"), cores=2)
        assert frames_per_s(plan, plan.config, found.clip, 1) > 0, "though another has the config's address"
    folders = {place("any").parent for place in (session_directory, slots_directory)}
    assert [left for folder in folders for left in folder.glob(f"*bench-{os.getpid()}-*")] == []
