"""What a visitor's browser may send, and what it may not."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.workers.view.settings import VisitorSettings
from bimodal.workers.view.visitor_message import (
    BAD,
    HEADER,
    MAGIC,
    TOO_LARGE,
    VERSION,
    VisitorRefusedError,
    jpeg_size,
    read,
)

LIMITS = VisitorSettings(max_height=90, max_picture_kbytes=8)
PICTURE, SOUND = 1, 2
MS = st.floats(0, 1e9)


def jpeg(width: int = 80, height: int = 60, *options: int) -> bytes:
    pixels = np.random.default_rng(width * height).integers(0, 255, (height, width, 3), np.uint8)
    return bytes(cv2.imencode(".jpg", cv2.blur(pixels, (9, 9)), list(options))[1].tobytes())


def message(
    kind: int, data: bytes, *, rate: int = 0, captured: float = 5.0, sent: float = 6.0, position: int = 0
) -> bytes:
    return HEADER.pack(MAGIC, VERSION, kind, rate, captured, sent, position) + data


@given(MS, st.floats(0, 5000), st.integers(0, 2**53), st.sampled_from([8000, 44100, 48000]), st.integers(1, 4000))
def test_what_is_right_is_read_as_it_was_sent(sent: float, age: float, position: int, rate: int, count: int) -> None:
    found = read(message(SOUND, b"\1\2" * count, rate=rate, captured=sent - age, sent=sent, position=position), LIMITS)
    assert (found.kind, found.rate, found.position, found.data) == ("sound", rate, position, b"\1\2" * count)
    assert found.sent_ns == round(sent * 1e6)
    assert abs(found.sent_ns - found.captured_ns - age * 1e6) < 1000


@given(st.integers(1, 160), st.integers(1, 90))
def test_the_size_of_a_picture_is_what_a_decoder_sees(width: int, height: int) -> None:
    assert jpeg_size(jpeg(width, height)) == (width, height)


@given(st.data())
def test_whatever_is_broken_is_refused_or_is_no_larger_than_it_says(data: st.DataObject) -> None:
    broken = bytearray(jpeg())
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(broken[: data.draw(st.integers(1, len(broken)))])
    try:
        width, height = jpeg_size(cut)
    except VisitorRefusedError:
        return
    pixels = cv2.imdecode(np.frombuffer(cut, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    assert pixels is None or pixels.shape[:2] == (height, width)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_a_sentence(data: bytes) -> None:
    with pytest.raises(VisitorRefusedError) as refused:
        read(data, LIMITS)
    assert str(refused.value)
    assert 4400 <= refused.value.code <= 4499


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (message(PICTURE, jpeg(161, 60)), TOO_LARGE),
        (message(PICTURE, jpeg(60, 91)), TOO_LARGE),
        (message(PICTURE, jpeg() + bytes(8000)), TOO_LARGE),
        (message(PICTURE, jpeg(80, 60, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)), BAD),
        (message(PICTURE, jpeg() + b"\xff\xda" * 10), BAD),
        (message(PICTURE, jpeg()[:100]), BAD),
        (message(PICTURE, b"\x89PNG\r\n\x1a\n"), BAD),
        (message(3, jpeg()), BAD),
        (b"xx" + message(PICTURE, jpeg())[2:], BAD),
        (message(PICTURE, jpeg(), sent=math.nan), BAD),
        (message(PICTURE, jpeg(), captured=-math.inf), BAD),
        (message(PICTURE, jpeg(), captured=1.0, sent=20_000.0), BAD),
        (message(PICTURE, jpeg(), captured=20_000.0, sent=1.0), BAD),
        (message(PICTURE, jpeg(), sent=1e12, captured=1e12), BAD),
        (message(PICTURE, jpeg(), position=2**60), BAD),
        (message(SOUND, b"\0\0\0", rate=48000), BAD),
        (message(SOUND, b"\0\0", rate=0), BAD),
        (message(SOUND, b"\0\0" * 8001, rate=8000), TOO_LARGE),
        (message(SOUND, b"\0\0" * 3999, rate=3999), BAD),
        (message(SOUND, b""), BAD),
    ],
)
def test_what_is_wrong_or_too_large_is_refused(data: bytes, code: int) -> None:
    with pytest.raises(VisitorRefusedError) as refused:
        read(data, LIMITS)
    assert refused.value.code == code
