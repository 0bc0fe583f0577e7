"""Converts decoded frames to RGB pixels as a player shows them, and to mono float samples."""

from __future__ import annotations

import logging
import math
import struct
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import av
import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from bimodal.workers.capture.choice import Channel
from bimodal.workers.capture.hdr import is_hdr, tone_mapped
from bimodal.workers.errors import SourceError

log = logging.getLogger(__name__)

# Tolerance for rounding to whole (and even) pixels when aspect ratios are compared.
SHAPE_TOLERANCE = 0.02
MOST_SIZES_TOLD = 16
MOST_SIDE_DATA = 64
LIKELY_ASPECTS = (Fraction(1, 8), Fraction(8))
FULL_SCALE = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63, "flt": 1.0, "dbl": 1.0}
SIDE_CHANNEL_WEIGHTS = {"FL": 0.5**0.5, "FR": 0.5**0.5, "FC": 1.0, "LFE": 0.0, "LFE2": 0.0}
OTHER_CHANNEL_WEIGHT = 0.5


def scaled_size(width: int, height: int, max_height: int | None) -> tuple[int, int]:
    """(width, height) of a picture after scaling down to `max_height`; smaller ones are unchanged."""
    if max_height is None or height <= max_height:
        return width, height
    return max(1, round(width * max_height / height)), max_height


def scaled_to(pixels: NDArray[np.uint8], max_height: int | None) -> NDArray[np.uint8]:
    """Scale uint8 [H, W, 3] down to `max_height`; smaller ones are unchanged. Contiguous."""
    height, width = pixels.shape[:2]
    size = scaled_size(width, height, max_height)
    if size == (width, height):
        return np.ascontiguousarray(pixels)
    # OpenCV takes 0.1 s to load, and FFmpeg scales what it decodes by itself.
    import cv2

    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def squared(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """(width, height) with square pixels, of a picture whose pixels are `aspect` times as wide as high.

    An aspect ratio outside LIKELY_ASPECTS is a mistake of the file, and ignored.
    """
    if not aspect or not LIKELY_ASPECTS[0] <= aspect <= LIKELY_ASPECTS[1]:
        return width, height
    return max(1, round(width * aspect)), height


def _same_shape(size: tuple[int, int], other: tuple[int, int]) -> bool:
    width, height = size
    return abs(width * other[1] - height * other[0]) <= SHAPE_TOLERANCE * width * other[1]


class Orientation(NamedTuple):
    """One of the eight ways in which a stored picture is shown: transposed first, then mirrored along its axes."""

    transposed: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn stored pixels [H, W, 3] into shown ones, contiguous."""
        shown = pixels.transpose(1, 0, 2) if self.transposed else pixels
        return np.ascontiguousarray(shown[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1])

    def then(self, other: Orientation) -> Orientation:
        """This one, and `other` after it, as one."""
        rows, columns = (self.flip_columns, self.flip_rows) if other.transposed else (self.flip_rows, self.flip_columns)
        return Orientation(self.transposed != other.transposed, rows != other.flip_rows, columns != other.flip_columns)


AS_STORED = Orientation()
_MATRIX = struct.Struct("<9i")


def orientation(frame: av.VideoFrame) -> Orientation:
    """Read the display matrix of a frame (of a container, or made by FFmpeg from EXIF); other angles are rounded.

    The matrix [a b · / c d ·] sends column x and row y of the stored picture to a·x + c·y and b·x + d·y.
    """
    data = _side_data(frame)
    if data is None or len(data) != _MATRIX.size:
        return AS_STORED
    a, b, _, c, d, *_ = _MATRIX.unpack(data)
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(transposed=True, flip_rows=b < 0, flip_columns=c < 0)
    return Orientation(flip_rows=d < 0, flip_columns=a < 0)


def _side_data(frame: av.VideoFrame) -> bytes | None:
    try:
        known: Any = frame.side_data
    except ValueError:
        _name_side_data()
        known = frame.side_data
    found = known.get(SideDataType.DISPLAYMATRIX)
    return None if found is None else bytes(found)


def _name_side_data() -> None:
    """Give every number of FFmpeg's side data a name: PyAV 18 refuses to list those (EXIF, 31) that it does not know,
    and with them the display matrix that FFmpeg has made of the EXIF orientation."""
    known: Any = SideDataType._value2member_map_
    for number in set(range(MOST_SIDE_DATA)) - known.keys():
        member: Any = object.__new__(SideDataType)
        member._name_, member._value_ = f"UNKNOWN_{number}", number
        known[number] = member


class ShownPixels(NamedTuple):
    """A converted picture: uint8 [H, W, 3] RGB, and (width, height) as it is shown before it was scaled."""

    pixels: NDArray[np.uint8]
    size: tuple[int, int]


class PixelConverter:
    """Turns the frames of one source into pictures as a player shows them: uint8 [H, W, 3] RGB, contiguous.

    Applied are the display matrix (turned, mirrored) and the sample aspect ratio: widths are stretched until pixels are
    square, and rows stay. What is higher than `max_height` is scaled down to it in the same step.

    A source may change its size midway. Pictures with the same aspect ratio are then scaled to the size of the first,
    so that boxes and tracks continue; those with another (a phone turned round, a camera switched to 4:3) keep a size
    of their own, because a stretched face shows another emotion.
    """

    def __init__(self, max_height: int | None) -> None:
        self._max_height = max_height
        self._reformatter = VideoReformatter()
        self._shown: tuple[int, int] | None = None
        self._sizes: set[tuple[int, int]] = set()
        self._turned: tuple[tuple[int, int, int], Orientation] | None = None

    def __call__(self, frame: av.VideoFrame, aspect: Fraction | None = None) -> ShownPixels:
        """Convert a frame whose pixels have the aspect ratio `aspect`, width by height; None: square.

        Raises av.FFmpegError if its pixel format can't be converted.
        """
        turn = self._orientation(frame)
        stored = squared(frame.width, frame.height, aspect)
        upright = (stored[1], stored[0]) if turn.transposed else stored
        if self._shown is None or upright not in self._sizes:
            self._note(upright)
        if self._shown is None or not _same_shape(upright, self._shown):
            self._shown = upright
        size = scaled_size(*self._shown, self._max_height)
        width, height = reversed(size) if turn.transposed else size
        return ShownPixels(turn.apply(self.rgb(frame, width, height)), self._shown)

    def _orientation(self, frame: av.VideoFrame) -> Orientation:
        """Read the display matrix where the frame's rotation or size is another than before.

        PyAV's list of side data and its frame refer to each other: asked of every frame, whole pictures stay in memory
        until the collector runs.
        """
        told = (frame.rotation, frame.width, frame.height)
        if self._turned is None or self._turned[0] != told:
            self._turned = told, orientation(frame)
        return self._turned[1]

    def rgb(self, frame: av.VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
        """Convert a frame as it is stored, scaled to a size; HDR as an ordinary screen shows it."""
        if is_hdr(int(frame.color_trc)):
            wide = self._reformatter.reformat(frame, width=width, height=height, format="rgb48le")
            return tone_mapped(wide.to_ndarray().astype(np.uint16, copy=False), int(frame.color_trc))
        rgb = self._reformatter.reformat(
            frame, width=width, height=height, format="rgb24", interpolation=Interpolation.FAST_BILINEAR
        )
        return rgb.to_ndarray().astype(np.uint8, copy=False)

    def _note(self, upright: tuple[int, int]) -> None:
        if self._sizes and len(self._sizes) < MOST_SIZES_TOLD:
            log.warning("the picture changed its size midway: it is %d×%d now", *upright)
        self._sizes.add(upright)


class SampleConverter:
    """Turns the frames of one source into float32 samples at the rate of its first frame, one row for each voice.

    "mix" weighs channels by ITU-R BS.775 (front 0.71, centre 1, surround 0.5, low frequency 0), scaled to a sum of one
    so that nothing clips: stereo becomes its mean. Two channels that are each other's inverse would cancel out, so the
    second is inverted before (a cable, a differential microphone on a stereo input).
    """

    def __init__(self, channel: Channel = "mix", note: Callable[[str], None] | None = None) -> None:
        """
        Args:
            note: called with a sentence when inverted channels are found.
        """
        self.rate = 0
        self._channel = channel
        self._voices = 0
        self._phase = Phase(note)
        self._resampler: av.AudioResampler | None = None

    def __call__(self, frame: av.AudioFrame) -> NDArray[np.float32]:
        """Convert a frame to float32 [voices, n]. Raises SourceError if the chosen channel does not exist."""
        if self.rate == 0:
            self.rate = frame.sample_rate
            self._voices = frame.layout.nb_channels if self._channel == "each" else 1
        if frame.sample_rate == self.rate:
            return self._voices_of(frame)
        return self._resampled(frame)

    def _resampled(self, frame: av.AudioFrame) -> NDArray[np.float32]:
        """Resample a frame, for a source that changes its rate midway."""
        if self._resampler is None:
            self._resampler = av.AudioResampler(format="fltp", layout=frame.layout, rate=self.rate)
        parts = [self._voices_of(part) for part in self._resampler.resample(frame)]
        return np.concatenate(parts, axis=1) if parts else np.zeros((self._voices, 0), np.float32)

    def _voices_of(self, frame: av.AudioFrame) -> NDArray[np.float32]:
        values = _channels(frame)
        match self._channel:
            case "mix":
                return _limited((_weights(frame) @ self._phase(values, self.rate))[None])
            case "each":
                # A file that changes its layout midway keeps its number of voices.
                voices = np.zeros((self._voices, values.shape[1]), np.float32)
                voices[: len(values)] = values[: self._voices]
                return _limited(voices)
        number = {"left": 1, "right": 2}.get(str(self._channel), self._channel)
        assert isinstance(number, int)
        if number > len(values):
            count = "1 channel" if len(values) == 1 else f"{len(values)} channels"
            raise SourceError(f"there is no channel {self._channel}: its sound has {count}")
        return _limited(values[number - 1 : number])


# Channels are taken for each other's inverse below the first correlation, and no longer above the second.
INVERTED, UPRIGHT = -0.8, -0.3
PHASE_TIME_S = 1.0
LEAST_POWER = 1e-9


class Phase:
    """Finds two channels that are each other's inverse, by their correlation over the last second, and inverts one."""

    def __init__(self, note: Callable[[str], None] | None = None) -> None:
        self._note = note
        self._powers = np.zeros(3)
        self._inverted = False

    def __call__(self, values: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
        """Channels float32 [C, n] → the same, the second of two inverted where that is needed."""
        if len(values) != 2 or not values.shape[1]:
            return values
        left, right = values
        new = np.array([left @ left, right @ right, left @ right], np.float64)
        self._powers = self._powers * math.exp(-values.shape[1] / (rate * PHASE_TIME_S)) + new
        level = math.sqrt(self._powers[0] * self._powers[1])
        if level / rate > LEAST_POWER:
            alike = self._powers[2] / level
            inverted = alike < (UPRIGHT if self._inverted else INVERTED)
            if inverted and not self._inverted and self._note is not None:
                self._note("its two channels are each other's inverse; one of them was turned before they were mixed")
            self._inverted = inverted
        return np.stack([left, -right]) if self._inverted else values


def _channels(frame: av.AudioFrame) -> NDArray[np.float32]:
    """The channels of a frame as float32 [C, n], full scale ±1."""
    values: NDArray[Any] = frame.to_ndarray()
    values = values if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels).T
    sample_format = frame.format.name.removesuffix("p")
    zero = 128.0 if sample_format == "u8" else 0.0
    scaled: NDArray[np.float32] = (values.astype(np.float32) - np.float32(zero)) / np.float32(FULL_SCALE[sample_format])
    return scaled


def _limited(values: NDArray[np.float32]) -> NDArray[np.float32]:
    limited: NDArray[np.float32] = np.clip(values, -1.0, 1.0)
    return limited


def _weights(frame: av.AudioFrame) -> NDArray[np.float32]:
    names = [channel.name for channel in frame.layout.channels]
    weights = np.array([SIDE_CHANNEL_WEIGHTS.get(name, OTHER_CHANNEL_WEIGHT) for name in names], np.float32)
    if weights.sum() == 0:
        weights[:] = 1.0
    normal: NDArray[np.float32] = weights / weights.sum()
    return normal
