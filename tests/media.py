"""Makes small media files for tests, with PyAV: pictures that carry their own number, faces, speech, silence."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from bimodal.workers.capture import files
from bimodal.workers.demo import DEMO

Pixels = NDArray[np.uint8]
Samples = NDArray[np.float32]

PORTRAIT = DEMO.with_name("portrait.jpg")
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
COLUMNS, ROWS = 8, 2

# ------------------------------------------------------------------------------------ pictures


def numbered(number: int, width: int = 160, height: int = 96) -> Pixels:
    """A picture that shows `number` (0 … 65535) as 2 × 8 black and white blocks; survives coding and scaling."""
    bits = [(number >> place) & 1 for place in range(COLUMNS * ROWS)]
    blocks = np.array(bits, np.uint8).reshape(ROWS, COLUMNS) * 219 + 18
    grey = cv2.resize(blocks, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.repeat(grey[..., None], 3, axis=2)


def read_number(pixels: Pixels) -> int:
    """The number that a picture shows."""
    height, width = pixels.shape[:2]
    rows = [(2 * row + 1) * height // (2 * ROWS) for row in range(ROWS)]
    columns = [(2 * column + 1) * width // (2 * COLUMNS) for column in range(COLUMNS)]
    bits = pixels[np.ix_(rows, columns)][..., 1].ravel() > 127
    return sum(int(bit) << place for place, bit in enumerate(bits))


@cache
def _portrait() -> Pixels:
    return next(files.pictures(PORTRAIT)).pixels


def scene(faces: int, t: float = 0.0, width: int = 640, height: int = 360) -> Pixels:
    """A plain wall with 0, 1 or 2 faces (the demo's portrait, about 150 pixels high) that sway with `t` seconds."""
    picture = np.full((height, width, 3), 190, np.uint8)
    side = round(height * 0.9)
    face = cv2.resize(_portrait()[10:210, 124:324], (side, side), interpolation=cv2.INTER_AREA)
    for number in range(faces):
        centre = width * (2 * number + 1) / (2 * faces) + 6 * np.sin(2 * np.pi * t / 3 + number)
        left, top = round(centre - side / 2), (height - side) // 2
        left = min(max(0, left), width - side)
        picture[top : top + side, left : left + side] = face
    return picture


# ------------------------------------------------------------------------------------ sound


def silence(seconds: float, rate: int = 48000) -> Samples:
    """Nothing to hear."""
    return np.zeros(round(seconds * rate), np.float32)


def tone(seconds: float, rate: int = 48000, hertz: float = 440.0) -> Samples:
    """A sine of half scale."""
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def noise(seconds: float, rate: int = 48000, seed: int = 0) -> Samples:
    """White noise, the same at every call; no stretch of it resembles another."""
    return np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * rate)).astype(np.float32)


@cache
def _demo_speech() -> tuple[Samples, int]:
    pieces = list(files.sounds(DEMO))
    return np.concatenate([piece.samples for piece in pieces]), pieces[0].rate


def speech(seconds: float = 4.0) -> tuple[Samples, int]:
    """(samples, rate): the demo's first sentence (it lasts about 4 s), cut or followed by silence."""
    samples, rate = _demo_speech()
    said = samples[round(0.8 * rate) : round(5.0 * rate)]
    wanted = np.zeros(round(seconds * rate), np.float32)
    wanted[: said.size] = said[: wanted.size]
    return wanted, rate


# ------------------------------------------------------------------------------------ files


def ordinary_priority() -> None:
    """Take back the real-time priority that libsvtav1 gives the thread that calls it where that is root's: processes
    that are started afterwards would inherit it, and one of them that spins would stop the whole machine."""
    if hasattr(os, "sched_setscheduler") and os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def write_clip(
    path: Path,
    pictures: Iterable[Pixels] = (),
    *,
    fps: int = 25,
    times_ms: Sequence[int] | None = None,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    rotation: int = 0,
    matrix: Sequence[int] | None = None,
    aspect: Fraction | None = None,
    sound: Samples | None = None,
    rate: int = 48000,
    sound_codec: str = "aac",
    sound_begins_s: float = 0.0,
    picture_begins_s: float = 0.0,
) -> Path:
    """A media file; its ending says which container. Picture or sound may be left out.

    Args:
        times_ms: when each picture is shown, for a variable frame rate; by default number / fps.
        options: of the video encoder; by default fast and without B-frames.
        rotation: degrees counter-clockwise, as metadata.
        matrix: display matrix as a b u c d v x y w (16.16 fixed point, w 2.30), as metadata.
        aspect: sample aspect ratio, width by height of a pixel.
        sound: float32 [n], or [channels, n].
    """
    pictures = list(pictures)
    with av.open(str(path), "w") as container:
        video = _video_stream(container, pictures, fps, codec, pixel_format, options, rotation)
        if video is not None and matrix is not None:
            video.set_display_matrix(matrix)
        if video is not None and aspect is not None:
            video.codec_context.sample_aspect_ratio = aspect
        audio = None
        if sound is not None:
            sound = np.atleast_2d(sound)
            audio = container.add_stream(sound_codec, rate=rate, layout=LAYOUTS[len(sound)])
        if video is not None:
            in_ms = times_ms is not None or picture_begins_s > 0
            video.codec_context.time_base = Fraction(1, 1000 if in_ms else fps)
            for number, pixels in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=pixel_format)
                frame.pts, frame.time_base = number, Fraction(1, fps)
                if in_ms:
                    shown_ms = times_ms[number] if times_ms is not None else number * 1000 / fps
                    frame.pts, frame.time_base = round(shown_ms + 1000 * picture_begins_s), Fraction(1, 1000)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        if audio is not None and sound is not None:
            _write_sound(container, audio, sound, rate, sound_begins_s)
    return path


def _video_stream(
    container: Any, pictures: list[Pixels], fps: int, codec: str, pixel_format: str, options: Any, rotation: int
) -> Any:
    if not pictures:
        return None
    fast = {"preset": "ultrafast", "bf": "0", "crf": "20"} if codec == "libx264" else {}
    stream = container.add_stream(codec, rate=fps, options=options or fast)
    stream.height, stream.width = pictures[0].shape[:2]
    stream.pix_fmt = pixel_format
    if rotation:
        stream.set_display_rotation(rotation)
    return stream


def _write_sound(container: Any, stream: Any, sound: Samples, rate: int, begins_s: float) -> None:
    wanted = stream.codec_context.format.name
    values = (sound * 32767).astype(np.int16) if wanted.startswith("s16") else sound.astype(np.float32)
    planar = "s16p" if wanted.startswith("s16") else "fltp"
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(values), format=planar, layout=LAYOUTS[len(sound)])
    frame.sample_rate, frame.pts, frame.time_base = rate, round(begins_s * rate), Fraction(1, rate)
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def numbered_clip(path: Path, count: int = 50, **how: Any) -> Path:
    """A clip whose frame n shows the number n. `how` as for `write_clip`."""
    return write_clip(path, [numbered(number) for number in range(count)], **how)


def face_clip(path: Path, seconds: float = 2.0, *, faces: int = 1, fps: int = 25, voice: bool = True) -> Path:
    """0, 1 or 2 faces, with speech or silence."""
    pictures = [scene(faces, number / fps) for number in range(round(seconds * fps))]
    sound, rate = speech(seconds) if voice else (silence(seconds), 48000)
    return write_clip(path, pictures, fps=fps, sound=sound, rate=rate)
