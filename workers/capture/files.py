"""Media files, read with PyAV. Picture and sound are opened apart, so badly interleaved files can't deadlock.

Items come as fast as they are decoded; workers/capture/run.py holds them back for play at the file's own pace.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.container
from av.stream import Disposition

from bimodal.workers.capture.pixels import PixelConverter, SampleConverter
from bimodal.workers.capture.types import Picture, Sound, SourceInfo
from bimodal.workers.errors import SourceError

# Looped files (the demo) have one time line that never runs backwards.
NANO = 1_000_000_000

DEFAULT_FPS = Fraction(25)
# FFmpeg opens any text file as a picture of a terminal; these are no media files.
NO_MEDIA_FORMATS = {"tty", "bin", "xbin", "adf", "idf"}
MOST_READ_ERRORS = 100
# Formats whose header holds the length; for others FFmpeg guesses it from the file's size.
FORMATS_WITH_ASPECT = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
FORMATS_WITH_LENGTH = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi"}

Report = Callable[[str], None]


def probe(path: Path | str) -> SourceInfo:
    """Describe a media file; the first picture and the first sound are decoded to be sure.

    Raises SourceError if the file is missing, empty, broken, not a media file, or holds neither picture nor sound that
    can be decoded.
    """
    path = Path(path)
    with _opened(path) as container:
        video, audio = picture_stream(container), sound_stream(container)
        if video is None and audio is None:
            raise SourceError(f"{path} has no picture and no sound")
        fps = float(_fps(video)) if video is not None else 0.0
        frames = video.frames if video is not None else 0
        duration_ns = container.duration * 1000 if container.duration and container.duration > 0 else None
        promised_ns = duration_ns if container.format.name in FORMATS_WITH_LENGTH else None
    size = _first_size(path) if video is not None else None
    first = next(sounds(path), None) if audio is not None else None
    if size is None and first is None:
        raise SourceError(f"{path} holds no picture and no sound: its streams are empty")
    width, height = size or (0, 0)
    estimate = frames or (round(duration_ns / NANO * fps) if duration_ns and fps else 0)
    return SourceInfo(
        has_picture=size is not None,
        has_sound=first is not None,
        width=width,
        height=height,
        fps=fps,
        frames_estimate=estimate or None if size is not None else None,
        duration_ns=duration_ns,
        sample_rate=first.rate if first is not None else 0,
        live=False,
        name=path.name,
        sound_start_ns=first.pts_ns if first is not None else 0,
        promised_ns=promised_ns,
    )


def pictures(path: Path | str, max_height: int | None = None, report: Report | None = None) -> Iterator[Picture]:
    """Yield the pictures of a media file in the order in which they are shown.

    Args:
        max_height: higher pictures are scaled down to it.
        report: called with the reason for each packet that can't be decoded and is skipped.

    Raises SourceError if the file can't be opened, or none of its pictures can be decoded.
    """
    path = Path(path)
    with _opened(path) as container:
        stream = picture_stream(container)
        if stream is None:
            raise SourceError(f"{path} has no picture")
        stream.thread_type = "AUTO"
        convert, line, origin_ns = PixelConverter(max_height), Timeline(), beginning_ns(container)
        period_ns = round(NANO / _fps(stream))
        for frame in decoded(container, stream, str(path), report):
            assert isinstance(frame, av.VideoFrame)
            pts_ns = line.place(_pts_ns(frame, origin_ns), period_ns)
            pixels, size = convert(frame, aspect_of(stream))
            yield Picture(pts_ns, time.monotonic_ns(), pixels, size)


def sounds(path: Path | str, report: Report | None = None) -> Iterator[Sound]:
    """Yield the sound of a media file, mono at its own rate, in pieces as the file holds them.

    Raises SourceError if the file can't be opened, or none of its sound can be decoded.
    """
    path = Path(path)
    with _opened(path) as container:
        stream = sound_stream(container)
        if stream is None:
            raise SourceError(f"{path} has no sound")
        convert, line, origin_ns = SampleConverter(), Timeline(), beginning_ns(container)
        for frame in decoded(container, stream, str(path), report):
            assert isinstance(frame, av.AudioFrame)
            samples = convert(frame)
            pts_ns = line.place(_pts_ns(frame, origin_ns), samples.size * NANO // convert.rate)
            yield Sound(pts_ns, time.monotonic_ns(), samples, convert.rate)


def decoded(
    container: av.container.InputContainer, stream: av.VideoStream | av.AudioStream, name: str, report: Report | None
) -> Iterator[av.VideoFrame | av.AudioFrame]:
    """Yield all frames of one stream; packets that can't be decoded are reported and skipped.

    Raises SourceError if there were packets, but none could be decoded.
    """
    any_frame, problem = False, None
    for packet in _packets(container, stream):
        try:
            if isinstance(packet, av.FFmpegError):
                raise packet
            for frame in packet.decode():
                any_frame = True
                yield frame
        except av.EOFError:
            break
        except av.FFmpegError as error:
            problem = error.strerror or type(error).__name__
            if report is not None:
                report(problem)
    if not any_frame and problem is not None:
        raise SourceError(f"no {stream.type} in {name} can be decoded ({problem})")


def _packets(
    container: av.container.InputContainer, stream: av.VideoStream | av.AudioStream
) -> Iterator[av.Packet[Any] | av.FFmpegError]:
    """Yield packets, and the errors met in reading; reading goes on after a limited number of errors."""
    for _ in range(MOST_READ_ERRORS):
        try:
            yield from container.demux(stream)
            return
        except av.EOFError:
            return
        except av.FFmpegError as error:
            yield error


@contextmanager
def _opened(path: Path) -> Iterator[av.container.InputContainer]:
    """Open a media file. Raises SourceError, one sentence for each way in which it can't be opened."""
    _check_file(path)
    try:
        container = av.open(str(path.absolute()))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise SourceError(_why_not(path, error)) from error
    with container:
        if container.format.name in NO_MEDIA_FORMATS:
            raise SourceError(f"{path} is not a media file")
        yield container


def _check_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise SourceError(f"{path} is a folder, not a media file")
        if not path.exists():
            raise SourceError(f"there is no file {path}")
        if path.is_file() and path.stat().st_size == 0:
            raise SourceError(f"{path} is empty (0 bytes)")
    except OSError as error:
        raise SourceError(f"{path} can't be read: {error.strerror}") from error


def _why_not(path: Path, error: Exception) -> str:
    if isinstance(error, PermissionError):
        return f"{path} may not be read: permission denied"
    if isinstance(error, av.InvalidDataError):
        with path.open("rb") as file:
            looks_like_mp4 = file.read(12)[4:8] == b"ftyp"
        if looks_like_mp4:
            return f"{path} is cut off: its index (moov) is missing, so nothing of it can be played"
        return f"{path} is not a media file, or it is damaged"
    return f"{path} can't be opened: {getattr(error, 'strerror', None) or error}"


def picture_stream(container: av.container.InputContainer) -> av.VideoStream | None:
    """Find the first video stream that can be decoded and is not a cover picture; else None."""
    covers = Disposition.attached_pic | Disposition.timed_thumbnails
    return next(
        (s for s in container.streams.video if s.codec_context is not None and not s.disposition & covers), None
    )


def sound_stream(container: av.container.InputContainer) -> av.AudioStream | None:
    return next((s for s in container.streams.audio if s.codec_context is not None), None)


def aspect_of(stream: av.VideoStream) -> Fraction | None:
    """Width by height of a stream's pixels, as players take it; None: square.

    MP4 and Matroska say it themselves, and win over the codec; in other containers the codec says it, and may change
    it midway (broadcasts between 4:3 and 16:9).
    """
    says, coded = stream.sample_aspect_ratio, stream.codec_context.sample_aspect_ratio
    return says or coded if stream.container.format.name in FORMATS_WITH_ASPECT else coded or says


def _fps(stream: av.VideoStream) -> Fraction:
    return stream.average_rate or stream.guessed_rate or DEFAULT_FPS


def beginning_ns(container: av.container.InputContainer) -> int:
    """Start of the stream's own time line: the smaller of the starts of picture and sound in the file's headers.

    Read from the headers, so that picture and sound, opened apart, agree on it.
    """
    streams = [stream for stream in (picture_stream(container), sound_stream(container)) if stream is not None]
    starts = [nano(s.start_time, s.time_base) for s in streams if s.start_time is not None and s.time_base]
    return min(starts, default=0)


def _pts_ns(frame: av.VideoFrame | av.AudioFrame, origin_ns: int) -> int | None:
    if frame.pts is None or frame.time_base is None:
        return None
    return nano(frame.pts, frame.time_base) - origin_ns


def nano(ticks: int, time_base: Fraction) -> int:
    return ticks * NANO * time_base.numerator // time_base.denominator


def _first_size(path: Path) -> tuple[int, int] | None:
    """(width, height) of the first picture as it is shown; None if the stream is empty."""
    return next((picture.size for picture in pictures(path)), None)


def looped_pictures(path: Path | str, max_height: int | None = None, report: Report | None = None) -> Iterator[Picture]:
    """Yield the pictures of a file over and over; round n is shifted by n times the file's duration.

    Pictures at or after the end of the duration are left out. Raises SourceError if the file can't be read or does not
    give its duration.
    """
    period_ns = _period_ns(path)
    shift_ns = 0
    while True:
        for picture in pictures(path, max_height, report):
            if picture.pts_ns < period_ns:
                yield replace(picture, pts_ns=picture.pts_ns + shift_ns)
        shift_ns += period_ns


def looped_sounds(path: Path | str, report: Report | None = None) -> Iterator[Sound]:
    """Yield the sound of a file over and over, in step with `looped_pictures`; sound after the duration is cut off.

    Raises SourceError as `looped_pictures` does.
    """
    period_ns = _period_ns(path)
    shift_ns = 0
    while True:
        for sound in sounds(path, report):
            samples = sound.samples[: max(0, (period_ns - sound.pts_ns) * sound.rate // NANO)]
            if samples.size:
                yield replace(sound, pts_ns=sound.pts_ns + shift_ns, samples=samples)
        shift_ns += period_ns


def _period_ns(path: Path | str) -> int:
    info = probe(path)
    if info.duration_ns is None:
        raise SourceError(f"{path} can't be played in a loop: it does not say how long it is")
    return info.duration_ns


# Time stamps of containers, made strictly increasing.
STEP_NS = 1_000_000
LEAP_NS = 1_000_000_000


class Timeline:
    """Assigns strictly increasing times to items, in the order in which they are shown.

    The rules:
    - an item without a time stamp is placed at the end of the previous one;
    - one that is not later than the previous one is placed `STEP_NS` (1 ms) after it;
    - one more than `LEAP_NS` (1 s) before the previous one begins a new count (two files joined, an encoder
      restarted): it is placed at the end of the previous one, and all that follow are shifted by the same amount;
    - the first is placed at 0 or later.
    """

    def __init__(self) -> None:
        self._shift_ns = 0
        self._last_ns = -STEP_NS
        self._end_ns = 0

    def place(self, pts_ns: int | None, duration_ns: int) -> int:
        """Place an item; `duration_ns` is its nominal duration."""
        placed = self._end_ns if pts_ns is None else pts_ns + self._shift_ns
        if pts_ns is not None and placed < self._last_ns - LEAP_NS:
            self._shift_ns = self._end_ns - pts_ns
            placed = self._end_ns
        placed = max(placed, self._last_ns + STEP_NS)
        self._last_ns = placed
        self._end_ns = placed + duration_ns
        return placed
