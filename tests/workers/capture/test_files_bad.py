"""Files that misbehave, as their reader gives them: what is there, in its place, and word of what is not."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from bimodal.workers.capture.files import pictures, probe, sounds
from bimodal.workers.errors import SourceError
from tests import bad_media
from tests import media as made


def test_a_file_cut_off_behind_its_index_promises_more_than_it_gives(tmp_path: Path) -> None:
    clip = bad_media.cut_with_index(tmp_path)
    found = [made.read_number(picture.pixels) for picture in pictures(clip)]
    info = probe(clip)
    assert found == list(range(len(found)))
    assert 20 < len(found) < 80
    assert info.frames_estimate == 100
    assert info.promised_ns == pytest.approx(4e9, rel=0.02)


def test_bytes_changed_on_the_way_cost_pictures_and_not_the_stream(tmp_path: Path) -> None:
    clip = bad_media.noisy_h264(tmp_path)
    found = list(pictures(clip))
    assert 30 < len(found) <= 60
    assert {picture.pixels.shape for picture in found} == {(96, 160, 3)}
    times = [picture.pts_ns for picture in found]
    assert min(np.diff(times)) > 0
    assert made.read_number(found[0].pixels) == 0


def test_pictures_of_another_size_but_the_same_shape_are_scaled_to_the_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = bad_media.changing_size(tmp_path, [(160, 96), (320, 192), (160, 96)])
    found = list(pictures(clip))
    assert {picture.pixels.shape for picture in found} == {(96, 160, 3)}
    assert [made.read_number(picture.pixels) for picture in found] == list(range(30))
    assert [record.getMessage() for record in caplog.records if record.name.startswith("bimodal.workers")] == [
        "the picture changed its size midway: it is 320×192 now"
    ]


def test_pictures_of_another_shape_are_not_stretched(tmp_path: Path) -> None:
    clip = bad_media.changing_size(tmp_path, [(160, 96), (128, 128), (160, 96)])
    found = list(pictures(clip, 64))
    shapes = [picture.pixels.shape for picture in found]
    assert shapes == [(64, 107, 3)] * 10 + [(64, 64, 3)] * 10 + [(64, 107, 3)] * 10
    assert [made.read_number(picture.pixels) for picture in found] == list(range(30))
    assert min(np.diff([picture.pts_ns for picture in found])) > 0


def test_120_pictures_a_second_keep_their_times(tmp_path: Path) -> None:
    found = list(pictures(bad_media.fast(tmp_path)))
    assert [made.read_number(picture.pixels) for picture in found] == list(range(60))
    assert np.diff([picture.pts_ns for picture in found]) == pytest.approx(1e9 / 120, abs=100_000)


def test_8k_is_scaled_down_as_it_is_decoded(tmp_path: Path) -> None:
    clip = bad_media.large(tmp_path)
    info = probe(clip)
    assert (info.width, info.height) == (7680, 4320)
    assert {picture.pixels.shape for picture in pictures(clip, 720)} == {(720, 1280, 3)}


def test_sound_and_picture_of_different_lengths_are_each_read_to_their_end(tmp_path: Path) -> None:
    for clip, picture_s, sound_s in (
        (bad_media.longer_sound(tmp_path), 1.0, 3.0),
        (bad_media.longer_picture(tmp_path), 3.0, 1.0),
    ):
        assert len(list(pictures(clip))) == picture_s * 25
        heard = list(sounds(clip))
        end_ns = heard[-1].pts_ns + heard[-1].samples.size * 10**9 // heard[-1].rate
        assert end_ns == pytest.approx(sound_s * 1e9, abs=60e6)
        assert (probe(clip).promised_ns or 0) == pytest.approx(3e9, abs=100e6)


def test_a_container_whose_streams_are_empty_is_named(tmp_path: Path) -> None:
    clip = tmp_path / "nothing.mkv"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        container.start_encoding()
    with pytest.raises(SourceError, match=r"nothing\.mkv"):
        probe(clip)
