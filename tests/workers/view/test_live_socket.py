"""A frame and its event as one message."""

from __future__ import annotations

import json
import struct
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from bimodal.broker.events import Speech, Verdict
from bimodal.workers.observer import FramedEvent, Pixels
from bimodal.workers.view.live_socket import WIDEST, frame_message, jpeg
from bimodal.workers.view.state import point
from tests.workers.view.making import HAPPY, event, face


def unpacked(payload: bytes) -> tuple[dict[str, Any], bytes]:
    (length,) = struct.unpack_from("<I", payload)
    return json.loads(payload[4 : 4 + length]), payload[4 + length :]


def framed(pixels: Pixels | None, size: tuple[int, int] | None = None) -> FramedEvent:
    return FramedEvent("desk", 3, 120_000_000, pixels, event("desk", 3, face()), size)


def test_head_and_picture_come_together() -> None:
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[:, :, 0] = 200  # red
    head, data = unpacked(frame_message(framed(pixels, (40, 30)), 5.0, hide=False))
    assert (head["size"], head["picture"], head["at"], head["event"]["seq"]) == ([40, 30], "jpeg", 5.0, 3)
    shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert shown[..., 2].mean() > 180 > 40 > shown[..., 0].mean()


def test_the_page_is_told_how_to_read_the_event() -> None:
    small, large = face(1, 30), face(2, 90)
    speech = Speech(label="sad", probabilities={"sad": 0.6, "anger": 0.4}, voice=0.9, age_ms=10)
    verdict = Verdict(label="happy", confidence=0.8, agreement=0.2, probabilities=HAPPY)
    told = msgspec.structs.replace(event("desk", 3, small, large), speech=speech, emotion=verdict)
    head, _ = unpacked(frame_message(FramedEvent("desk", 3, 0, None, told), 5.0, hide=False))
    assert (head["leading"], head["shows"], head["fused"]) == (1, "happy", HAPPY)
    assert head["point"] == point(told, 5.0)
    assert head["point"]["accord"] == "conflict"
    assert not {"leading", "shows", "fused", "accord"} & head["event"].keys(), "the public event stays as it is"


def test_without_a_face_the_voice_is_read_alone() -> None:
    head, _ = unpacked(frame_message(FramedEvent("desk", 3, 0, None, event("desk", 3)), 5.0, hide=False))
    assert (head["leading"], head["shows"], head["fused"], head["point"]["accord"]) == (None, None, None, "none")


@pytest.mark.parametrize("pixels", [None, np.zeros((30, 40, 3), np.uint8)])
def test_hidden_means_no_pixel(pixels: Pixels | None) -> None:
    head, data = unpacked(frame_message(framed(pixels, (40, 30)), 5.0, hide=True))
    assert (head["size"], head["picture"], data) == ([40, 30], "hidden", b"")
    assert head["event"]["faces"]


def test_a_stream_of_sound_has_neither_size_nor_picture() -> None:
    head, data = unpacked(frame_message(framed(None), 5.0, hide=False))
    assert (head["size"], head["picture"], data) == (None, "none", b"")


def test_wide_pictures_are_scaled_but_boxes_keep_their_frame() -> None:
    pixels = np.zeros((1080, 1920, 3), np.uint8)
    shown = cv2.imdecode(np.frombuffer(jpeg(pixels), np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (540, WIDEST, 3)
    assert unpacked(frame_message(framed(pixels, (1920, 1080)), 0.0, hide=False))[0]["size"] == [1920, 1080]
