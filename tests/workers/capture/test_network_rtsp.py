"""An RTSP camera that goes, comes back, and stalls."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import numpy as np

from bimodal.workers.backoff import BackOff
from bimodal.workers.capture.network import watch
from bimodal.workers.capture.types import Connected, Interruption, Picture
from tests import media as made
from tests.rtsp_server import RtspServer


def clip_of(folder: Path) -> Path:
    """4 s that carry their number, with a key frame every fifth picture."""
    return made.numbered_clip(folder / "clip.ts", 100, options={"preset": "ultrafast", "bf": "0", "g": "5"})


def test_an_rtsp_camera_that_dies_and_comes_back_goes_on(tmp_path: Path) -> None:
    stop = threading.Event()
    server = RtspServer(clip_of(tmp_path), 4.0)
    url = f"rtsp://user:s3cret@127.0.0.1:{server.port}/cam"
    watching = watch(url, stop, back_off=BackOff(0.05, 0.2))
    first = next(watching)
    assert isinstance(first, Connected)
    assert (first.info.has_picture, first.info.live, first.info.width) == (True, True, 160)
    before = [item for item in itertools.islice(watching, 30) if isinstance(item, Picture)]
    assert len(before) == 30
    server.close()
    lost = next(item for item in watching if isinstance(item, Interruption))
    refused = next(item for item in watching if isinstance(item, Interruption) and "refused" in item.reason)
    assert "s3cret" not in lost.reason + refused.reason
    again = RtspServer(clip_of(tmp_path), 4.0, server.port)
    after = list(itertools.islice((item for item in watching if isinstance(item, Picture)), 30))
    stop.set()
    again.close()
    times = [picture.pts_ns for picture in before + after]
    assert min(np.diff(times)) > 0
    for pictures in (before, after):
        numbers = [made.read_number(picture.pixels) for picture in pictures]
        assert numbers == list(range(numbers[0], numbers[0] + 30))


def test_an_rtsp_camera_that_stalls_is_lost_and_not_waited_for_for_ever(tmp_path: Path) -> None:
    stop = threading.Event()
    server = RtspServer(clip_of(tmp_path), 4.0)
    watching = watch(f"rtsp://127.0.0.1:{server.port}/", stop, back_off=BackOff(0.05, 0.2), limits_s=(5.0, 0.5))
    next(item for item in watching if isinstance(item, Picture))
    server.freeze.set()
    lost = next(item for item in watching if isinstance(item, Interruption))
    assert "127.0.0.1" in lost.reason
    stop.set()
    server.close()
