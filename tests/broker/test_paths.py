"""Paths whose names are no UTF-8 travel as text and come back unchanged."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from bimodal.broker.paths import pack, shown, unpack


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name))
def test_every_path_survives_json(name: bytes) -> None:
    path = os.fsdecode(b"/media/" + name)
    text = msgspec.json.decode(msgspec.json.encode(pack(path)), type=str)
    assert unpack(text) == Path(path)
    shown(path).encode("utf-8")


def test_ordinary_paths_stay_as_they_are() -> None:
    assert pack("/media/Größe %41.mp4") == shown("/media/Größe %41.mp4") == "/media/Größe %41.mp4"
    assert unpack("/media/a%20b.mp4") == Path("/media/a%20b.mp4")


def test_other_bytes_are_shown_as_numbers() -> None:
    assert shown(Path(os.fsdecode(b"caf\xe9.mp4"))) == "caf%E9.mp4"
