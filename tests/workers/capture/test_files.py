"""Media files: every frame in its place, every stumbling block named."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import av
import numpy as np
import pytest

from bimodal.workers.capture import files
from bimodal.workers.capture.files import pictures, probe, sounds
from bimodal.workers.errors import SourceError
from tests import bad_media
from tests import media as made

B_FRAMES = {"preset": "veryfast", "bf": "3", "b-adapt": "0", "crf": "20"}


def numbers(path: Path, **how: int) -> list[int]:
    return [made.read_number(picture.pixels) for picture in pictures(path, **how)]


def all_sound(path: Path) -> np.ndarray:
    return np.concatenate([sound.samples for sound in sounds(path)])


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    size = min(one.size, other.size)
    return float(np.corrcoef(one[:size], other[:size])[0, 1])


@pytest.mark.parametrize(
    ("ending", "how"),
    [
        ("mp4", {}),
        ("mp4", {"options": B_FRAMES}),
        ("mkv", {"options": B_FRAMES}),
        ("ts", {"options": B_FRAMES}),
        ("mp4", {"pixel_format": "yuv420p10le"}),
        ("mov", {"pixel_format": "yuv444p"}),
        ("avi", {"codec": "mjpeg", "pixel_format": "yuvj420p"}),
        ("avi", {"options": B_FRAMES}),
        ("avi", {"codec": "mpeg4", "options": {"bf": "2"}}),
        ("mkv", {"codec": "ffv1", "pixel_format": "gray"}),
        ("mkv", {"codec": "ffv1", "pixel_format": "bgra"}),
    ],
)
def test_every_frame_comes_once_and_in_order(tmp_path: Path, ending: str, how: dict[str, object]) -> None:
    clip = made.numbered_clip(tmp_path / f"clip.{ending}", 40, **how)
    found = list(pictures(clip))
    assert [made.read_number(picture.pixels) for picture in found] == list(range(40))
    assert [round(picture.pts_ns / 40e6, 1) for picture in found] == list(range(40))
    assert found[0].pixels.shape == (96, 160, 3)
    assert all(picture.pixels.dtype == np.uint8 and picture.pixels.flags.c_contiguous for picture in found)
    info = probe(clip)
    assert (info.width, info.height, info.has_picture, info.has_sound, info.live) == (160, 96, True, False, False)
    assert info.fps == pytest.approx(25, abs=0.1)
    assert info.frames_estimate == pytest.approx(40, abs=1)


def test_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    times_ms = [0, 10, 30, 500, 510, 1200, 1201, 4000]
    clip = made.numbered_clip(tmp_path / "clip.mkv", len(times_ms), times_ms=times_ms)
    assert [round(picture.pts_ns / 1e6) for picture in pictures(clip)] == times_ms


def test_colours_are_rgb(tmp_path: Path) -> None:
    red = np.zeros((96, 160, 3), np.uint8)
    red[..., 0] = 200
    clip = made.write_clip(tmp_path / "clip.mp4", [red])
    shown = next(pictures(clip)).pixels[48, 80]
    assert shown[0] > 170
    assert max(shown[1:]) < 40


def test_pictures_are_scaled_down_but_never_up(tmp_path: Path) -> None:
    clip = made.numbered_clip(tmp_path / "clip.mp4", 5)
    assert next(pictures(clip, 48)).pixels.shape == (48, 80, 3)
    assert next(pictures(clip, 480)).pixels.shape == (96, 160, 3)
    assert numbers(clip, max_height=48) == list(range(5))


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_phone_videos_stand_upright(tmp_path: Path, rotation: int) -> None:
    upright = made.numbered(0b1011_0001_1100_0101, 192, 160)
    lying = np.ascontiguousarray(np.rot90(upright, -rotation // 90))
    clip = made.write_clip(tmp_path / "clip.mp4", [lying], rotation=rotation)
    picture = next(pictures(clip))
    assert picture.pixels.shape == upright.shape
    assert made.read_number(picture.pixels) == made.read_number(upright)
    assert next(pictures(clip, 80)).pixels.shape == (80, 96, 3)
    assert (probe(clip).width, probe(clip).height) == (192, 160)


@pytest.mark.parametrize("ending", ["mkv", "mp4", "ts"])
def test_sound_that_begins_later_keeps_its_distance(tmp_path: Path, ending: str) -> None:
    clip = made.numbered_clip(tmp_path / f"clip.{ending}", 50, sound=made.noise(1.0), sound_begins_s=0.84)
    assert next(pictures(clip)).pts_ns == 0
    assert next(sounds(clip)).pts_ns == pytest.approx(0.84e9, abs=25e6)
    assert probe(clip).sound_start_ns == next(sounds(clip)).pts_ns


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_picture_that_begins_later_keeps_its_distance(tmp_path: Path, ending: str) -> None:
    clip = made.numbered_clip(tmp_path / f"clip.{ending}", 25, sound=made.noise(2.0), picture_begins_s=0.84)
    first, sound = next(pictures(clip)), next(sounds(clip))
    assert sound.pts_ns == pytest.approx(0, abs=25e6)
    assert first.pts_ns - sound.pts_ns == pytest.approx(0.84e9, abs=25e6)


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_f32le", "flac"])
def test_sound_alone_is_exact(tmp_path: Path, codec: str) -> None:
    told = made.noise(1.3, 44100)
    ending = "flac" if codec == "flac" else "wav"
    clip = made.write_clip(tmp_path / f"clip.{ending}", sound=told, rate=44100, sound_codec=codec)
    found = list(sounds(clip))
    np.testing.assert_allclose(np.concatenate([sound.samples for sound in found]), told, atol=1e-4)
    counted = np.cumsum([0] + [sound.samples.size for sound in found[:-1]])
    assert [sound.pts_ns for sound in found] == [int(count) * 10**9 // 44100 for count in counted]
    info = probe(clip)
    assert (info.has_picture, info.has_sound, info.sample_rate) == (False, True, 44100)
    with pytest.raises(SourceError, match="has no picture"):
        next(pictures(clip))


def test_stereo_becomes_its_mean(tmp_path: Path) -> None:
    left, right = made.noise(0.5, seed=1), made.noise(0.5, seed=2)
    clip = made.write_clip(tmp_path / "clip.wav", sound=np.stack([left, right]), sound_codec="pcm_f32le")
    np.testing.assert_allclose(all_sound(clip), (left + right) / 2, atol=1e-6)


def test_surround_keeps_the_voice_of_the_centre_and_drops_the_bass(tmp_path: Path) -> None:
    channels = np.zeros((6, 4800), np.float32)
    channels[2], channels[3] = 0.5, 0.9
    clip = made.write_clip(tmp_path / "clip.wav", sound=channels, sound_codec="pcm_f32le")
    np.testing.assert_allclose(all_sound(clip), 0.5 / (1 + 2**0.5 + 2 * 0.5), atol=1e-6)


def test_coded_sound_is_in_its_place_on_the_line(tmp_path: Path) -> None:
    told = made.noise(2.0)
    clip = made.numbered_clip(tmp_path / "clip.mp4", 50, sound=told)
    heard, begin = all_sound(clip), next(sounds(clip)).pts_ns * 48 // 10**6
    best = max(range(-1200, 1201, 1), key=lambda shift: float(told[9600:12000] @ heard[9600 + shift : 12000 + shift]))
    assert abs(best + begin) <= 48  # a thousandth of a second


def test_cover_pictures_are_no_video(tmp_path: Path) -> None:
    clip = tmp_path / "song.mp4"
    with av.open(str(clip), "w") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 160, 96, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        audio = container.add_stream("aac", rate=48000, layout="mono")
        container.mux(cover.encode(av.VideoFrame.from_ndarray(made.numbered(3), format="rgb24")))
        container.mux(cover.encode(None))
        made._write_sound(container, audio, made.tone(1.0)[None], 48000, 0.0)
    with av.open(str(clip)) as container:
        assert len(container.streams.video) == 1
    info = probe(clip)
    assert (info.has_picture, info.has_sound) == (False, True)


def test_damaged_packets_are_told_and_skipped(tmp_path: Path) -> None:
    clip = bad_media.damaged(tmp_path)
    told: list[str] = []
    found = [made.read_number(picture.pixels) for picture in pictures(clip, report=told.append)]
    assert len(told) == 3
    assert found == [number for number in range(40) if number not in (8, 9, 20)]


def test_a_file_cut_off_behind_its_index_gives_what_is_there(tmp_path: Path) -> None:
    whole = made.numbered_clip(tmp_path / "whole.mkv", 100)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    found = numbers(cut)
    assert 10 < len(found) < 90
    assert found == list(range(len(found)))


def _missing(folder: Path) -> Path:
    return folder / "none.mp4"


def _empty(folder: Path) -> Path:
    (folder / "empty.mp4").touch()
    return folder / "empty.mp4"


def _text(folder: Path) -> Path:
    (folder / "notes.txt").write_text("to do: smile\n" * 50)
    return folder / "notes.txt"


def _text_named_mp4(folder: Path) -> Path:
    return _text(folder).rename(folder / "notes.mp4")


def _noise(folder: Path) -> Path:
    (folder / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(50_000))
    return folder / "noise.mp4"


def _without_moov(folder: Path) -> Path:
    whole = made.numbered_clip(folder / "whole.mp4", 50)
    (folder / "cut.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    return folder / "cut.mp4"


def _subtitles(folder: Path) -> Path:
    (folder / "talk.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n")
    return folder / "talk.srt"


def _undecodable(folder: Path) -> Path:
    clip = made.numbered_clip(folder / "clip.avi", 10, codec="png", pixel_format="rgb24")
    clip.write_bytes(clip.read_bytes().replace(b"\x89PNG\r\n\x1a\n", b"damaged!"))
    return clip


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (_missing, "there is no file"),
        (lambda folder: folder, "is a folder"),
        (_empty, "is empty"),
        (_text, "is not a media file"),
        (_text_named_mp4, "is not a media file"),
        (_noise, "is not a media file"),
        (_without_moov, "moov"),
        (_subtitles, "no picture and no sound"),
        (_undecodable, "can be decoded"),
    ],
)
def test_what_is_no_media_file_gets_a_sentence(tmp_path: Path, make: object, sentence: str) -> None:
    path = make(tmp_path)
    with pytest.raises(SourceError, match=sentence) as caught:
        probe(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_ending_that_lies_does_no_harm(tmp_path: Path) -> None:
    clip = made.numbered_clip(tmp_path / "clip.mkv", 10).rename(tmp_path / "clip.mp4")
    assert numbers(clip) == list(range(10))


def test_a_name_that_looks_like_an_address_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made.numbered_clip(tmp_path / "clip.mkv", 3).rename(tmp_path / "http:clip%d.mkv")
    monkeypatch.chdir(tmp_path)
    assert numbers(Path("http:clip%d.mkv")) == [0, 1, 2]


def test_a_loop_goes_on_where_it_ended(tmp_path: Path) -> None:
    clip = made.numbered_clip(tmp_path / "clip.mp4", 25, sound=made.noise(1.0))
    reader = files.looped_pictures(clip)
    found = [next(reader) for _ in range(70)]
    reader.close()
    assert [made.read_number(picture.pixels) for picture in found] == [n % 25 for n in range(70)]
    steps = np.diff([picture.pts_ns for picture in found])
    assert steps.min() > 0
    assert steps.max() < 70_000_000
    listener = files.looped_sounds(clip)
    heard = [next(listener) for _ in range(150)]
    listener.close()
    ends = [sound.pts_ns + sound.samples.size * 10**9 // 48000 for sound in heard]
    assert all(later.pts_ns >= end - 1000 for end, later in zip(ends, heard[1:], strict=False))
    assert max(later.pts_ns - end for end, later in zip(ends, heard[1:], strict=False)) < 30_000_000
    assert heard[-1].pts_ns > 2 * 10**9


@pytest.mark.shared
def test_real_clips_give_as_many_frames_as_a_plain_decoder(shared: Path) -> None:
    for clip in sorted((shared / "data" / "clips").glob("[ghp]*")):
        with av.open(str(clip)) as container:
            container.streams.video[0].thread_type = "AUTO"
            expected = sum(1 for _ in container.decode(video=0))
        times = [picture.pts_ns for picture in pictures(clip, 90)]
        assert len(times) == expected, clip.name
        assert times[0] >= 0
        assert min(np.diff(times)) > 0
        assert probe(clip).frames_estimate == pytest.approx(expected, abs=3)


@pytest.mark.shared
def test_sound_that_begins_before_its_picture_keeps_the_distance(shared: Path) -> None:
    clip = shared / "data" / "clips" / "hamilton_crowd.mp4"
    assert next(sounds(clip)).pts_ns == 0
    assert next(pictures(clip)).pts_ns == pytest.approx(0.844e9, abs=1e6)


def test_times_in_the_order_of_decoding_are_sorted() -> None:
    """Matroska made from AVI: each frame carries the time at which it was decoded."""
    shown = [0, 120, 40, 80, 240, 160, 200, 360, 280, 320]
    frames = list(files.in_order(((str(n), pts) for n, pts in enumerate(shown)), 8, 1000))  # type: ignore[arg-type]
    assert frames == [(str(n), 40 * n) for n in range(10)]


def test_times_that_begin_anew_are_not_mixed_with_those_before() -> None:
    times = [5000, 5040, 5080, 0, 40, 80, None, 120]
    frames = list(files.in_order(((n, pts) for n, pts in enumerate(times)), 8, 1000))  # type: ignore[misc]
    assert frames == list(enumerate(times))


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX")
def test_a_name_that_is_no_utf8_is_read(tmp_path: Path) -> None:
    clip = made.numbered_clip(tmp_path / "clip.mkv", 3).rename(tmp_path / os.fsdecode(b"caf\xe9.mkv"))
    assert numbers(clip) == [0, 1, 2]
    assert probe(clip).name == "caf%E9.mkv"
    with pytest.raises(SourceError, match="caf%E8"):
        probe(tmp_path / os.fsdecode(b"caf\xe8.mkv"))


def test_pictures_that_were_read_do_not_stay_in_memory(tmp_path: Path) -> None:
    """A frame asked for its side data is part of a circle; a hundred of them stayed until the collector ran."""
    clip = made.numbered_clip(tmp_path / "clip.mp4", 40)
    gc.collect()
    gc.disable()
    try:
        assert sum(1 for _ in pictures(clip)) == 40
        assert gc.collect() < 40
    finally:
        gc.enable()
