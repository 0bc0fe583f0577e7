"""The demo clip at other frame rates: as coded packets with other times, and as decoded pictures."""

from __future__ import annotations

import itertools
import math
import os
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from bimodal.workers.demo import DEMO

AT_LEAST_S = 10
"""A short looped file would be opened again and again, which a camera is not."""


def at_pace(target: Path, fps: int, *, sound: bool) -> Path:
    """Write the clip, repeated as needed, at `fps` pictures a second, without decoding. Returns `target`.

    Sound keeps its own speed and is cut to the length of the picture: mouths and voice are then out of step, which
    costs the same work.
    """
    with av.open(str(DEMO)) as source, av.open(str(target), "w", format="mp4") as clip:
        picture = source.streams.video[0]
        assert picture.average_rate is not None
        assert picture.time_base is not None
        assert picture.duration is not None
        slower = Fraction(picture.average_rate) / fps
        seconds = picture.duration * picture.time_base * slower
        written: dict[int, av.VideoStream | av.AudioStream] = {picture.index: clip.add_stream_from_template(picture)}
        if sound:
            audio = source.streams.audio[0]
            written[audio.index] = clip.add_stream_from_template(audio)
        for round_number in range(math.ceil(AT_LEAST_S / seconds)):
            source.seek(0)
            for packet in source.demux([source.streams[index] for index in written]):
                if packet.dts is None or packet.pts is None:
                    continue
                if packet.stream.type == "video":
                    packet.pts += round_number * picture.duration
                    packet.dts += round_number * picture.duration
                    packet.time_base = packet.time_base * slower
                elif round_number or (packet.pts + (packet.duration or 0)) * packet.time_base > seconds:
                    continue
                packet.stream = written[packet.stream.index]
                clip.mux(packet)
    return target


# The demo clip decoded, so that measurements contain face models and no H.264 decoding.

FPS = 25
FIRST, COUNT = 20, 100
"""Frames of the clip that all show a speaking face."""


class Decoded(NamedTuple):
    """Four seconds of the clip.

    Attributes:
        clip: a video of raw pictures and sound.
        silent: the same without sound.
        frames: the pictures as .npy, uint8 [N, H, W, 3] RGB.
        sound: the sound as .npy, float32 [samples] mono.
        rate: of the sound, in Hz.
        fps: of the frames.
    """

    clip: Path
    silent: Path
    frames: Path
    sound: Path
    rate: int
    fps: float


def decoded(folder: Path) -> Decoded:
    """Write the decoded clip into `folder`, unless it is there already."""
    names = ("frames.npy", "sound.npy", "frames.nut", "silent.nut")
    frames, sound, clip, silent = (folder / name for name in names)
    with av.open(str(DEMO)) as demo:
        rate = demo.streams.audio[0].rate
    if not clip.is_file():
        pictures, samples = _read(rate)
        np.save(frames, pictures)
        np.save(sound, samples)
        _write(silent, pictures)
        _write(clip, pictures, samples, rate)
    return Decoded(clip, silent, frames, sound, rate, float(FPS))


def paced(folder: Path, fps: int, *, sound: bool) -> Path:
    """Write a video of the same raw pictures at `fps` pictures a second.

    Sound is cut to the length of the picture (mouths and voice are then out of step, which costs the same work).
    """
    path = folder / f"paced-{fps}-{'sound' if sound else 'silent'}.nut"
    if not path.is_file():
        media = decoded(folder)
        samples = np.load(media.sound) if sound else None
        # Many streams read the silent one, so it is as small as possible.
        rounds = math.ceil(AT_LEAST_S * fps / COUNT) if sound else 1
        _write(path, np.load(media.frames, mmap_mode="r"), samples, media.rate, fps, rounds)
        # Writing back to disk during a measurement would take CPU time from it.
        os.sync()
    return path


def _read(rate: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    with av.open(str(DEMO)) as demo:
        pictures = [frame.to_ndarray(format="rgb24") for frame in demo.decode(video=0)]
    with av.open(str(DEMO)) as demo:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
        parts = [part.to_ndarray()[0] for frame in demo.decode(audio=0) for part in resampler.resample(frame)]
    samples = np.concatenate(parts)
    begin, end = (round(number / FPS * rate) for number in (FIRST, FIRST + COUNT))
    return np.stack(pictures[FIRST : FIRST + COUNT]), samples[begin:end].astype(np.float32)


def _write(
    path: Path,
    pictures: NDArray[np.uint8],
    samples: NDArray[np.float32] | None = None,
    rate: int = 0,
    fps: int = FPS,
    rounds: int = 1,
) -> None:
    with av.open(str(path), "w") as film:
        video = film.add_stream("rawvideo", rate=fps)
        video.height, video.width = pictures.shape[1:3]
        video.pix_fmt = "rgb24"
        audio = None if samples is None else film.add_stream("pcm_s16le", rate=rate, layout="mono")
        for number, picture in enumerate(itertools.chain.from_iterable(itertools.repeat(pictures, rounds))):
            film.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            if audio is not None and samples is not None:
                film.mux(audio.encode(_audio_frame(samples, rate // fps, rate, number)))
        for stream in (video, audio):
            if stream is not None:
                film.mux(stream.encode(None))


def _audio_frame(samples: NDArray[np.float32], step: int, rate: int, number: int) -> av.AudioFrame:
    """Encode `step` samples, the sound of one frame."""
    begin = number % COUNT * step
    part = samples[begin : begin + step]
    audio = av.AudioFrame.from_ndarray((part * 32767).astype(np.int16)[None], format="s16", layout="mono")
    audio.sample_rate = rate
    audio.pts = number * step
    return audio
