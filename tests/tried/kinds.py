"""Kinds of recordings: how each is made, and what a player shows and plays of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
from av.stream import Disposition
from PIL import Image

from tests import media as made
from tests.heif import rotated, write_grid

FPS, FRAMES = 25, 30
B_FRAMES = {"preset": "veryfast", "bf": "3", "b-adapt": "0"}
ONE = 1 << 16


class Kind(NamedTuple):
    """One kind of recording.

    Attributes:
        make: writes it into a folder.
        container, codec, geometry, time, sound: of what it is, in words, for the table.
        size: of the picture as a player shows it; None without one.
        frames: how many pictures there are.
        seconds: from the first picture to the last; None where it does not matter.
        voiced: whether a voice is heard; None where there is no sound.
        notes: whether something must be said about it.
        how: arguments of Detector.events.
    """

    name: str
    make: Callable[[Path], Path]
    container: str
    codec: str
    geometry: str = "640×360"
    time: str = "25 fps"
    sound: str = "AAC mono"
    size: tuple[int, int] | None = (640, 360)
    frames: int = FRAMES
    seconds: float | None = (FRAMES - 1) / FPS
    voiced: bool | None = True
    notes: bool = False
    how: Mapping[str, Any] = MappingProxyType({})


def faces(width: int = 640, height: int = 360, count: int = FRAMES) -> list[np.ndarray]:
    """A face that sways a little."""
    return [made.scene(1, number / FPS, width, height) for number in range(count)]


def clip(name: str, sound: bool = True, **how: Any) -> Callable[[Path], Path]:
    """A clip of a face that speaks; `how` as for write_clip."""

    def make(folder: Path) -> Path:
        voice, rate = made.speech(2.0)
        given = {"sound": voice, "rate": rate} if sound else {}
        rest = {key: value for key, value in how.items() if key != "pictures"}
        return made.write_clip(folder / name, how.get("pictures", faces()), **(given | rest))

    return make


def stored(apply: Callable[[np.ndarray], np.ndarray]) -> list[np.ndarray]:
    """The face as a camera stores it that is held otherwise."""
    return [np.ascontiguousarray(apply(picture)) for picture in faces()]


def squeezed(width: int, height: int, shown: tuple[int, int]) -> list[np.ndarray]:
    return [cv2.resize(picture, (width, height)) for picture in faces(*shown)]


def still(name: str, **how: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        Image.fromarray(made.scene(1)).save(folder / name, **how)
        return folder / name

    return make


def exif(name: str, value: int, apply: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        tags = Image.Exif()
        tags[274] = value
        Image.fromarray(np.ascontiguousarray(apply(made.scene(1)))).save(folder / name, exif=tags)
        return folder / name

    return make


def grid(
    name: str, *properties: bytes, apply: Callable[[np.ndarray], np.ndarray] = lambda p: p
) -> Callable[[Path], Path]:
    return lambda folder: write_grid(folder / name, np.ascontiguousarray(apply(made.scene(1))), 2, 2, properties)


def animation(name: str, **how: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        first, *rest = [Image.fromarray(made.scene(1, number / 4)) for number in range(8)]
        first.save(folder / name, save_all=True, append_images=rest, duration=80, **how)
        return folder / name

    return make


def channels(name: str, rows: Callable[[np.ndarray], list[np.ndarray]], **how: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        voice, rate = made.speech(2.0)
        return made.write_clip(folder / name, sound=np.stack(rows(voice)), rate=rate, sound_codec="pcm_s16le", **how)

    return make


def two_tracks(folder: Path) -> Path:
    """The default-flagged video and sound track come second; the first ones are empty and silent."""
    path = folder / "two-tracks.mkv"
    voice, rate = made.speech(2.0)
    with av.open(str(path), "w") as container:
        videos = [container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast"}) for _ in range(2)]
        audios = [container.add_stream("aac", rate=rate, layout="mono") for _ in range(2)]
        for streams in (videos, audios):
            streams[0].disposition, streams[1].disposition = Disposition(0), Disposition.default
        for video in videos:
            video.width, video.height, video.pix_fmt = 640, 360, "yuv420p"
        for video, pictures in zip(videos, ([made.scene(0)] * FRAMES, faces()), strict=True):
            for picture in pictures:
                container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(video.encode(None))
        for audio, sound in zip(audios, (0 * voice, voice), strict=True):
            made._write_sound(container, audio, sound[None], rate, 0.0)
    return path


def joined(folder: Path) -> Path:
    """A transport stream whose time stamps begin anew in its middle."""
    half = faces(count=FRAMES // 2)
    parts = [
        made.write_clip(folder / f"part{n}.ts", half, sound=made.speech(1.0)[0], rate=made.speech()[1]) for n in (1, 2)
    ]
    path = folder / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def renamed(name: str, to: bytes) -> Callable[[Path], Path]:
    import os

    return lambda folder: clip(name)(folder).rename(folder / os.fsdecode(to))


def vfr(count: int = FRAMES) -> list[int]:
    return [40 * number + 17 * (number % 3) for number in range(count)]


STILL: dict[str, Any] = {"time": "none", "sound": "none", "frames": 1, "seconds": 0.0, "voiced": None}
SILENT: dict[str, Any] = {"sound": "none", "voiced": None}
SOUND: dict[str, Any] = {"size": None, "frames": 4, "seconds": None, "geometry": "none", "time": "hops of 0.5 s"}
MOVING: dict[str, Any] = {"time": "80 ms a frame", "frames": 8, "seconds": 0.56, "sound": "none", "voiced": None}


def turned(a: int, b: int, c: int, d: int) -> tuple[int, ...]:
    return (a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30)


def rot(turns: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda picture: np.rot90(picture, turns)


KINDS: tuple[Kind, ...] = (
    # containers and codecs
    Kind("MP4", clip("a.mp4"), "MP4", "H.264"),
    Kind("MP4 with B-frames", clip("a.mp4", options=B_FRAMES), "MP4", "H.264, 3 B-frames"),
    Kind("MOV, 4:4:4", clip("a.mov", pixel_format="yuv444p"), "MOV", "H.264 4:4:4"),
    Kind("Matroska", clip("a.mkv"), "Matroska", "H.264"),
    Kind(
        "AVI with B-frames", clip("a.avi", options=B_FRAMES, sound_codec="mp3"), "AVI", "H.264, B-frames", sound="MP3"
    ),
    Kind(
        "AVI, MPEG-4",
        clip("a.avi", codec="mpeg4", options={"bf": "2"}, sound_codec="mp3"),
        "AVI",
        "MPEG-4 ASP",
        sound="MP3",
    ),
    Kind(
        "AVI, Motion JPEG",
        clip("a.avi", codec="mjpeg", pixel_format="yuvj420p", sound_codec="pcm_s16le"),
        "AVI",
        "Motion JPEG",
        sound="PCM",
    ),
    Kind("Transport stream", clip("a.ts", options=B_FRAMES), "MPEG-TS", "H.264"),
    Kind("Transport stream, joined", joined, "MPEG-TS", "H.264", time="begins anew midway"),
    Kind("Programme stream", clip("a.mpg", codec="mpeg2video", sound_codec="mp2"), "MPEG-PS", "MPEG-2", sound="MP2"),
    Kind("MPEG-1", clip("a.mpg", codec="mpeg1video", sound_codec="mp2"), "MPEG-PS", "MPEG-1", sound="MP2"),
    Kind("WebM, VP8", clip("a.webm", codec="libvpx", sound_codec="libopus"), "WebM", "VP8", sound="Opus"),
    Kind(
        "WebM, VP9",
        clip("a.webm", codec="libvpx-vp9", sound_codec="libopus", options={"deadline": "realtime", "cpu-used": "8"}),
        "WebM",
        "VP9",
        sound="Opus",
    ),
    Kind("HEVC", clip("a.mp4", codec="libx265", options={"preset": "ultrafast"}), "MP4", "H.265"),
    Kind(
        "HEVC, ten bit",
        clip("a.mp4", codec="libx265", pixel_format="yuv420p10le", options={"preset": "ultrafast"}),
        "MP4",
        "H.265, 10 bit",
    ),
    Kind("AV1", clip("a.mp4", codec="libsvtav1", options={"preset": "12"}), "MP4", "AV1"),
    Kind("FLV", clip("a.flv"), "FLV", "H.264"),
    Kind("WMV", clip("a.wmv", sound=False, codec="wmv2", options={"b": "2M"}), "ASF", "WMV 8", **SILENT),
    Kind(
        "FFV1, grey",
        clip("a.mkv", codec="ffv1", pixel_format="gray", sound_codec="flac"),
        "Matroska",
        "FFV1 grey",
        sound="FLAC",
    ),
    Kind(
        "ProRes",
        clip("a.mov", codec="prores_ks", pixel_format="yuv422p10le", sound_codec="pcm_s16le"),
        "MOV",
        "ProRes",
        sound="PCM",
    ),
    Kind(
        "DV",
        clip("a.avi", codec="dvvideo", sound=False, pictures=squeezed(720, 576, (768, 576)), aspect=Fraction(16, 15)),
        "AVI",
        "DV PAL",
        "720×576, 16:15",
        size=(768, 576),
        **SILENT,
    ),
    Kind("raw H.264", clip("a.h264", sound=False), "none", "H.264", time="none: 25 fps", **SILENT),
    Kind("a wrong ending", renamed("a.mkv", b"wrong.mp4"), "Matroska", "H.264"),
    Kind("a name that is no UTF-8", renamed("a.mp4", b"caf\xe9.mp4"), "MP4", "H.264"),
    # geometry
    Kind(
        "1080p",
        clip("a.mp4", pictures=faces(1920, 1080, 10)),
        "MP4",
        "H.264",
        "1920×1080",
        size=(1920, 1080),
        frames=10,
        seconds=0.36,
    ),
    Kind(
        "4K",
        clip("a.mp4", pictures=faces(3840, 2160, 4)),
        "MP4",
        "H.264",
        "3840×2160",
        size=(3840, 2160),
        frames=4,
        seconds=0.12,
    ),
    Kind(
        "16:9 DV size",
        clip("a.mp4", pictures=squeezed(720, 576, (1024, 576)), aspect=Fraction(64, 45)),
        "MP4",
        "H.264",
        "720×576, 64:45",
        size=(1024, 576),
    ),
    Kind(
        "4:3 NTSC size",
        clip("a.mkv", pictures=squeezed(720, 480, (640, 480)), aspect=Fraction(8, 9)),
        "Matroska",
        "H.264",
        "720×480, 8:9",
        size=(640, 480),
    ),
    Kind(
        "AVCHD",
        clip("a.ts", pictures=squeezed(1440, 1080, (1920, 1080))[:8], aspect=Fraction(4, 3)),
        "MPEG-TS",
        "H.264",
        "1440×1080, 4:3",
        size=(1920, 1080),
        frames=8,
        seconds=0.28,
    ),
    Kind(
        "16:9 MPEG-2",
        clip(
            "a.mpg",
            codec="mpeg2video",
            sound_codec="mp2",
            pictures=squeezed(720, 576, (1024, 576)),
            aspect=Fraction(64, 45),
        ),
        "MPEG-PS",
        "MPEG-2",
        "720×576, 16:9",
        size=(1024, 576),
        sound="MP2",
    ),
    Kind(
        "turned by 90°",
        clip("a.mp4", pictures=stored(rot(1)), matrix=turned(0, 1, -1, 0)),
        "MP4",
        "H.264",
        "turned right",
    ),
    Kind(
        "turned by 180°",
        clip("a.mov", pictures=stored(rot(2)), matrix=turned(-1, 0, 0, -1)),
        "MOV",
        "H.264",
        "upside down",
    ),
    Kind(
        "turned by 270°",
        clip("a.mp4", pictures=stored(rot(3)), matrix=turned(0, -1, 1, 0)),
        "MP4",
        "H.264",
        "turned left",
    ),
    Kind(
        "mirrored",
        clip("a.mp4", pictures=stored(np.fliplr), matrix=turned(-1, 0, 0, 1)),
        "MP4",
        "H.264",
        "left and right",
    ),
    Kind(
        "flipped",
        clip("a.mp4", pictures=stored(np.flipud), matrix=turned(1, 0, 0, -1)),
        "MP4",
        "H.264",
        "top and bottom",
    ),
    Kind(
        "an odd size",
        clip("a.mkv", codec="ffv1", pixel_format="bgr0", pictures=faces(641, 361)),
        "Matroska",
        "FFV1",
        "641×361",
        size=(641, 361),
    ),
    # time
    Kind("variable rate", clip("a.mkv", times_ms=vfr()), "Matroska", "H.264", time="variable", seconds=1.194),
    Kind("60 fps", clip("a.mp4", fps=60), "MP4", "H.264", time="60 fps", seconds=29 / 60),
    Kind(
        "a picture each 2 s",
        clip("a.mkv", times_ms=[2000 * n for n in range(6)], pictures=faces(count=6)),
        "Matroska",
        "H.264",
        time="0.5 fps",
        frames=6,
        seconds=10.0,
        notes=True,
    ),
    Kind(
        "one picture and a talk",
        clip("a.mkv", pictures=faces(count=1)),
        "Matroska",
        "H.264",
        time="one frame",
        frames=1,
        seconds=0.0,
        notes=True,
    ),
    Kind("picture begins late", clip("a.mp4", picture_begins_s=0.8), "MP4", "H.264", time="sound first"),
    Kind("sound begins late", clip("a.mp4", sound_begins_s=0.5), "MP4", "H.264", time="picture first"),
    # pictures
    Kind("JPEG", still("a.jpg"), "JPEG", "baseline", **STILL),
    Kind("PNG", still("a.png"), "PNG", "", **STILL),
    Kind("WebP", still("a.webp"), "WebP", "", **STILL),
    Kind("TIFF", still("a.tiff"), "TIFF", "", **STILL),
    Kind("BMP", still("a.bmp"), "BMP", "", **STILL),
    Kind("GIF, one frame", still("a.gif"), "GIF", "", **STILL),
    Kind("JPEG 2000", still("a.jp2"), "JP2", "", **STILL),
    Kind("AVIF", still("a.avif"), "AVIF", "AV1", **STILL),
    Kind("AVIF in tiles", grid("a.avif"), "AVIF", "AV1, grid 2×2", **STILL),
    Kind("HEIC in tiles", grid("a.heic"), "HEIC", "H.265, grid 2×2", **STILL),
    Kind("HEIC in tiles, turned", grid("a.heic", rotated(3), apply=rot(1)), "HEIC", "H.265, grid 2×2", "irot", **STILL),
    Kind("EXIF 2", exif("a.jpg", 2, np.fliplr), "JPEG", "EXIF 2", "mirrored", **STILL),
    Kind("EXIF 3", exif("a.jpg", 3, rot(2)), "JPEG", "EXIF 3", "upside down", **STILL),
    Kind("EXIF 4", exif("a.png", 4, np.flipud), "PNG", "EXIF 4", "flipped", **STILL),
    Kind("EXIF 5", exif("a.jpg", 5, lambda p: p.transpose(1, 0, 2)), "JPEG", "EXIF 5", "transposed", **STILL),
    Kind("EXIF 6", exif("a.webp", 6, rot(1)), "WebP", "EXIF 6", "turned", **STILL),
    Kind(
        "EXIF 7", exif("a.jpg", 7, lambda p: np.rot90(p.transpose(1, 0, 2), 2)), "JPEG", "EXIF 7", "transverse", **STILL
    ),
    Kind("EXIF 8", exif("a.tiff", 8, rot(3)), "TIFF", "EXIF 8", "turned", **STILL),
    Kind("animated GIF", animation("a.gif"), "GIF", "", **MOVING),
    Kind("animated PNG", animation("a.png"), "APNG", "", **MOVING),
    Kind("animated WebP", animation("a.webp"), "WebP", "", **MOVING),
    Kind("animated AVIF", animation("a.avif"), "AVIF", "AV1", **MOVING),
    # sound and tracks
    Kind("two tracks of each", two_tracks, "Matroska", "H.264", sound="AAC, two tracks", notes=True),
    Kind("WAV", channels("a.wav", lambda v: [v]), "WAV", "none", sound="PCM mono", **SOUND),
    Kind(
        "WAV, inverted stereo",
        channels("a.wav", lambda v: [v, -v]),
        "WAV",
        "none",
        sound="PCM, inverted",
        notes=True,
        **SOUND,
    ),
    Kind(
        "WAV, a voice a channel",
        channels("a.wav", lambda v: [v, 0 * v]),
        "WAV",
        "none",
        sound="PCM, --channel each",
        how={"channel": "each"},
        **SOUND,
    ),
    Kind(
        "WAV, 5.1",
        channels("a.wav", lambda v: [0 * v, 0 * v, v, 0 * v, 0 * v, 0 * v]),
        "WAV",
        "none",
        sound="PCM 5.1",
        **SOUND,
    ),
    Kind("FLAC", clip("a.flac", pictures=(), sound_codec="flac"), "FLAC", "none", **(SOUND | {"sound": "FLAC"})),
    Kind("MP3", clip("a.mp3", pictures=(), sound_codec="mp3"), "MP3", "none", **(SOUND | {"sound": "MP3"})),
    Kind("Ogg Opus", clip("a.ogg", pictures=(), sound_codec="libopus"), "Ogg", "none", **(SOUND | {"sound": "Opus"})),
)
