"""Converts decoded frames to upright RGB pixels and mono float samples."""

from __future__ import annotations

import logging
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

log = logging.getLogger(__name__)

# Tolerance for rounding to whole (and even) pixels when aspect ratios are compared.
SHAPE_TOLERANCE = 0.02
MOST_SIZES_TOLD = 16
FULL_SCALE = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63, "flt": 1.0, "dbl": 1.0}
SIDE_CHANNEL_WEIGHTS = {"FL": 0.5**0.5, "FR": 0.5**0.5, "FC": 1.0, "LFE": 0.0, "LFE2": 0.0}
OTHER_CHANNEL_WEIGHT = 0.5


def scaled_size(width: int, height: int, max_height: int | None) -> tuple[int, int]:
    """(width, height) of a picture after scaling down to `max_height`; smaller ones are unchanged."""
    if max_height is None or height <= max_height:
        return width, height
    return max(1, round(width * max_height / height)), max_height


def _same_shape(size: tuple[int, int], other: tuple[int, int]) -> bool:
    width, height = size
    return abs(width * other[1] - height * other[0]) <= SHAPE_TOLERANCE * width * other[1]


class PixelConverter:
    """Turns the frames of one source into uint8 [H, W, 3] RGB, contiguous.

    Phone videos are turned upright by the rotation in their metadata, in steps of 90° (a mirroring there is
    ignored). The sample aspect ratio is ignored: a pixel of the file is a pixel here, so that boxes agree
    with other programs.

    A source may change its size midway. Pictures with the same aspect ratio are then scaled to the size of the first,
    so that boxes and tracks continue; those with another (a phone turned round, a camera switched to 4:3) keep a size
    of their own, because a stretched face shows another emotion.
    """

    def __init__(self, max_height: int | None) -> None:
        self._max_height = max_height
        self._reformatter = VideoReformatter()
        self._size: tuple[int, int] | None = None
        self._sizes: set[tuple[int, int]] = set()

    def __call__(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """Convert a frame. Raises av.FFmpegError if its pixel format can't be converted."""
        turns = round(frame.rotation / 90) % 4
        upright = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
        if self._size is None or upright not in self._sizes:
            self._note(upright)
        if self._size is None or not _same_shape(upright, self._size):
            self._size = scaled_size(*upright, self._max_height)
        width, height = reversed(self._size) if turns % 2 else self._size
        rgb = self._reformatter.reformat(
            frame, width=width, height=height, format="rgb24", interpolation=Interpolation.FAST_BILINEAR
        )
        pixels = rgb.to_ndarray().astype(np.uint8, copy=False)
        return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels

    def _note(self, upright: tuple[int, int]) -> None:
        if self._sizes and len(self._sizes) < MOST_SIZES_TOLD:
            log.warning("the picture changed its size midway: it is %d×%d now", *upright)
        self._sizes.add(upright)


class SampleConverter:
    """Turns the frames of one source into mono float32 samples at the rate of its first frame.

    Channels are mixed by the weights of ITU-R BS.775 (front 0.71, centre 1, surround 0.5, low frequency 0), scaled
    to a sum of one so that nothing clips: stereo becomes its mean.
    """

    def __init__(self) -> None:
        self.rate = 0
        self._resampler: av.AudioResampler | None = None

    def __call__(self, frame: av.AudioFrame) -> NDArray[np.float32]:
        """Convert a frame to float32 [n]."""
        if self.rate == 0:
            self.rate = frame.sample_rate
        if frame.sample_rate == self.rate:
            return _mono(frame)
        return self._resampled(frame)

    def _resampled(self, frame: av.AudioFrame) -> NDArray[np.float32]:
        """Resample a frame, for a source that changes its rate midway."""
        if self._resampler is None:
            self._resampler = av.AudioResampler(format="fltp", layout=frame.layout, rate=self.rate)
        parts = [_mono(part) for part in self._resampler.resample(frame)]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _mono(frame: av.AudioFrame) -> NDArray[np.float32]:
    channels = frame.layout.nb_channels
    values: NDArray[Any] = frame.to_ndarray()
    values = values if frame.format.is_planar else values.reshape(-1, channels).T
    sample_format = frame.format.name.removesuffix("p")
    zero = 128.0 if sample_format == "u8" else 0.0
    weights = _weights(frame) / FULL_SCALE[sample_format]
    mixed: NDArray[np.float32] = np.clip(weights @ (values.astype(np.float32) - np.float32(zero)), -1.0, 1.0)
    return mixed


def _weights(frame: av.AudioFrame) -> NDArray[np.float32]:
    names = [channel.name for channel in frame.layout.channels]
    weights = np.array([SIDE_CHANNEL_WEIGHTS.get(name, OTHER_CHANNEL_WEIGHT) for name in names], np.float32)
    if weights.sum() == 0:
        weights[:] = 1.0
    normal: NDArray[np.float32] = weights / weights.sum()
    return normal
