"""The OpenCV path, with numbered pictures in a camera's place, and sentences where there is no camera."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from bimodal.workers.capture.camera import Camera, rgb_of
from bimodal.workers.errors import SourceError
from tests import media as made


@pytest.fixture
def pattern(tmp_path: Path) -> str:
    for number in range(30):
        assert cv2.imwrite(str(tmp_path / f"f_{number:04d}.jpg"), made.numbered(number))
    return str(tmp_path / "f_%04d.jpg")


def test_numbered_pictures_come_all_and_in_order(pattern: str) -> None:
    with Camera(pattern, fps=10) as camera:
        found = list(camera.pictures(threading.Event()))
        assert camera.info.live is False
        assert (camera.info.width, camera.info.height, camera.info.fps) == (160, 96, 10)
    assert [made.read_number(picture.pixels) for picture in found] == list(range(30))
    assert [picture.pts_ns for picture in found] == [number * 100_000_000 for number in range(30)]


def test_pictures_are_rgb_and_scaled_down(tmp_path: Path) -> None:
    red = np.zeros((96, 160, 3), np.uint8)
    red[..., 2] = 200
    cv2.imwrite(str(tmp_path / "f_0000.png"), red)
    with Camera(str(tmp_path / "f_%04d.png"), max_height=48) as camera:
        picture = next(camera.pictures(threading.Event()))
    assert picture.pixels.shape == (48, 80, 3)
    assert picture.pixels[24, 40].tolist() == [200, 0, 0]


def test_grey_pictures_become_rgb() -> None:
    assert rgb_of(np.full((4, 6), 7, np.uint8), None).tolist() == np.full((4, 6, 3), 7).tolist()


def test_a_stop_ends_the_pictures(pattern: str) -> None:
    stop = threading.Event()
    with Camera(pattern) as camera:
        found = []
        for picture in camera.pictures(stop):
            found.append(picture)
            if len(found) == 3:
                stop.set()
    assert len(found) == 3


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("/dev/video77", "there is no camera /dev/video77"),
        ("missing_%04d.jpg", "there are no pictures missing_%04d.jpg"),
        (__file__, "is a file, not a camera"),
    ],
)
def test_what_is_no_camera_gets_a_sentence(source: str, sentence: str) -> None:
    with pytest.raises(SourceError, match=sentence):
        Camera(source)


@pytest.mark.skipif(sys.platform != "linux" or Path("/dev/video63").exists(), reason="needs Linux without 64 cameras")
@pytest.mark.parametrize("source", [63, "63"])
def test_an_index_without_camera_gets_a_sentence_and_opencv_is_quiet(
    source: int | str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SourceError, match="there is no camera 63"):
        Camera(source)
    assert capfd.readouterr().err == ""


def test_a_process_that_forgets_its_camera_ends_cleanly(pattern: str) -> None:
    code = f"from workers.capture.camera import Camera; camera = Camera({pattern!r})"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
