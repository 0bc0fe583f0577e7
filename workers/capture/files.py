"""Media files, read with PyAV. Picture and sound are opened apart, so badly interleaved files can't deadlock.

Items come as fast as they are decoded; workers/capture/run.py holds them back for play at the file's own pace.
"""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.container

from bimodal.broker.paths import shown
from bimodal.workers.capture import photos
from bimodal.workers.capture.choice import DEFAULT, Choice, channel_names, passed_over, picture_stream, sound_stream
from bimodal.workers.capture.pixels import PixelConverter, SampleConverter
from bimodal.workers.capture.types import Picture, Sound, SourceInfo
from bimodal.workers.errors import SourceError

# Looped files (the demo) have one time line that never runs backwards.
NANO = 1_000_000_000

DEFAULT_FPS = Fraction(25)
# FFmpeg opens any text file as a picture of a terminal; these are no media files.
NO_MEDIA_FORMATS = {"tty", "bin", "xbin", "adf", "idf"}
MOST_READ_ERRORS = 100
FORMATS_WITH_ASPECT = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
# Formats whose header holds the length; for others FFmpeg guesses it from the file's size.
FORMATS_WITH_LENGTH = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi"}
STILL_BRANDS = {"mif1", "avif", "heic", "heix", "heim", "heis"}
# A file's name is one file, though FFmpeg takes "shot%03d.jpg" for a sequence.
OPTIONS = {"pattern_type": "none"}

Report = Callable[[str], None]


def probe(path: Path | str, choice: Choice = DEFAULT) -> SourceInfo:
    """Describe a media file; the first picture and the first sound are decoded to be sure.

    Raises SourceError if the file is missing, empty, broken, not a media file, holds neither picture nor sound that
    can be decoded, or lacks what was chosen.
    """
    return describe(
        path,
        choice,
        lambda: next(pictures(path, choice=choice), None),
        lambda: next(sounds(path, choice=choice), None),
    )


def describe(
    path: Path | str,
    choice: Choice,
    first_picture: Callable[[], Picture | None],
    first_sound: Callable[[], Sound | None],
    note: Report = lambda _: None,
) -> SourceInfo:
    """As `probe`, for who reads the file on.

    Args:
        first_picture, first_sound: read them; None where the stream is empty.
        note: called with each sentence about what is passed over, before anything is decoded.
    """
    path = Path(path)
    _check_file(path)
    if photos.is_animated_webp(path):
        return _animation(path, first_picture())
    with _opened(path) as container, _named(path):
        grid = photos.grid_in(path, container)
        video = picture_stream(container, choice) if grid is None else None
        audio = sound_stream(container, choice)
        if grid is None and video is None and audio is None:
            raise SourceError("it has no picture and no sound")
        still = grid is not None or (video is not None and is_still(container, video))
        fps = float(_fps(video)) if video is not None and not still else 0.0
        frames = 1 if still else video.frames if video is not None else 0
        duration_ns = container.duration * 1000 if container.duration and container.duration > 0 else None
        promised_ns = duration_ns if container.format.name in FORMATS_WITH_LENGTH else None
        notes = passed_over(container, choice)
        channels = channel_names(choice.channel, audio.layout.nb_channels) if audio is not None else ()
        has_picture = grid is not None or video is not None
        has_sound = audio is not None
    for sentence in notes:
        note(sentence)
    picture = first_picture() if has_picture else None
    size = picture.size if picture is not None else None
    first = first_sound() if has_sound else None
    if size is None and first is None:
        raise SourceError(f"{shown(path)} holds no picture and no sound: its streams are empty")
    width, height = size or (0, 0)
    if still and first is None:
        duration_ns = promised_ns = None  # formats give a photograph 40 ms, a second, or nothing
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
        name=shown(path.name),
        sound_start_ns=first.pts_ns if first is not None else 0,
        promised_ns=promised_ns,
        channels=channels if first is not None else (),
        notes=notes,
    )


def _animation(path: Path, first: Picture | None) -> SourceInfo:
    times_ms = photos.webp_times_ms(path)
    assert first is not None
    width, height = first.size
    return SourceInfo(
        has_picture=True,
        has_sound=False,
        width=width,
        height=height,
        fps=1000 * len(times_ms) / times_ms[-1],
        frames_estimate=len(times_ms),
        duration_ns=times_ms[-1] * photos.MS,
        sample_rate=0,
        live=False,
        name=shown(path.name),
    )


def pictures(
    path: Path | str, max_height: int | None = None, report: Report | None = None, choice: Choice = DEFAULT
) -> Iterator[Picture]:
    """Yield the pictures of a media file as a player shows them, in the order in which they are shown.

    Args:
        max_height: higher pictures are scaled down to it.
        report: called with the reason for each packet that can't be decoded and is skipped.

    Raises SourceError if the file can't be opened, or none of its pictures can be decoded.
    """
    path = Path(path)
    _check_file(path)
    if photos.is_animated_webp(path):
        for timed in photos.webp_pictures(path, max_height):
            yield Picture(timed.pts_ns, time.monotonic_ns(), *timed.shown)
        return
    with _opened(path) as container:
        with _named(path):
            grid = photos.grid_in(path, container)
            if grid is not None:
                yield Picture(0, time.monotonic_ns(), *photos.composed(container, grid, max_height))
                return
            stream = picture_stream(container, choice)
            if stream is None:
                raise SourceError("it has no picture")
        stream.thread_type = "AUTO"
        still = is_still(container, stream)
        convert, line, origin_ns = PixelConverter(max_height), Timeline(), beginning_ns(container, choice)
        period_ns = round(NANO / _fps(stream))
        for frame, ticks in _timed(container, stream, shown(path), report):
            pts_ns = nano(ticks, stream.time_base) - origin_ns if ticks is not None and stream.time_base else None
            pts_ns = 0 if still else line.place(pts_ns, period_ns)
            pixels, size = convert(frame, aspect_of(stream))
            yield Picture(pts_ns, time.monotonic_ns(), pixels, size)
            if still:
                return


def sounds(
    path: Path | str, report: Report | None = None, choice: Choice = DEFAULT, note: Report | None = None
) -> Iterator[Sound]:
    """Yield the sound of a media file at its own rate, in pieces as the file holds them: one voice, or one a channel.

    Args:
        report: called with the reason for each packet that can't be decoded and is skipped.
        note: called with a sentence about sound that is heard otherwise than it is stored (inverted channels).

    Raises SourceError if the file can't be opened, none of its sound can be decoded, or it lacks the chosen channel.
    """
    path = Path(path)
    _check_file(path)
    with _opened(path) as container:
        with _named(path):
            stream = sound_stream(container, choice)
            if stream is None:
                raise SourceError("it has no sound")
            convert = SampleConverter(choice.channel, note)
        line, origin_ns = Timeline(), beginning_ns(container, choice)
        for frame in decoded(container, stream, shown(path), report):
            assert isinstance(frame, av.AudioFrame)
            with _named(path):
                samples = convert(frame)
            pts_ns = line.place(_pts_ns(frame, origin_ns), samples.shape[1] * NANO // convert.rate)
            grab_ns = time.monotonic_ns()
            for channel, voice in enumerate(samples):
                yield Sound(pts_ns, grab_ns, voice, convert.rate, channel)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file in errors that are about it."""
    try:
        yield
    except SourceError as error:
        text = str(error)
        raise SourceError(text if shown(path) in text else f"{shown(path)}: {text}") from error


def is_still(container: av.container.InputContainer, stream: av.VideoStream) -> bool:
    """True for a photograph, in whatever format: it has no times of its own."""
    name = container.format.name
    if name == "gif":
        return stream.frames == 1
    photo = container.metadata.get("major_brand") in STILL_BRANDS and stream.duration is None
    return name == "image2" or name.endswith("_pipe") or photo


def _timed(
    container: av.container.InputContainer, stream: av.VideoStream, name: str, report: Report | None
) -> Iterator[tuple[av.VideoFrame, int | None]]:
    """Yield frames in the order of display, each with its time in the stream's time base; None where it has none."""
    if container.format.name == "avi":
        # AVI counts frames in the order of decoding, and knows no other time: the n-th one shown has the n-th count.
        counts: list[int] = []

        def on_packet(packet: av.Packet[Any]) -> None:
            if packet.dts is not None:
                heapq.heappush(counts, packet.dts)

        for frame in decoded(container, stream, name, report, on_packet):
            assert isinstance(frame, av.VideoFrame)
            yield frame, heapq.heappop(counts) if counts else None
        return
    depth = REORDERED if stream.codec_context.reorder_depth else 0
    leap_ns = max(LEAP_NS, round(REORDERED * NANO / _fps(stream)))
    leap = round(leap_ns / NANO / stream.time_base) if stream.time_base else 0
    found = decoded(container, stream, name, report)
    yield from in_order(((frame, frame.pts) for frame in found if isinstance(frame, av.VideoFrame)), depth, leap)


# Frames that are shown later than they are decoded: more than any codec reorders in practice.
REORDERED = 8


def in_order(
    frames: Iterator[tuple[av.VideoFrame, int | None]], depth: int, leap: int
) -> Iterator[tuple[av.VideoFrame, int | None]]:
    """Sort the times of frames that come in the order of display, within windows of `depth` + 1 frames.

    Times in that order stay as they are. Some writers store the times of decoding instead (B-frames in Matroska made
    from AVI): then the n-th frame takes the n-th time. A step of more than `leap` begins a new count, and times before
    and after it are not mixed.
    """
    held: deque[av.VideoFrame] = deque()
    times: list[int] = []
    newest = 0

    def rest() -> Iterator[tuple[av.VideoFrame, int | None]]:
        while held:
            yield held.popleft(), heapq.heappop(times)

    for frame, pts in frames:
        if pts is None or (held and abs(pts - newest) > leap):
            yield from rest()
        if pts is None:
            yield frame, None
            continue
        held.append(frame)
        heapq.heappush(times, pts)
        newest = pts
        if len(held) > depth:
            yield held.popleft(), heapq.heappop(times)
    yield from rest()


def decoded(
    container: av.container.InputContainer,
    stream: av.VideoStream | av.AudioStream,
    name: str,
    report: Report | None,
    on_packet: Callable[[av.Packet[Any]], None] = lambda _: None,
) -> Iterator[av.VideoFrame | av.AudioFrame]:
    """Yield all frames of one stream; packets that can't be decoded are reported and skipped.

    Raises SourceError if there were packets, but none could be decoded.
    """
    any_frame, problem = False, None
    for packet in _packets(container, stream):
        try:
            if isinstance(packet, av.FFmpegError):
                raise packet
            on_packet(packet)
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
    try:
        container = av.open(str(path.absolute()), options=OPTIONS)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise SourceError(_why_not(path, error)) from error
    with container:
        if container.format.name in NO_MEDIA_FORMATS:
            raise SourceError(f"{shown(path)} is not a media file")
        yield container


def _check_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise SourceError(f"{shown(path)} is a folder, not a media file")
        if not path.exists():
            raise SourceError(f"there is no file {shown(path)}")
        if path.is_file() and path.stat().st_size == 0:
            raise SourceError(f"{shown(path)} is empty (0 bytes)")
    except OSError as error:
        raise SourceError(f"{shown(path)} can't be read: {error.strerror}") from error


def _why_not(path: Path, error: Exception) -> str:
    if isinstance(error, PermissionError):
        return f"{shown(path)} may not be read: permission denied"
    if isinstance(error, av.InvalidDataError):
        with path.open("rb") as file:
            looks_like_mp4 = file.read(12)[4:8] == b"ftyp"
        if looks_like_mp4:
            return f"{shown(path)} is cut off: its index (moov) is missing, so nothing of it can be played"
        return f"{shown(path)} is not a media file, or it is damaged"
    return f"{shown(path)} can't be opened: {getattr(error, 'strerror', None) or error}"


def aspect_of(stream: av.VideoStream) -> Fraction | None:
    """Width by height of a stream's pixels, as players take it; None: square.

    MP4 and Matroska say it themselves, and win over the codec; in other containers the codec says it, and may change
    it midway (broadcasts between 4:3 and 16:9).
    """
    says, coded = stream.sample_aspect_ratio, stream.codec_context.sample_aspect_ratio
    return says or coded if stream.container.format.name in FORMATS_WITH_ASPECT else coded or says


def _fps(stream: av.VideoStream) -> Fraction:
    return stream.average_rate or stream.guessed_rate or DEFAULT_FPS


def beginning_ns(container: av.container.InputContainer, choice: Choice = DEFAULT) -> int:
    """Start of the stream's own time line: the smaller of the starts of picture and sound in the file's headers.

    Read from the headers, so that picture and sound, opened apart, agree on it.
    """
    chosen = (picture_stream(container, choice), sound_stream(container, choice))
    streams = [stream for stream in chosen if stream is not None]
    starts = [nano(s.start_time, s.time_base) for s in streams if s.start_time is not None and s.time_base]
    return min(starts, default=0)


def _pts_ns(frame: av.VideoFrame | av.AudioFrame, origin_ns: int) -> int | None:
    if frame.pts is None or frame.time_base is None:
        return None
    return nano(frame.pts, frame.time_base) - origin_ns


def nano(ticks: int, time_base: Fraction) -> int:
    return ticks * NANO * time_base.numerator // time_base.denominator


def looped_pictures(
    path: Path | str, max_height: int | None = None, report: Report | None = None, choice: Choice = DEFAULT
) -> Iterator[Picture]:
    """Yield the pictures of a file over and over; round n is shifted by n times the file's duration.

    Pictures at or after the end of the duration are left out. Raises SourceError if the file can't be read or does not
    give its duration.
    """
    period_ns = _period_ns(path, choice)
    shift_ns = 0
    while True:
        for picture in pictures(path, max_height, report, choice):
            if picture.pts_ns < period_ns:
                yield replace(picture, pts_ns=picture.pts_ns + shift_ns)
        shift_ns += period_ns


def looped_sounds(
    path: Path | str, report: Report | None = None, choice: Choice = DEFAULT, note: Report | None = None
) -> Iterator[Sound]:
    """Yield the sound of a file over and over, in step with `looped_pictures`; sound after the duration is cut off.

    Raises SourceError as `looped_pictures` does.
    """
    period_ns = _period_ns(path, choice)
    shift_ns = 0
    while True:
        for sound in sounds(path, report, choice, note):
            samples = sound.samples[: max(0, (period_ns - sound.pts_ns) * sound.rate // NANO)]
            if samples.size:
                yield replace(sound, pts_ns=sound.pts_ns + shift_ns, samples=samples)
        shift_ns += period_ns


def _period_ns(path: Path | str, choice: Choice) -> int:
    info = probe(path, choice)
    if info.duration_ns is None:
        raise SourceError(f"{shown(path)} can't be played in a loop: it does not say how long it is")
    return info.duration_ns


# Time stamps of containers, made strictly increasing.
STEP_NS = 1_000_000
LEAP_NS = 400_000_000


class Timeline:
    """Assigns strictly increasing times to items, in the order in which they are shown.

    The rules:
    - an item without a time stamp is placed at the end of the previous one;
    - one that is not later than the previous one is placed `STEP_NS` (1 ms) after it;
    - one more than `LEAP_NS` (0.4 s) before the previous one begins a new count (two files joined, an encoder
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
