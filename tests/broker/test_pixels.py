"""Pictures on their way to other machines: what is compressed, how close it stays, and in which order it leaves."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bimodal.broker.errors import SlotError
from bimodal.broker.messages import Assignment, Encoding, Job, Pixels
from bimodal.broker.pixels import Encoder, compress, decode, encode, encoding_of
from tests.media import scene

PICTURE = np.ascontiguousarray(scene(0, 0.0, 320, 180))


@pytest.mark.parametrize(
    ("pixels", "live", "shape", "wanted"),
    [
        ("auto", True, (180, 320, 3), "jpeg"),
        ("auto", False, (180, 320, 3), "raw"),
        ("jpeg", False, (180, 320, 3), "jpeg"),
        ("webp", True, (180, 320, 3), "webp"),
        ("raw", True, (180, 320, 3), "raw"),
        ("jpeg", True, (48_000,), "raw"),
    ],
)
def test_live_frames_are_compressed_and_files_stay_as_they_are_unless_asked(
    pixels: Pixels, live: bool, shape: tuple[int, ...], wanted: Encoding
) -> None:
    assert encoding_of(pixels, live=live, shape=shape) == wanted


@pytest.mark.parametrize("encoding", ["jpeg", "webp"])
def test_a_picture_comes_back_with_its_colours_in_their_order(encoding: Encoding) -> None:
    data = encode(PICTURE, encoding, 90)
    assert len(data) < PICTURE.nbytes / 8
    back = decode(data, PICTURE.shape)
    assert np.abs(back.astype(int) - PICTURE).mean() < 6
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 255
    assert decode(encode(red, encoding, 90), red.shape)[8, 8, 0] > 200


def test_data_that_is_no_picture_or_another_one_is_refused() -> None:
    data = encode(PICTURE, "jpeg", 50)
    with pytest.raises(SlotError, match="320×180 pixels"):
        decode(data, (180, 321, 3))
    with pytest.raises(SlotError, match="can't be read"):
        decode(b"nothing", PICTURE.shape)
    png = io.BytesIO()
    Image.new("RGB", (320, 180)).save(png, "PNG")
    with pytest.raises(SlotError, match="can't be read"):
        decode(png.getvalue(), PICTURE.shape)


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=60), st.integers(2, 400))
def test_damaged_data_never_does_more_than_fail(noise: bytes, place: int) -> None:
    data = bytearray(encode(PICTURE[:32, :32], "jpeg", 50))
    data[place : place + len(noise)] = noise
    with contextlib.suppress(SlotError):
        assert decode(bytes(data), (32, 32, 3)).shape == (32, 32, 3)


def test_a_slot_that_is_overwritten_meanwhile_gives_nothing() -> None:
    assert compress(PICTURE, lambda: True, "jpeg", 80)
    with pytest.raises(SlotError, match="overwritten"):
        compress(PICTURE, lambda: False, "jpeg", 80)


def assignment(number: int) -> Assignment:
    job = Job(
        stream="a", run=1, modality="face", seq=number, pts_ns=0, grab_ns=0, ring="r", slot=0, generation=0,
        shape=PICTURE.shape,
    )  # fmt: skip
    return Assignment(number=number, job=job)


def test_each_workers_pictures_leave_in_order_and_failures_in_their_place() -> None:
    woken = threading.Event()
    encoder = Encoder(woken.set)

    def late(number: int) -> bytes:
        time.sleep(0.02 if number % 3 == 0 else 0.0)
        if number == 4:
            raise SlotError("overwritten")
        if number == 5:
            raise ValueError
        return bytes([number])

    for number in range(8):
        for worker in ("one", "two"):
            encoder.submit((worker, b"address"), assignment(number), partial(late, number))
    found = []
    end = time.monotonic() + 60
    while len(found) < 16 and time.monotonic() < end:
        woken.wait(0.1)
        found += encoder.take()
    encoder.close()
    for worker in ("one", "two"):
        mine = [(given.number, data) for (name, _), given, data in found if name == worker]
        assert [number for number, _ in mine] == list(range(8))
        assert mine[3][1] == b"\x03"
        assert str(mine[4][1]) == "overwritten"
        assert str(mine[5][1]) == "ValueError in compressing"
