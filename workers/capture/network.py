"""Network streams (RTSP, HTTP MJPEG, MPEG-TS, anything FFmpeg opens), read with PyAV, opened again when lost.

FFmpeg gives up on a stalled server only if it has a time limit, and many protocols end without an error when the
server dies: a clean end of a live stream counts as a loss like any other.
"""

from __future__ import annotations

import errno
import queue
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import av
import av.container

from bimodal.workers.backoff import BackOff
from bimodal.workers.capture.choice import DEFAULT, Choice, picture_stream, sound_stream
from bimodal.workers.capture.clocks import ClockMap
from bimodal.workers.capture.device_io import put_until_closed
from bimodal.workers.capture.files import Report, aspect_of, nano
from bimodal.workers.capture.pace import Pacer, Repeats
from bimodal.workers.capture.pixels import PixelConverter, SampleConverter
from bimodal.workers.capture.types import Connected, Interruption, Picture, Sound, SourceInfo
from bimodal.workers.errors import SourceError
from bimodal.workers.redaction import clean, escape_hint, shown_address

NANO = 1_000_000_000
OPEN_S, READ_S = 5.0, 3.0
# The longest wait for the next segment of a playlist.
SEGMENT_S = 30.0
# After this time without anything that can be decoded the server is connected again; most then send a key frame first.
UNDECODED_S = 10.0
QUEUED = 8
# Between two looks at whether to stop, while nothing comes.
POLL_S = 0.25
STEP_NS = 1_000_000
LEAP_NS = 2_000_000_000
# Times of one kind that go back by more than this are those of a clock that was set back.
BACK_NS = 100_000_000
MOST_UNDECODED = 1024
# A recording on a server is read ahead of real time by at most this much.
AHEAD_NS = 1_000_000_000
# These formats carry no times of their own: a picture's time is its arrival.
UNTIMED_FORMATS = {"mpjpeg", "mjpeg", "image2pipe"}
# One picture an address (a snapshot camera): it is polled.
SNAPSHOT_FORMATS = {"jpeg_pipe", "png_pipe", "webp_pipe", "bmp_pipe", "image2"}
SNAPSHOT_FPS = 2.0
UNANSWERED = (av.error.HTTPError, av.error.HTTPClientError, av.error.InvalidDataError)
# Failed answers in a row after which it counts as lost.
MOST_FAILED_POLLS = 3
# These come in bursts and are played at their own pace; a playlist may begin with what was played already.
PLAYLISTS = ("hls", "dash")
BURSTY = ("http://", "https://", "tcp://")
LOST = {errno.EIO, errno.EPIPE, errno.ECONNRESET}
OPTIONS = {"analyzeduration": "2000000"}

Item: TypeAlias = Picture | Sound | Connected
News: TypeAlias = Picture | Sound | Connected | Interruption


def watch(
    url: str,
    stop: threading.Event,
    *,
    anchor_ns: int | None = None,
    max_height: int | None = None,
    back_off: BackOff | None = None,
    limits_s: tuple[float, float] = (OPEN_S, READ_S),
    undecoded_s: float = UNDECODED_S,
    report: Report | None = None,
    choice: Choice = DEFAULT,
    snapshot_fps: float = SNAPSHOT_FPS,
    on_delay: Callable[[float], None] = lambda _seconds: None,
    on_failed_poll: Callable[[str], None] = lambda _reason: None,
) -> Iterator[News]:
    """Yield pictures and sounds of a network stream until `stop` is set, connecting again after every loss.

    Each connection begins with `Connected`, each loss and each failed try yields an `Interruption`, after which it
    waits and tries again. All connections share one time line: within a connection the stream's own times, aligned to
    the monotonic clock by their arrival; a loss is a gap as long as it lasted. `pts_ns` of pictures strictly increases.

    Args:
        anchor_ns: the moment of the monotonic clock that is 0 on the line; by default now.
        limits_s: time limits in seconds for opening and for waiting for data.
        undecoded_s: seconds after which data of which nothing can be decoded counts as a loss.
        report: called, in another thread, with the reason for each packet that can't be decoded and is skipped.
        choice: what to take where it carries several tracks or channels.
        snapshot_fps: how often an address that gives one picture is polled, a second.
        on_delay: called, in another thread, with the seconds by which a bursty source is played later than it began.
        on_failed_poll: called, in another thread, with the reason for each failed answer of a snapshot camera.

    Raises SourceError if the address can't be right, whatever the server does.
    """
    line = _Line(time.monotonic_ns() if anchor_ns is None else anchor_ns)
    waits = back_off or BackOff()
    while not stop.is_set():
        connection = _Connection(
            url, line, max_height, limits_s, undecoded_s, report, choice, 1 / snapshot_fps, on_delay, on_failed_poll
        )
        try:
            for item in connection.items(stop):
                if not isinstance(item, Connected):
                    waits.reset()
                yield item
        finally:
            connection.close()
        if stop.is_set():
            return
        retry_s = waits.next()
        yield Interruption(connection.reason, retry_s)
        stop.wait(retry_s)


class _Line:
    """The stream's time line across all connections, and what was found out about its source."""

    def __init__(self, anchor_ns: int) -> None:
        self.anchor_ns = anchor_ns
        self.repeats = Repeats()
        self.playlist = False
        self._last_picture_ns = -STEP_NS
        self._end_ns = 0

    def now_ns(self) -> int:
        """The present, on the time line."""
        return time.monotonic_ns() - self.anchor_ns

    def ahead_ns(self) -> int:
        """Lead of the placed items over the present, in ns: a server may send faster than real time."""
        return max(0, self._end_ns - self.now_ns())

    def picture(self, pts_ns: int) -> int:
        """Place a picture; times strictly increase."""
        self._last_picture_ns = max(pts_ns, self._last_picture_ns + STEP_NS)
        self._end_ns = max(self._end_ns, self._last_picture_ns + STEP_NS)
        return self._last_picture_ns

    def sound(self, pts_ns: int, duration_ns: int) -> int:
        """Place a sound at its own time; the hop cutter absorbs jitter."""
        self._end_ns = max(self._end_ns, pts_ns + duration_ns)
        return pts_ns


class _Connection:
    """One connection, read by a thread of its own, so that stopping never waits for the network."""

    def __init__(
        self,
        url: str,
        line: _Line,
        max_height: int | None,
        limits_s: tuple[float, float],
        undecoded_s: float,
        report: Report | None,
        choice: Choice,
        snapshot_s: float,
        on_delay: Callable[[float], None],
        on_failed_poll: Callable[[str], None],
    ) -> None:
        self._choice = choice
        self._snapshot_s, self._on_delay, self._on_failed_poll = snapshot_s, on_delay, on_failed_poll
        self._pacer: Pacer | None = None
        self._paced = "picture"
        self.reason = "it was stopped"
        self._url, self._name, self._line, self._limits_s = url, clean(shown_address(url)), line, limits_s
        self._max_height, self._undecoded_s, self._report = max_height, undecoded_s, report
        self._queue: queue.Queue[Item | SourceError | None] = queue.Queue(QUEUED)
        self._closed = threading.Event()
        self._clock = ClockMap()
        self._newest_ns: int | None = None
        self._newest_of: dict[str, int] = {}
        # Checksums of the packets of a playlist that are not decoded yet, by stream and time.
        self._contents: OrderedDict[tuple[int, int | None], int] = OrderedDict()
        self._shift_ns = 0
        self._thread = threading.Thread(target=self._read, name="network", daemon=True)
        self._thread.start()

    def items(self, stop: threading.Event) -> Iterator[Item]:
        """Yield items until the connection is lost or `stop` is set."""
        while not stop.is_set():
            try:
                item = self._queue.get(timeout=POLL_S)
            except queue.Empty:
                continue
            if item is None:
                return
            if isinstance(item, SourceError):
                raise item
            yield item

    def close(self) -> None:
        """Ask the thread to end; it does at the latest when its network time limit passes."""
        self._closed.set()

    # The connection's thread.

    def _read(self) -> None:
        last: SourceError | None = None
        opened = False
        try:
            with self._open() as container:
                opened = True
                if container.format.name in SNAPSHOT_FORMATS:
                    self._poll(container)
                    return
                self._read_all(container)
                ended = _has_an_end(container)
            self.reason = f"{self._name} {'ended the stream' if ended else 'closed the connection'}"
        except av.ProtocolNotFoundError:
            last = SourceError(f"{self._name} is no address that can be opened: its protocol is unknown")
        except SourceError as error:
            self.reason = str(error)
        except av.ExitError as error:
            self.reason = (
                f"{self._name}: {_reason(error) if opened else 'the server sends no stream that can be read in time'}"
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            hint = escape_hint(self._url)
            self.reason = f"{self._name}: {_reason(error)}" + (f" ({hint})" if hint is not None else "")
        self._put_until_closed(last)

    def _open(self) -> av.container.InputContainer:
        options = dict(OPTIONS)
        if self._url.lower().startswith(("rtsp://", "rtsps://")):
            options["rtsp_transport"] = "tcp"
        if not self._line.playlist:
            container = av.open(self._url, timeout=self._limits_s, options=options)
            self._line.playlist = _is_playlist(container)
            if not self._line.playlist:
                return container
            container.close()
        # Until the next segment is there nothing comes, as long as a segment lasts; a server that is silent in the
        # middle of an answer is noticed as ever.
        open_s, read_s = self._limits_s
        options["rw_timeout"] = str(round(read_s * 1e6))
        return av.open(self._url, timeout=(open_s, max(read_s, SEGMENT_S)), options=options)

    def _read_all(self, container: av.container.InputContainer) -> None:
        video, audio = picture_stream(container, self._choice), sound_stream(container, self._choice)
        streams: list[av.VideoStream | av.AudioStream] = [s for s in (video, audio) if s is not None]
        if not streams:
            raise SourceError(f"{self._name} carries no picture and no sound")
        if video is not None:
            video.thread_type = "SLICE"  # threads over frames would hold frames back
        timed = container.format.name not in UNTIMED_FORMATS
        playlist = _is_playlist(container)
        bursty = timed and (playlist or self._url.lower().startswith(BURSTY))
        self._pacer, self._paced = Pacer() if bursty else None, "picture" if video is not None else "sound"
        self._line.repeats.begin()
        recording = container.duration is not None and container.duration > 0 and not bursty
        pixels, samples = PixelConverter(self._max_height), SampleConverter(self._choice.channel)
        self._put_until_closed(Connected(self._info(video, audio)))
        undecoded_ns: int | None = None
        for packet in container.demux(streams):
            if playlist and packet.pts is not None:
                self._contents[packet.stream.index, packet.pts] = zlib.crc32(packet)
                if len(self._contents) > MOST_UNDECODED:
                    self._contents.popitem(last=False)
            frames = self._decoded(packet)
            undecoded_ns = None if frames else undecoded_ns or time.monotonic_ns()
            if undecoded_ns is not None and time.monotonic_ns() - undecoded_ns > self._undecoded_s * NANO:
                raise SourceError(f"{self._name} sends nothing that can be decoded")
            for frame in frames:
                if self._closed.is_set():
                    return
                content = self._contents.pop((packet.stream.index, frame.pts), None)
                if not self._is_due(frame, content, playlist):
                    continue
                grab_ns = time.monotonic_ns()
                pts_ns = self._pts_ns(frame, grab_ns, timed)
                if recording:
                    self._closed.wait(max(0, pts_ns - AHEAD_NS - self._line.now_ns()) / NANO)
                if isinstance(frame, av.VideoFrame):
                    assert video is not None
                    shown = pixels(frame, aspect_of(video))
                    self._put_until_closed(Picture(self._line.picture(pts_ns), grab_ns, *shown))
                else:
                    (mono,) = samples(frame)
                    pts_ns = self._line.sound(pts_ns, mono.size * NANO // samples.rate)
                    self._put_until_closed(Sound(pts_ns, grab_ns, mono, samples.rate))

    def _is_due(self, frame: av.VideoFrame | av.AudioFrame, content: int | None, playlist: bool) -> bool:
        """Hold a frame of a bursty source until its time; False for one that was played already.

        Where there is a picture, it alone is paced, and sound passes with the pictures beside which it was sent.
        """
        if self._pacer is None or frame.pts is None or frame.time_base is None:
            return True
        source_ns, now_ns = nano(frame.pts, frame.time_base), time.monotonic_ns()
        kind = _kind(frame)
        beside = kind != self._paced
        if playlist and self._line.repeats.is_repeated(kind, source_ns, content, now_ns, beside=beside):
            return False
        if beside:
            return True
        self._closed.wait(self._pacer.wait_ns(source_ns, now_ns) / NANO)
        self._on_delay(self._pacer.delay_ns / NANO)
        return True

    def _poll(self, container: av.container.InputContainer) -> None:
        """Read the picture of an address that gives one, again and again."""
        video = picture_stream(container, self._choice)
        if video is None:
            raise SourceError(f"{self._name} carries no picture")
        pixels = PixelConverter(self._max_height)
        self._put_until_closed(Connected(self._info(video, None)))
        due_s = time.monotonic()
        current: av.container.InputContainer | None = container
        failed = 0
        while not self._closed.is_set():
            try:
                with current or self._open() as opened:
                    current = None
                    stream = picture_stream(opened, self._choice)
                    frame = next(opened.decode(stream), None) if stream is not None else None
                    if stream is None or frame is None:
                        raise SourceError(f"{self._name} sends no picture that can be read")
                    grab_ns = time.monotonic_ns()
                    shown = pixels(frame, aspect_of(stream))
            except (SourceError, *UNANSWERED) as error:
                # Some cameras are busy now and then; one that stays so is lost.
                failed += 1
                if failed > MOST_FAILED_POLLS:
                    raise
                self._on_failed_poll(str(error) if isinstance(error, SourceError) else _reason(error))
            else:
                failed = 0
                pts_ns = self._line.picture(grab_ns - self._line.anchor_ns)
                self._put_until_closed(Picture(pts_ns, grab_ns, *shown))
            # A camera that answers slowly is not asked more often for it.
            due_s = max(due_s + self._snapshot_s, time.monotonic())
            self._closed.wait(due_s - time.monotonic())

    def _decoded(self, packet: av.Packet[Any]) -> list[Any]:
        """Decode a packet; a damaged one has no frames (the next key frame repairs the picture)."""
        try:
            return list(packet.decode())
        except av.EOFError:
            return []
        except av.FFmpegError as error:
            if self._report is not None:
                self._report(_reason(error))
            return []

    def _pts_ns(self, frame: av.VideoFrame | av.AudioFrame, grab_ns: int, timed: bool) -> int:
        """Time of a frame on the time line: by the stream's own times if it has any, else by its arrival."""
        now_ns = grab_ns - self._line.anchor_ns
        if not timed or frame.pts is None or frame.time_base is None:
            return now_ns
        source_ns = nano(frame.pts, frame.time_base)
        kind = _kind(frame)
        back = source_ns < self._newest_of.get(kind, source_ns) - BACK_NS
        if self._newest_ns is None or back or abs(source_ns - self._newest_ns) > LEAP_NS:
            # The first frame, or the server restarted its clock: place it after all earlier ones.
            self._clock, self._shift_ns = ClockMap(), self._line.ahead_ns()
            self._newest_of.clear()
        self._newest_ns = self._newest_of[kind] = source_ns
        return self._clock.map(source_ns, now_ns + self._shift_ns)

    def _info(self, video: av.VideoStream | None, audio: av.AudioStream | None) -> SourceInfo:
        fps = (video.average_rate or video.guessed_rate) if video is not None else None
        return SourceInfo(
            has_picture=video is not None,
            has_sound=audio is not None,
            width=video.width if video is not None else 0,
            height=video.height if video is not None else 0,
            fps=float(fps or 0),
            frames_estimate=None,
            duration_ns=None,
            sample_rate=audio.rate if audio is not None else 0,
            live=True,
            name=self._name,
        )

    def _put_until_closed(self, item: Item | SourceError | None) -> None:
        put_until_closed(item, self._queue, self._closed)


def _is_playlist(container: av.container.InputContainer) -> bool:
    return any(name in container.format.name for name in PLAYLISTS)


def _kind(frame: av.VideoFrame | av.AudioFrame) -> str:
    return "picture" if isinstance(frame, av.VideoFrame) else "sound"


def _has_an_end(container: av.container.InputContainer) -> bool:
    """True for a recording of known length, and a playlist that says so; a live stream that ends has been cut off."""
    if container.duration is not None and container.duration > 0:
        return True
    if _is_playlist(container):
        return False  # its size is that of the list
    return container.format.name not in UNTIMED_FORMATS and container.size > 0


def _reason(error: Exception) -> str:
    """The message of an error, without the address that FFmpeg puts into it."""
    if isinstance(error, av.ExitError):
        return "the server sent nothing any more"
    if getattr(error, "errno", None) in LOST:
        return "the connection was lost"
    if isinstance(error, av.InvalidDataError):
        return "the server sends no stream that can be read"
    return str(getattr(error, "strerror", None) or type(error).__name__)
