"""The drawing: pure, of any size, readable on anything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bimodal.drawing import canvas
from bimodal.drawing.canvas import Box, fill_share
from bimodal.drawing.captions import rows
from bimodal.drawing.overlay import bars, ground, overlay, place_caption, shortened
from bimodal.drawing.style import FUSED, GROUND, SPEECH, TEXT, VIDEO, Style, metrics
from tests.drawing.making import SILENCE, UNKNOWN, event, face

SIZES = [(160, 120), (320, 240), (640, 360), (720, 1280), (1920, 1080), (3840, 2160)]


def picture(width: int, height: int, grey: int = 128) -> np.ndarray:
    return np.full((height, width, 3), grey, np.uint8)


def has(pixels: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((pixels == np.array(colour)).all(axis=-1).any())


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_everything_is_on_the_picture_at_every_size(width: int, height: int) -> None:
    box = (width // 3, height // 3, width // 4, height // 4)
    drawn = overlay(picture(width, height), event([face(1, box, speaks=True)]))
    assert drawn.shape == (height, width, 3)
    assert drawn.dtype == np.uint8
    panel = drawn[height - 4 * metrics(width, height).line :]
    for colour in (VIDEO, SPEECH, FUSED, TEXT):
        assert has(panel, colour)
    assert has(drawn[height // 3 : height // 3 + height // 4, : width // 2], FUSED), "the box"


@pytest.mark.parametrize("grey", [0, 255])
def test_text_can_be_read_on_black_and_on_white(grey: int) -> None:
    """The ground under text is dark whatever the picture is, so that white on it has a contrast of 7 : 1 at least."""
    drawn = overlay(picture(640, 360, grey), event(speech=SILENCE, emotion=UNKNOWN))
    size = metrics(640, 360)
    for strip in (drawn[1 : size.line, 1 : 6 * size.em], drawn[360 - 4 * size.line :]):
        linear = (np.median(strip, axis=(0, 1)).mean() / 255) ** 2.2
        assert 1.05 / (linear + 0.05) > 7
        assert strip.max() == 255


def test_the_picture_is_left_alone() -> None:
    given_picture = picture(320, 240)
    before = given_picture.copy()
    overlay(given_picture, event([face(1, (10, 10, 100, 100))]))
    assert np.array_equal(given_picture, before)


def test_the_same_is_drawn_twice() -> None:
    one, two = (overlay(picture(320, 240), event([face(1, (10, 60, 90, 90))])) for _ in range(2))
    assert np.array_equal(one, two)


def test_hidden_faces_leave_no_pixel_of_the_picture() -> None:
    rng = np.random.default_rng(1)
    noise = [rng.integers(0, 256, (240, 320, 3), np.uint8) for _ in range(2)]
    drawn = [overlay(pixels, event([face(1, (10, 60, 90, 90))]), Style(faces="hide")) for pixels in noise]
    assert np.array_equal(drawn[0], drawn[1])
    assert has(drawn[0], FUSED)
    assert has(drawn[0], GROUND)


def test_boxes_follow_the_scale_of_the_picture() -> None:
    small = overlay(picture(320, 240), event([face(1, (40, 80, 100, 60))]), Style(bars=False))
    large = overlay(picture(640, 480), event([face(1, (40, 80, 100, 60))], size=(320, 240)), Style(bars=False))
    for drawn, factor in ((small, 1), (large, 2)):
        purple = (drawn[110 * factor] == np.array(FUSED)).all(axis=-1).nonzero()[0]
        assert abs(purple[0] - 40 * factor) <= 3
        assert abs(purple[-1] - 140 * factor) <= 3


@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    boxes=st.lists(st.tuples(*[st.integers(-400, 700)] * 2, *[st.integers(0, 900)] * 2), max_size=5),
    stream=st.text(max_size=40),
    hide=st.booleans(),
)
@settings(max_examples=150)
def test_nothing_falls_over(
    width: int, height: int, boxes: list[tuple[int, int, int, int]], stream: str, hide: bool
) -> None:
    faces = [face(number, box) for number, box in enumerate(boxes)]
    style = Style(faces="hide" if hide else "show", latency=True)
    assert overlay(picture(width, height), event(faces, stream=stream), style).shape == (height, width, 3)


@pytest.mark.parametrize("name", ["台所", "Кухня", "مطبخ", "Ελλάδα", "😀", "\udc80 broken", "a\nb", "x" * 5000, ""])
def test_any_name_of_a_stream_is_drawn(name: str) -> None:
    assert has(overlay(picture(640, 360), event(stream=name)), TEXT)


def test_other_scripts_are_not_question_marks() -> None:
    drawn = []
    for written in ("台所", "??", "Кухня", "?????"):
        pixels = ground(200, 40)
        canvas.write(pixels, written, 5, 20, 20, TEXT)
        drawn.append(pixels)
    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[2], drawn[3])


@given(words=st.text(max_size=60), most=st.integers(0, 400), em=st.integers(7, 60))
def test_fitted_text_fits(words: str, most: int, em: int) -> None:
    assert canvas.width(canvas.fitted(words, most, em), em) <= most


def test_captions_stay_on_the_picture_and_off_each_other() -> None:
    where = [Box(40 + 70 * n, 30 + n % 3 * 40, 100 + 70 * n, 100) for n in range(8)]
    where += [Box(0, 0, 60, 60), Box(600, 300, 640, 360)]
    within, taken = Box(0, 20, 640, 280), []
    for box in where:
        spot = place_caption(box, 95, metrics(640, 360), within, taken)
        assert spot.left >= 0 and spot.right <= 640 and spot.top >= 20 and spot.bottom <= 280  # noqa: PT018
        assert not any(spot.overlaps(other) for other in taken)
        taken.append(spot)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.503, 1.0, 2.0, -1.0])
def test_a_bar_is_as_long_as_its_share(share: float) -> None:
    pixels = np.zeros((4, 200, 3), np.uint8)
    fill_share(pixels, Box(10, 1, 110, 3), share, (200, 100, 0))
    lit = pixels[1, :, 0].astype(float).sum() / 200
    assert lit == pytest.approx(100 * min(1, max(0, share)), abs=0.02)
    assert not pixels[0].any()
    assert not pixels[:, 110:].any()


def test_an_emotion_that_a_model_does_not_know_has_no_bar() -> None:
    known, unknown = ground(640, 360), ground(640, 360)
    full = rows(event([face(1, (0, 0, 9, 9))]))
    less = {name: row._replace(probabilities={"happy": 1.0}) for name, row in full.items()}
    bars(known, full, metrics(640, 360))
    bars(unknown, less, metrics(640, 360))
    line = 360 - metrics(640, 360).line // 2 - 2
    assert int((known[line] != unknown[line]).any(axis=-1).sum()) > 300


@pytest.mark.parametrize(
    ("labels", "length", "names"),
    [
        (("neutral", "happy"), 3, ["neu", "hap"]),
        (("confused", "contempt", "calm"), 3, ["cof", "cot", "cal"]),
        (("bored", "boring", "bo"), 3, ["boe", "boi", "bo"]),
        (("sad", "happy"), 12, ["sad", "happy"]),
    ],
)
def test_names_of_bars_are_cut_and_still_differ(labels: tuple[str, ...], length: int, names: list[str]) -> None:
    assert shortened(labels, length) == names


@given(st.lists(st.from_regex(r"[a-z][a-z0-9_-]{0,9}", fullmatch=True), min_size=1, max_size=32, unique=True))
def test_no_two_bars_have_one_name(labels: list[str]) -> None:
    found = shortened(labels, 3)
    assert len(set(found)) == len(found) == len(labels)
    assert all(len(name) <= 3 for name in found)
