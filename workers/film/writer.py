"""Writes one film as MP4: H.264 pictures at any times, and sound."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import av.container
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from bimodal.drawing.style import Pixels
from bimodal.recordings.films import BEGINS
from bimodal.recordings.recording import describe
from bimodal.workers.errors import WorkerError

Samples = NDArray[np.float32]

# A common multiple of every usual frame rate, also of 24, 30 and 60 / 1.001: times are kept without rounding.
TICKS = 120_000
SECONDS_A_KEYFRAME = 2
SILENCE_A_PIECE = 48_000
AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
BT709 = 1

# Without B-frames the first picture needs no edit list, so that every player keeps picture and sound together.
QUALITY = {"preset": "veryfast", "crf": "20", "bf": "0"}
LIVE_QUALITY = {"preset": "superfast", "crf": "23", "bf": "0", "tune": "zerolatency"}
FILE = {"movflags": "+faststart"}
# Five fragments a second, each on the disk at once: a kill costs the last moment, never the file. (With
# frag_every_frame and two tracks FFmpeg moves every picture but the first by one; seen with FFmpeg 8.)
LIVE = {
    "movflags": "+empty_moov+delay_moov+default_base_moof",
    "frag_duration": "200000",
    "flush_packets": "1",
    "max_interleave_delta": "1000000",
}


def even(pixels: Pixels) -> Pixels:
    """Repeat the last row or column of odd sides, since H.264 requires even ones."""
    height, width = pixels.shape[:2]
    if height % 2 or width % 2:
        return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return pixels


def aac_rate(rate: int) -> int:
    """Sample rate for AAC: the sound's own, or the next higher one that AAC has."""
    return next((known for known in AAC_RATES if known >= rate), AAC_RATES[-1])


class FilmWriter:
    """Writes `path`; times are nanoseconds from the film's beginning, `begin_ns` on the stream's line.

    Args:
        size: (width, height) of the pictures.
        fps: about how many pictures a second; their own times count.
        begin_ns: time on the stream's line of the film's 0.
        live: fragmented, so that what was written stays playable after a kill.

    Every method raises FilmError where the disk or FFmpeg refuses.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: float, *, begin_ns: int = 0, live: bool = False) -> None:
        self.path = path
        self.pictures = 0
        self._begin_ns = begin_ns
        self._last_tick = -1
        self._reformatter = VideoReformatter()
        self._sound: av.AudioStream | None = None
        self._line: SoundLine | None = None
        self._samples = 0
        with self._refusals():
            self._container = av.open(str(path), "w", format="mp4", options=LIVE if live else FILE)
            # The film's beginning on the stream's time line, to join its frames with their events again.
            self._container.metadata["comment"] = f"{BEGINS}{begin_ns}"
            self._video = self._add_video(size, fps, LIVE_QUALITY if live else QUALITY)

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        """Turn errors of disk and FFmpeg into FilmError. A codec opens with its first frame, and may refuse then."""
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            raise film_error(error, self.path) from error

    def _add_video(self, size: tuple[int, int], fps: float, options: dict[str, str]) -> av.VideoStream:
        rate = Fraction(fps if 1 <= fps <= 240 else 25).limit_denominator(1001)
        stream = self._container.add_stream("libx264", rate=rate, options=dict(options))
        # Duration of the last picture; every other one is shown until the next.
        self._period = round(TICKS / rate)
        stream.width, stream.height = (side + side % 2 for side in size)
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = Fraction(1, TICKS)
        context.gop_size = max(1, round(SECONDS_A_KEYFRAME * float(rate)))
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = int(ColorRange.MPEG)
        return stream

    # -------------------------------------------------------------------------------- sound

    def copy_sound(self, template: av.AudioStream) -> av.AudioStream:
        """Add a stream for the source's own packets, which `packet` takes. Call before the first picture."""
        self._sound = self._container.add_stream_from_template(template)
        return self._sound

    def encode_sound(self, rate: int, layout: str) -> None:
        """Add a stream for samples, which `sound` takes. Call before the first picture."""
        self._sound = self._container.add_stream("aac", rate=rate, layout=layout)
        self._line = SoundLine(self._begin_ns, rate)

    def packet(self, packet: av.Packet[Any]) -> None:
        """Write a packet of copied sound."""
        packet.stream = self._sound
        with self._refusals():
            self._container.mux(packet)

    def sound(self, begin_ns: int, samples: Samples) -> None:
        """Write float32 [channels, n] of sound that begins at `begin_ns` on the stream's line, in order."""
        assert self._line is not None
        placed = self._line.place(begin_ns, samples.shape[1])
        for length in _pieces(placed.silence):
            self._encode_sound(np.zeros((samples.shape[0], length), np.float32))
        if samples.shape[1] > placed.skipped:
            self._encode_sound(np.ascontiguousarray(samples[:, placed.skipped :]))

    def _encode_sound(self, samples: Samples) -> None:
        assert self._sound is not None
        context = self._sound.codec_context
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=context.layout.name)
        frame.sample_rate, frame.time_base = context.sample_rate, Fraction(1, context.sample_rate)
        frame.pts = self._samples
        self._samples += samples.shape[1]
        with self._refusals():
            self._container.mux(self._sound.encode(frame))

    # -------------------------------------------------------------------------------- pictures

    def picture(self, pts_ns: int, pixels: Pixels) -> None:
        """Write a picture, uint8 [H, W, 3] RGB, at its time on the stream's line.

        One that is not later than the one before it is shown a tick after that.
        """
        frame = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(even(pixels), format="rgb24"),
            format="yuv420p",
            width=self._video.width,
            height=self._video.height,
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )
        self._last_tick = max(round((pts_ns - self._begin_ns) * TICKS / NANO), self._last_tick + 1)
        frame.pts, frame.time_base = self._last_tick, Fraction(1, TICKS)
        frame.duration = self._period
        with self._refusals():
            self._container.mux(self._video.encode(frame))
        self.pictures += 1

    # -------------------------------------------------------------------------------- the end

    def close(self) -> None:
        """Flush the encoders and write the file's index."""
        with self._refusals():
            self._container.mux(self._video.encode(None))
            if self._sound is not None and self._line is not None:
                self._container.mux(self._sound.encode(None))
            self._container.close()


def _pieces(samples: int) -> Iterator[int]:
    """Split a long silence into pieces."""
    while samples > 0:
        yield min(samples, SILENCE_A_PIECE)
        samples -= SILENCE_A_PIECE


class FilmError(WorkerError):
    """A film can't be written."""


def film_error(error: av.FFmpegError | OSError, path: Path) -> FilmError:
    """FilmError for an error of FFmpeg or the system about writing `path`; names the film and not its temporary."""
    path = path.with_name(path.name.removeprefix(".").removesuffix(".part"))
    if isinstance(error, OSError):
        return FilmError(describe(error, path))
    return FilmError(f"{path.name} can't be written: {error.strerror or type(error).__name__}")


# Sound with time stamps → one unbroken line of samples. Pure.

NANO = 1_000_000_000
# As in capture: a difference of less than one video frame is jitter, and sound is taken as continuous.
TOLERANCE_NS = 40_000_000


class Placed(NamedTuple):
    """Placement of a piece: samples of silence before it, and samples to skip at its beginning."""

    silence: int
    skipped: int


class SoundLine:
    """Places sound by counting samples from a fixed time on, so that nothing drifts.

    Args:
        begin_ns: time of the first sample; sound before it is left out.
        rate: Hz.
    """

    def __init__(self, begin_ns: int, rate: int) -> None:
        self._begin_ns = begin_ns
        self._rate = rate
        self._count = 0

    @property
    def end_ns(self) -> int:
        """Time of the end of the last sample."""
        return self._begin_ns + self._count * NANO // self._rate

    def place(self, begin_ns: int, count: int) -> Placed:
        """Place the next piece, of `count` samples; a gap is filled with silence, an overlap is cut off the piece."""
        gap_ns = begin_ns - self.end_ns
        tolerated = TOLERANCE_NS if self._count else 0
        silence = gap_ns * self._rate // NANO if gap_ns > tolerated else 0
        skipped = min(count, -gap_ns * self._rate // NANO) if gap_ns < -tolerated else 0
        self._count += silence + count - skipped
        return Placed(silence, skipped)
