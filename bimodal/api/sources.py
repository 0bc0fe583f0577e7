"""Sources of the API: a media file, pictures, samples, opened as the capture process opens them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from bimodal.config import Config, check_config, load_config
from bimodal.workers.capture.choice import DEFAULT, Channel, Choice, channel_names
from bimodal.workers.capture.open_source import file_source
from bimodal.workers.capture.pixels import Phase
from bimodal.workers.capture.types import OpenSource, Picture, Sound, SourceInfo
from bimodal.workers.errors import SourceError

NANO = 1_000_000_000
PIECE_S = 1.0

Source: TypeAlias = "str | os.PathLike[str] | NDArray[Any]"
ConfigLike: TypeAlias = "str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | dict[str, Any] | Config | None"


def config_of(config: ConfigLike) -> Config:
    """Read a config: a path of a config.yaml, several of which a later one adds to those before it, its values as a
    dict, or None for the defaults.

    Raises ConfigError where it says something that it may not.
    """
    match config:
        case None:
            return Config()
        case Config():
            return config
        case dict():
            return check_config(config, "config")
        case str() | os.PathLike():
            return load_config(Path(config))
        case _:
            return load_config([Path(path) for path in config])


def open_media(
    source: Source,
    max_height: int,
    *,
    fps: float | None = None,
    sound: NDArray[Any] | None = None,
    rate: int | None = None,
    choice: Choice = DEFAULT,
) -> OpenSource:
    """Open a media file, or arrays.

    Args:
        source: a path; pictures uint8 [N, H, W, 3] RGB; or samples float32 [S] or [S, C], −1…1.
        max_height: pictures of a file that are higher are scaled down to it.
        fps: pictures a second, needed with pictures.
        sound: samples that belong to pictures.
        rate: samples a second, needed with samples.
        choice: what to take of several tracks or channels.

    Raises SourceError where the file can't be read, or an array is none of these.
    """
    if not isinstance(source, np.ndarray):
        if fps is not None or sound is not None or rate is not None:
            raise SourceError("fps, sound and rate go with arrays; a media file says them itself")
        return file_source(Path(source), max_height, choice=choice)
    pictures = check_pictures(source) if source.ndim > 2 else None
    samples = source if pictures is None else sound
    if pictures is not None and not (fps and fps > 0):
        raise SourceError("pictures need fps=, the number of them a second")
    voices = None if samples is None else voices_of(samples, rate, choice.channel)
    return _of_arrays(pictures, fps or 0.0, voices, rate or 0, choice)


def choice_of(video_track: int | None, audio_track: int | None, channel: Channel) -> Choice:
    """Make the choice among several tracks and channels. Raises SourceError for one that can't be."""
    try:
        return msgspec.convert({"video_track": video_track, "audio_track": audio_track, "channel": channel}, Choice)
    except msgspec.ValidationError as error:
        raise SourceError(
            f"tracks are numbers from 1, channel= mix, left, right, each or such a number: {error}"
        ) from error


LOUDEST = 8.0
"""Mixes reach a little more than 1; what reaches more than this has another scale."""


def check_pictures(pictures: NDArray[Any]) -> NDArray[np.uint8]:
    """Pictures as they are. Raises SourceError unless they are uint8 [N, H, W, 3] with N, H and W above 0."""
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[3] != 3 or 0 in pictures.shape:
        raise SourceError(f"pictures are uint8 [N, H, W, 3] RGB, not {pictures.dtype} {list(pictures.shape)}")
    return pictures


def check_picture(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """One picture as it is. Raises SourceError unless it is uint8 [H, W, 3] with H and W above 0."""
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise SourceError(f"a picture is uint8 [H, W, 3] RGB, not {picture.dtype} {list(picture.shape)}")
    return picture


def voices_of(samples: NDArray[Any], rate: int | None, channel: Channel = "mix") -> NDArray[np.float32]:
    """Samples float32 [V, S] of each voice: the mean of all channels, a chosen one, or one a channel.

    Raises SourceError unless they are floating point [S] or [S, C] and about −1…1, `rate` is above 0, and the channel
    exists.
    """
    if not np.issubdtype(samples.dtype, np.floating) or samples.ndim not in (1, 2) or 0 in samples.shape:
        raise SourceError(f"samples are float32 [S] or [S, C] in −1…1, not {samples.dtype} {list(samples.shape)}")
    if rate is None or rate <= 0:
        raise SourceError("samples need rate=, the number of them a second")
    largest = float(np.abs(samples).max())
    if not largest <= LOUDEST:
        why = (
            f"reach {largest:g}: divide int16 by 32768" if np.isfinite(largest) else "are not finite (NaN or infinite)"
        )
        raise SourceError(f"samples lie in −1…1, but some {why}")
    values = np.ascontiguousarray(samples[None] if samples.ndim == 1 else samples.T, dtype=np.float32)
    if channel == "mix":
        mixed: NDArray[np.float32] = Phase()(values, rate).mean(axis=0, keepdims=True)
        return mixed
    if channel == "each":
        return values
    number = {"left": 1, "right": 2}.get(str(channel), channel)
    assert isinstance(number, int)
    if number > len(values):
        raise SourceError(f"there is no channel {channel}: the samples have {len(values)}")
    return values[number - 1 : number]


def _of_arrays(
    pictures: NDArray[np.uint8] | None, fps: float, voices: NDArray[np.float32] | None, rate: int, choice: Choice
) -> OpenSource:
    count, height, width = pictures.shape[:3] if pictures is not None else (0, 0, 0)
    seconds = max(count / fps if count else 0.0, voices.shape[1] / rate if voices is not None else 0.0)
    info = SourceInfo(
        has_picture=pictures is not None,
        has_sound=voices is not None,
        width=width,
        height=height,
        fps=fps,
        frames_estimate=count or None,
        duration_ns=round(seconds * NANO),
        sample_rate=rate,
        live=False,
        name="array",
        channels=channel_names(choice.channel, len(voices)) if voices is not None else (),
    )
    return OpenSource(
        info=info,
        pictures=None if pictures is None else lambda: _pictures(pictures, fps),
        sounds=None if voices is None else lambda: _sounds(voices, rate),
    )


def _pictures(pictures: NDArray[np.uint8], fps: float) -> Iterator[Picture]:
    for number, pixels in enumerate(pictures):
        yield Picture(round(number / fps * NANO), time.monotonic_ns(), np.ascontiguousarray(pixels))


def _sounds(voices: NDArray[np.float32], rate: int) -> Iterator[Sound]:
    piece = round(PIECE_S * rate)
    for begin in range(0, voices.shape[1], piece):
        for channel, samples in enumerate(voices):
            yield Sound(begin * NANO // rate, time.monotonic_ns(), samples[begin : begin + piece], rate, channel)
