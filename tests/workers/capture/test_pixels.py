"""Pictures as a player shows them: orientation, shape of pixels, size."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from bimodal.workers.capture import files
from bimodal.workers.capture.pixels import squared
from tests import media as made

CORNERS = ((250, 20, 20), (20, 250, 20), (20, 20, 250), (240, 240, 20))


def four_corners(width: int = 96, height: int = 64) -> np.ndarray:
    """A picture with another colour in each corner, and nothing symmetrical about it."""
    picture = np.full((height, width, 3), 90, np.uint8)
    picture[: height // 2, : width // 2], picture[: height // 2, width // 2 :] = CORNERS[:2]
    picture[height // 2 :, : width // 2], picture[height // 2 :, width // 2 :] = CORNERS[2:]
    return picture


def corners_of(pixels: np.ndarray) -> list[int]:
    """Which colour each corner of a picture has: upper left, upper right, lower left, lower right."""
    height, width = pixels.shape[:2]
    places = [(y, x) for y in (height // 5, height - height // 5) for x in (width // 5, width - width // 5)]
    distance = [[np.abs(pixels[place].astype(int) - colour).sum() for colour in CORNERS] for place in places]
    return [int(np.argmin(row)) for row in distance]


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tiff", "avif"])
@pytest.mark.parametrize("value", range(1, 9))
def test_every_exif_orientation_is_shown_as_viewers_show_it(tmp_path: Path, ending: str, value: int) -> None:
    exif = Image.Exif()
    exif[274] = value
    stored = Image.fromarray(four_corners())
    stored.save(tmp_path / f"photo.{ending}", exif=exif)
    wanted = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / f"photo.{ending}")).convert("RGB"))
    (shown,) = files.pictures(tmp_path / f"photo.{ending}")
    assert shown.pixels.shape == wanted.shape
    assert corners_of(shown.pixels) == corners_of(wanted)
    assert shown.pixels.flags.c_contiguous
    info = files.probe(tmp_path / f"photo.{ending}")
    assert (info.width, info.height) == shown.size == (wanted.shape[1], wanted.shape[0])


ONE = 1 << 16


@pytest.mark.parametrize(
    ("matrix", "wanted"),
    [
        ((ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30), [0, 1, 2, 3]),
        ((-ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30), [1, 0, 3, 2]),
        ((ONE, 0, 0, 0, -ONE, 0, 0, 0, 1 << 30), [2, 3, 0, 1]),
        ((-ONE, 0, 0, 0, -ONE, 0, 0, 0, 1 << 30), [3, 2, 1, 0]),
        ((0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30), [2, 0, 3, 1]),
        ((0, -ONE, 0, ONE, 0, 0, 0, 0, 1 << 30), [1, 3, 0, 2]),
        ((0, ONE, 0, ONE, 0, 0, 0, 0, 1 << 30), [0, 2, 1, 3]),
        ((0, -ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30), [3, 1, 2, 0]),
    ],
)
@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_the_whole_display_matrix_counts(
    tmp_path: Path, ending: str, matrix: tuple[int, ...], wanted: list[int]
) -> None:
    clip = made.write_clip(tmp_path / f"clip.{ending}", [four_corners()] * 3, matrix=matrix)
    shown = list(files.pictures(clip))
    assert [corners_of(picture.pixels) for picture in shown] == [wanted] * 3
    lies = matrix[0] == 0
    assert shown[0].size == ((64, 96) if lies else (96, 64))


@pytest.mark.parametrize(
    ("size", "aspect", "shown"),
    [
        ((720, 576), Fraction(64, 45), (1024, 576)),
        ((720, 480), Fraction(8, 9), (640, 480)),
        ((1440, 1080), Fraction(4, 3), (1920, 1080)),
        ((640, 360), Fraction(1), (640, 360)),
    ],
)
@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts", "avi"])
def test_pixels_are_made_square(
    tmp_path: Path, ending: str, size: tuple[int, int], aspect: Fraction, shown: tuple[int, int]
) -> None:
    clip = made.write_clip(tmp_path / f"clip.{ending}", [four_corners(*size)] * 2, aspect=aspect)
    whole = next(files.pictures(clip))
    assert (whole.size, whole.pixels.shape) == (shown, (shown[1], shown[0], 3))
    looked_at = next(files.pictures(clip, 360))
    assert looked_at.size == shown
    assert looked_at.pixels.shape == (360, round(shown[0] * 360 / shown[1]), 3)
    info = files.probe(clip)
    assert (info.width, info.height) == shown


def test_a_turned_picture_is_stretched_along_its_stored_rows(tmp_path: Path) -> None:
    clip = made.write_clip(tmp_path / "clip.mp4", [four_corners(720, 480)] * 2, aspect=Fraction(4, 3), rotation=90)
    assert next(files.pictures(clip)).size == (480, 960)


def test_an_absurd_aspect_ratio_is_ignored() -> None:
    assert squared(640, 480, Fraction(1, 100)) == (640, 480)
    assert squared(640, 480, Fraction(0)) == squared(640, 480, None) == (640, 480)
