"""Make demo.mp4 out of portrait.jpg and espeak-ng: `python -m scripts.make_demo [FILE]`.

A face that moves and speaks two sentences with a silent pause between them, and two seconds without a face.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import soxr
from numpy.typing import NDArray

from bimodal.workers.capture.files import pictures, sounds
from bimodal.workers.demo import DEMO

WIDTH, HEIGHT, FPS = 640, 360, 25
RATE = 48000
SECONDS = 14.0
AWAY = (7.0, 9.0)
TURN_S = 0.24
SURPRISED_FROM = 9.0
OPENING_PX = 9.0


@dataclass(frozen=True, slots=True)
class Sentence:
    """A spoken sentence: text, start in seconds, and espeak-ng's pitch (0–99) and speed (words a minute)."""

    text: str
    begins_s: float
    pitch: int
    speed: int


SENTENCES = (
    Sentence("What a wonderful morning! I am so happy to see you all again.", 0.8, 75, 160),
    Sentence("Oh! I really did not expect that. What on earth has happened here?", 9.5, 55, 165),
)


def main() -> None:
    """Write the clip."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else DEMO
    speech = synthesize_all(SENTENCES)
    loudness = loudness_of(speech)
    portrait = next(pictures(DEMO.with_name("portrait.jpg"))).pixels
    frames = [frame_at(portrait, number / FPS, loudness[number]) for number in range(round(SECONDS * FPS))]
    write(target, frames, speech)


def synthesize_all(sentences: tuple[Sentence, ...]) -> NDArray[np.float32]:
    """Synthesise all sentences in their places: float32 [SECONDS · RATE], silence between them."""
    track = np.zeros(round(SECONDS * RATE), np.float32)
    for sentence in sentences:
        voice = synthesize(sentence)
        begin = round(sentence.begins_s * RATE)
        track[begin : begin + voice.size] += voice[: track.size - begin]
    return np.asarray(0.7 * track / np.abs(track).max(), np.float32)


def synthesize(sentence: Sentence) -> NDArray[np.float32]:
    """Synthesise one sentence with espeak-ng: float32 [n] at RATE."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "speech.wav"
        voice = ["-v", "en-us+f3", "-p", str(sentence.pitch), "-s", str(sentence.speed)]
        subprocess.run(["espeak-ng", *voice, "-w", str(file), sentence.text], check=True)
        pieces = list(sounds(file))
    samples = np.concatenate([piece.samples for piece in pieces])
    return np.asarray(soxr.resample(samples, pieces[0].rate, RATE), np.float32)


def loudness_of(speech: NDArray[np.float32]) -> NDArray[np.float32]:
    """Loudness at each frame, slightly smoothed: float32 [frames], 0…1."""
    per_frame = speech.reshape(-1, RATE // FPS)
    level = np.sqrt((per_frame**2).mean(axis=1))
    smooth = np.convolve(level, [0.25, 0.5, 0.25], mode="same")
    return np.asarray(np.clip(smooth / np.percentile(smooth[smooth > 0.01], 90), 0, 1), np.float32)


def frame_at(portrait: NDArray[np.uint8], t: float, loudness: float) -> NDArray[np.uint8]:
    """Render the frame at `t` seconds: uint8 [HEIGHT, WIDTH, 3]."""
    surprise = _ease((t - SURPRISED_FROM) / 0.8) * (1 - _ease((t - (SECONDS - 0.8)) / 0.8))
    expression = Expression(
        opening=OPENING_PX * loudness + 9 * surprise,
        brows=7 * surprise + 1.5 * loudness,
        narrowing=9 * surprise,
        drooping=4 * surprise,
    )
    x, y, wide = _view(t)
    scale = WIDTH / wide
    matrix = np.array([[scale, 0, WIDTH / 2 - x * scale], [0, scale, HEIGHT / 2 - y * scale]], np.float32)
    shown = express(portrait, expression)
    view = cv2.warpAffine(shown, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(view, np.uint8)


def _view(t: float) -> tuple[float, float, float]:
    """Centre and width of the view, in pixels of the portrait: it drifts, and leaves the face for a while."""
    x = 230 + 22 * np.sin(2 * np.pi * t / SECONDS)
    y = 132 + 8 * np.sin(4 * np.pi * t / SECONDS)
    wide = 390 - 70 * np.sin(np.pi * t / SECONDS) ** 2
    away = _ease((t - AWAY[0] + TURN_S) / TURN_S) * (1 - _ease((t - AWAY[1]) / TURN_S))
    return x + away * (424 - x), y + away * (70 - y), wide + away * (150 - wide)


def _ease(share: float) -> float:
    """Smoothstep: 0…1 with a soft start and end."""
    share = min(1.0, max(0.0, share))
    return share * share * (3 - 2 * share)


def write(target: Path, frames: list[NDArray[np.uint8]], speech: NDArray[np.float32]) -> None:
    """Write H.264 and AAC into an mp4 with its index first."""
    with av.open(str(target), "w", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=FPS, options={"crf": "23", "preset": "slow"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = container.add_stream("aac", rate=RATE, layout="mono")
        audio.bit_rate = 64000
        for number, pixels in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, FPS)
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(speech[None], format="fltp", layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = RATE, 0, Fraction(1, RATE)
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))


# The expression of the portrait: mouth and brows move. Lengths are in pixels of the portrait.

MOUTH_X, CORNER_Y, HALF_WIDTH = 224.0, 140.0, 22.0
LIP_DEPTH = 10.0
NECK_Y = 186.0
CORNERS = ((203.0, 140.0), (245.0, 140.0))
BROWS = ((200.0, 90.0), (252.0, 92.0))
INSIDE_OF_MOUTH = (52, 18, 22)


@dataclass(frozen=True, slots=True)
class Expression:
    """Shifts in pixels of the portrait.

    Attributes:
        opening: lower lip down.
        brows: brows up.
        narrowing: corners of the mouth inwards.
        drooping: corners of the mouth down.
    """

    opening: float = 0.0
    brows: float = 0.0
    narrowing: float = 0.0
    drooping: float = 0.0


def express(portrait: NDArray[np.uint8], expression: Expression) -> NDArray[np.uint8]:
    """Warp the portrait to an expression: uint8 [H, W, 3]."""
    height, width = portrait.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    from_x, from_y = x.copy(), y.copy()
    for centre in BROWS:
        from_y += expression.brows * _bump(x, y, centre, 20, 9)
    for side, centre in zip((1.0, -1.0), CORNERS, strict=True):
        near = _bump(x, y, centre, 12, 11)
        from_x -= side * expression.narrowing * near
        from_y -= expression.drooping * near
    opening, lip_y = _opening(x, expression)
    below = np.clip((NECK_Y - y) / (NECK_Y - lip_y), 0, 1)
    lower = y > lip_y
    from_y = np.where(lower, np.maximum(from_y - opening * below, np.minimum(from_y, lip_y)), from_y)
    moved = np.asarray(cv2.remap(portrait, from_x, from_y.astype(np.float32), cv2.INTER_CUBIC), np.float32)
    inside = np.clip(np.minimum(y - lip_y, lip_y + opening - y) / 1.5, 0, 1)[..., None]
    painted = moved * (1 - inside) + np.array(INSIDE_OF_MOUTH, np.float32) * inside
    return np.asarray(np.clip(painted, 0, 255), np.uint8)


def _opening(x: NDArray[np.float32], expression: Expression) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Opening of the mouth in each column, and the row of the lower edge of the teeth."""
    half_width = HALF_WIDTH - 0.6 * expression.narrowing
    arch = np.clip(1 - ((x - MOUTH_X) / half_width) ** 2, 0, 1).astype(np.float32)
    lip_y = CORNER_Y + expression.drooping * (1 - arch) + LIP_DEPTH * arch
    return expression.opening * np.sqrt(arch), lip_y


def _bump(
    x: NDArray[np.float32], y: NDArray[np.float32], centre: tuple[float, float], wide: float, high: float
) -> NDArray[np.float32]:
    bump: NDArray[np.float32] = np.exp(-(((x - centre[0]) / wide) ** 2) - ((y - centre[1]) / high) ** 2)
    return bump


if __name__ == "__main__":
    main()
