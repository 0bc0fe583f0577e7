"""Media files that misbehave: cut off, damaged in the middle, uneven, changing their size, very large, very fast."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np

from tests.media import noise, numbered, numbered_clip, scene, write_clip

FACES_FPS = 25


def cut_with_index(folder: Path, name: str = "cut.mp4") -> Path:
    """An mp4 with its index in front, of whose 4 s the last 2 are gone: a download that broke off."""
    whole = folder / f"whole-{name}"
    with av.open(str(whole), "w", format="mp4", options={"movflags": "faststart"}) as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "bf": "0", "g": "5"})
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        for number in range(100):
            frame = av.VideoFrame.from_ndarray(numbered(number), format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    data = whole.read_bytes()
    begin = data.index(b"mdat")
    whole.unlink()
    cut = folder / name
    cut.write_bytes(data[: begin + (len(data) - begin) // 2])
    return cut


def damaged(folder: Path, name: str = "damaged.avi") -> Path:
    """40 pictures, of which three (8, 9 and 20) can't be decoded."""
    clip = numbered_clip(folder / name, 40, codec="png", pixel_format="rgb24")
    parts = clip.read_bytes().split(b"IHDR")
    for number in (8, 9, 20):  # frames count from 0, and a head comes before the first
        parts[number + 1] = bytes(8) + parts[number + 1][8:]  # a picture of no size
    clip.write_bytes(b"IHDR".join(parts))
    return clip


def noisy_h264(folder: Path, name: str = "scratched.ts") -> Path:
    """60 pictures of H.264, in whose packets bytes were changed at random: a bad cable."""
    clip = numbered_clip(folder / name, 60, options={"preset": "ultrafast", "bf": "0", "g": "5"})
    data = bytearray(clip.read_bytes())
    random = np.random.default_rng(1)
    for place in random.integers(len(data) // 4, len(data), 60):
        if place % 188 > 12:  # not the heads of the transport packets
            data[place] ^= 0x55
    clip.write_bytes(data)
    return clip


def changing_size(folder: Path, sizes: list[tuple[int, int]], name: str = "sizes.ts") -> Path:
    """One stream whose encoder was started again with another picture size, 10 pictures each."""
    joined = b""
    for number, (width, height) in enumerate(sizes):
        part = write_clip(
            folder / f"part-{number}.ts",
            [numbered(10 * number + n, width, height) for n in range(10)],
            options={"preset": "ultrafast", "bf": "0", "g": "5"},
        )
        joined += part.read_bytes()
        part.unlink()
    clip = folder / name
    clip.write_bytes(joined)
    return clip


def longer_sound(folder: Path, name: str = "longer sound.mp4", seconds: float = 3.0) -> Path:
    """1 s of picture, more of sound."""
    return write_clip(folder / name, [scene(1)] * FACES_FPS, sound=noise(seconds))


def longer_picture(folder: Path, name: str = "longer picture.mp4", frames: int = 75) -> Path:
    """3 s of picture, 1 s of sound."""
    return write_clip(folder / name, [scene(1)] * frames, sound=noise(1.0))


def fast(folder: Path, name: str = "fast.mp4", frames: int = 60) -> Path:
    """120 pictures a second."""
    return write_clip(folder / name, [numbered(number) for number in range(frames)], fps=120)


def large(folder: Path, name: str = "large.mkv", frames: int = 2) -> Path:
    """8K (7680 × 4320), as still pictures in motion."""
    picture = cv2.resize(scene(1), (7680, 4320), interpolation=cv2.INTER_NEAREST)
    return write_clip(folder / name, [picture] * frames, codec="mjpeg", pixel_format="yuvj420p")
