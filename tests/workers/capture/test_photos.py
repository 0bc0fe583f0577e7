"""Pictures of every format: whole, upright, at time 0, without a duration; animations with their times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bimodal.workers.capture import files
from bimodal.workers.errors import SourceError
from tests import media as made
from tests.heif import mirrored, rotated, write_grid
from tests.workers.capture.test_pixels import corners_of, four_corners


@pytest.mark.parametrize("ending", ["avif", "heic"])
@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (1, 3), (3, 2)])
def test_a_photo_in_tiles_is_one_picture(tmp_path: Path, ending: str, rows: int, columns: int) -> None:
    path = write_grid(tmp_path / f"photo.{ending}", four_corners(400, 260), rows, columns)
    (picture,) = files.pictures(path)
    assert (picture.pts_ns, picture.size, picture.pixels.shape) == (0, (400, 260), (260, 400, 3))
    assert np.abs(picture.pixels.astype(int) - four_corners(400, 260)).mean() < 6
    info = files.probe(path)
    assert (info.width, info.height, info.frames_estimate, info.duration_ns) == (400, 260, 1, None)
    (small,) = files.pictures(path, 130)
    assert (small.size, small.pixels.shape) == ((400, 260), (130, 200, 3))


@pytest.mark.parametrize(
    ("properties", "wanted"),
    [
        ((rotated(3),), [2, 0, 3, 1]),
        ((rotated(1),), [1, 3, 0, 2]),
        ((rotated(2),), [3, 2, 1, 0]),
        ((mirrored(1),), [1, 0, 3, 2]),
        ((mirrored(0),), [2, 3, 0, 1]),
        ((rotated(3), mirrored(1)), [0, 2, 1, 3]),
    ],
)
def test_a_photo_in_tiles_is_turned_as_it_says(
    tmp_path: Path, properties: tuple[bytes, ...], wanted: list[int]
) -> None:
    path = write_grid(tmp_path / "photo.avif", four_corners(320, 192), 2, 2, properties)
    (picture,) = files.pictures(path)
    assert corners_of(picture.pixels) == wanted


def test_a_photo_of_which_tiles_are_lost_says_so(tmp_path: Path) -> None:
    path = write_grid(tmp_path / "photo.avif", four_corners(320, 192), 2, 2)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(SourceError, match=r"photo\.avif: some of the tiles of its picture"):
        list(files.pictures(path))


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tiff", "bmp", "gif", "avif", "heic", "ppm", "tga", "jp2"])
def test_a_picture_has_no_time_whatever_its_format(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"photo.{ending}"
    if ending == "heic":
        write_grid(path, four_corners(320, 192), 1, 1)
    else:
        Image.fromarray(four_corners(320, 192)).save(path)
    info = files.probe(path)
    assert (info.has_picture, info.has_sound, info.fps, info.frames_estimate) == (True, False, 0.0, 1)
    assert (info.duration_ns, info.promised_ns) == (None, None)
    (picture,) = files.pictures(path)
    assert (picture.pts_ns, picture.size) == (0, (320, 192))


def test_a_name_with_a_percent_sign_is_one_picture(tmp_path: Path) -> None:
    for number in range(3):
        Image.fromarray(made.numbered(number)).save(tmp_path / f"shot00{number}.png")
    Image.fromarray(made.numbered(7)).save(tmp_path / "shot%03d.png")
    assert [made.read_number(picture.pixels) for picture in files.pictures(tmp_path / "shot%03d.png")] == [7]


@pytest.mark.parametrize("ending", ["webp", "gif", "png", "avif"])
def test_animations_move(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"moving.{ending}"
    first, *rest = [Image.fromarray(made.numbered(number * 3, 320, 192)) for number in range(5)]
    first.save(path, save_all=True, append_images=rest, duration=80, **({"lossless": True} if ending == "webp" else {}))
    found = list(files.pictures(path))
    assert [made.read_number(picture.pixels) for picture in found] == [0, 3, 6, 9, 12]
    assert [round(picture.pts_ns / 1e6) for picture in found] == [0, 80, 160, 240, 320]
    info = files.probe(path)
    assert (info.width, info.height, info.has_picture) == (320, 192, True)
    if ending == "webp":
        assert (info.fps, info.frames_estimate, info.duration_ns) == (12.5, 5, 400_000_000)


def test_a_damaged_animation_gets_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "moving.webp"
    first, *rest = [Image.fromarray(made.numbered(number, 320, 192)) for number in range(5)]
    first.save(path, save_all=True, append_images=rest, duration=80)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(SourceError, match=r"moving\.webp"):
        files.probe(path)
