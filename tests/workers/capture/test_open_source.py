"""A file is opened once for its description and its first reading."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from bimodal.workers.capture import files
from bimodal.workers.capture.choice import Choice
from bimodal.workers.capture.open_source import Begun, file_source
from bimodal.workers.capture.types import OpenSource, Picture
from bimodal.workers.errors import SourceError
from tests import media as made

PIXELS = np.zeros((2, 2, 3), np.uint8)


def read(source: OpenSource) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Number and time of each picture, size and time of each piece of sound."""
    assert source.pictures is not None
    assert source.sounds is not None
    shown = [(made.read_number(picture.pixels), picture.pts_ns) for picture in source.pictures()]
    return shown, [(sound.samples.size, sound.pts_ns) for sound in source.sounds()]


def test_the_first_reading_goes_on_and_each_later_one_begins_anew() -> None:
    begun = Begun(lambda: (Picture(number, number, PIXELS) for number in range(3)))
    assert begun.first() is not None
    items = [list(begun()) for _ in range(2)]
    assert [[item.pts_ns for item in one] for one in items] == [[0, 1, 2]] * 2
    assert items[0][0].grab_ns > 2, "the first one is grabbed when it is taken"
    assert Begun(lambda: iter(list[Picture]())).first() is None


def test_a_file_is_opened_three_times_in_all_and_reads_the_same_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = made.numbered_clip(tmp_path / "clip.mp4", 12, sound=made.tone(0.5))
    opened: list[str] = []
    original = av.open

    def count(name: str, **how: object) -> object:
        opened.append(name)
        return original(name, **how)  # type: ignore[call-overload]

    monkeypatch.setattr(av, "open", count)
    source = file_source(clip, 1080)
    first = read(source)
    assert len(opened) == 3, "headers, picture, sound"
    assert source.info == files.probe(clip)
    assert first == read(source) == read(file_source(clip, 1080))
    assert [number for number, _ in first[0]] == list(range(12))


def test_pictures_that_are_scaled_are_described_as_they_are_shown(tmp_path: Path) -> None:
    source = file_source(made.numbered_clip(tmp_path / "clip.mp4", 3, sound=made.tone(0.2)), 48)
    assert (source.info.width, source.info.height) == (160, 96)
    assert source.pictures is not None
    assert {picture.pixels.shape for picture in source.pictures()} == {(48, 80, 3)}


def test_notes_come_once_what_was_passed_over_first(tmp_path: Path) -> None:
    tone = made.tone(0.5)
    clip = made.write_clip(tmp_path / "a.mkv", sound=np.stack([tone, -tone]), sound_codec="flac")
    source = file_source(clip, 1080)
    assert source.sounds is not None
    assert sum(sound.samples.size for sound in source.sounds()) == tone.size
    assert len(source.problems.notes) == 1
    assert "each other's inverse" in source.problems.notes[0]


def test_a_file_that_holds_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no media")
    with pytest.raises(SourceError, match=r"a\.mp4 is not a media file"):
        file_source(tmp_path / "a.mp4", 1080, choice=Choice())
