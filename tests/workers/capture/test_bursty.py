"""Real bursty servers: an HLS playlist that grows, chunks over HTTP, a snapshot camera."""

from __future__ import annotations

import http.server
import itertools
import threading
import time
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from bimodal.workers.backoff import BackOff
from bimodal.workers.capture.network import News, watch
from bimodal.workers.capture.types import Connected, Interruption, Picture, Sound
from tests import media as made
from tests.http_server import serving

FPS, SEGMENT_S = 25, 2.0
OPTIONS = {"preset": "ultrafast", "bf": "0", "g": "25"}


@pytest.fixture(scope="module")
def segments(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Four segments of two seconds, their times running through."""
    return segments_of(tmp_path_factory.mktemp("hls"), range(200))


@pytest.fixture(scope="module")
def with_sound(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Four segments of two seconds with sound, which is not interleaved with the picture by time alone (B-frames)."""
    options = {**OPTIONS, "bf": "2"}
    return segments_of(tmp_path_factory.mktemp("sound"), range(200), options, sound=made.tone(8))


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Segments with other pictures at the same times."""
    return segments_of(tmp_path_factory.mktemp("others"), range(300, 400))


def segments_of(
    folder: Path, numbers: range, options: dict[str, str] = OPTIONS, sound: made.Samples | None = None
) -> list[bytes]:
    pictures = [made.numbered(number) for number in numbers]
    clip = made.write_clip(folder / "clip.ts", pictures, options=options, sound=sound)
    with av.open(str(clip)) as source, av.open(
        str(folder / "list.m3u8"), "w", format="hls",
        options={"hls_time": "2", "hls_list_size": "0", "hls_segment_filename": str(folder / "part%d.ts")},
    ) as target:  # fmt: skip
        copied = [target.add_stream_from_template(stream) for stream in source.streams]
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = copied[packet.stream.index]
                target.mux(packet)
    found = [path.read_bytes() for path in sorted(folder.glob("part*.ts"))]
    assert len(found) == len(numbers) // 50
    return found


class Playlist:
    """A live HLS server: a further segment each two seconds, three in the list, no end; `late_s`: the last of them is
    later by that. A discontinuity is before each segment whose number is in `breaks`."""

    def __init__(self, segments: list[bytes], *, late_s: float = 0.0, breaks: tuple[int, ...] = ()) -> None:
        self.segments, self.late_s, self.breaks = segments, late_s, breaks
        self.began = time.monotonic()

    def __call__(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        if handler.path.endswith(".ts"):
            body, kind = self.segments[int(handler.path[5:-3])], "video/mp2t"
        else:
            # Two are there at the start.
            passed_s = time.monotonic() - self.began
            last = min(len(self.segments) - 1, 2 + int(passed_s / SEGMENT_S))
            last += passed_s >= SEGMENT_S * (len(self.segments) - 2) + self.late_s
            lines = [
                "#EXTM3U",
                "#EXT-X-VERSION:3",
                "#EXT-X-TARGETDURATION:2",
                f"#EXT-X-MEDIA-SEQUENCE:{max(0, last - 3)}",
            ]
            for number in range(max(0, last - 3), last):
                lines += ["#EXT-X-DISCONTINUITY"] * (number in self.breaks)
                lines += ["#EXTINF:2.0,", f"part{number}.ts"]
            body, kind = ("\n".join(lines) + "\n").encode(), "application/vnd.apple.mpegurl"
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


def numbers_of(news: list[News]) -> list[int]:
    return [made.read_number(item.pixels) for item in news if isinstance(item, Picture)]


def bursts(news: list[News]) -> float:
    """Share of pictures that came within 10 ms of the one before."""
    grabbed = [item.grab_ns for item in news if isinstance(item, Picture)]
    return float(np.mean(np.diff(grabbed) < 10e6))


def test_an_hls_stream_is_played_at_its_own_pace_and_nothing_twice(segments: list[bytes]) -> None:
    stop, news = threading.Event(), []
    with serving(Playlist(segments)) as server:
        for item in watch(f"http://127.0.0.1:{server.port}/list.m3u8", stop, back_off=BackOff(0.01, 0.05)):
            news.append(item)
            if sum(isinstance(item, Picture) for item in news) >= 190:
                stop.set()
    numbers = numbers_of(news)
    assert numbers == sorted(set(numbers)), "no segment is played twice"
    assert len(numbers) >= 190
    assert bursts(news) < 0.3, "two seconds of frames do not come at once"


def test_a_playlist_that_is_read_anew_begins_behind_what_was_played(segments: list[bytes]) -> None:
    stop, news = threading.Event(), []
    playlist = Playlist(segments)
    with serving(playlist) as server:
        address = f"http://127.0.0.1:{server.port}/list.m3u8"
        watching = watch(address, stop, back_off=BackOff(0.01, 0.05), limits_s=(2.0, 1.0))
        for item in watching:
            news.append(item)
            if sum(isinstance(item, Picture) for item in news) == 80:
                break
        port = server.port
    with serving(playlist, port):
        for item in watching:
            news.append(item)
            if isinstance(item, Picture) and made.read_number(item.pixels) >= 150:
                stop.set()
    assert any(isinstance(item, Interruption) for item in news) or len(numbers_of(news)) > 80
    numbers = numbers_of(news)
    assert numbers == sorted(set(numbers))


def news_of(playlist: Playlist, count: int, **how: Any) -> list[News]:
    """Collect the items of a live playlist until there are so many pictures."""
    stop, news = threading.Event(), []
    with serving(playlist) as server:
        for item in watch(f"http://127.0.0.1:{server.port}/list.m3u8", stop, back_off=BackOff(0.01, 0.05), **how):
            news.append(item)
            if sum(isinstance(item, Picture) for item in news) >= count:
                stop.set()
    return news


def test_sound_does_not_hold_the_pictures_back(with_sound: list[bytes]) -> None:
    delays: list[float] = []
    news = news_of(Playlist(with_sound), 190, on_delay=delays.append)
    numbers = numbers_of(news)
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "none is skipped"
    assert bursts(news) < 0.3
    assert any(isinstance(item, Sound) for item in news)
    # A second and more of delay would come on top with each second that is played.
    assert max(delays) < 4


def test_a_discontinuity_loses_nothing_and_a_loop_is_played_again(segments: list[bytes], others: list[bytes]) -> None:
    shown = [*segments[:2], *others, *segments]
    news = news_of(Playlist(shown, breaks=(2, 4)), 390)
    assert numbers_of(news)[:390] == [*range(100), *range(300, 400), *range(200)][:390]
    times = [item.pts_ns for item in news if isinstance(item, Picture)]
    assert all(after > before for before, after in itertools.pairwise(times))
    assert [type(item) for item in news if not isinstance(item, Picture)] == [Connected]


def test_a_segment_that_is_late_is_waited_for(segments: list[bytes]) -> None:
    """Until it is there a server has nothing to send, for longer than one that sends all the time may be silent."""
    news = news_of(Playlist(segments, late_s=3.0), 190, limits_s=(5.0, 1.0))
    assert [type(item) for item in news if not isinstance(item, Picture)] == [Connected]
    assert numbers_of(news)[:190] == list(range(190))


def test_chunks_over_http_are_spread(tmp_path: Path) -> None:
    clip = made.numbered_clip(tmp_path / "clip.ts", 100, options=OPTIONS).read_bytes()
    size = len(clip) // 4 // 188 * 188

    def serve(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "video/mp2t")
        handler.end_headers()
        for start in range(0, len(clip), size):
            handler.wfile.write(clip[start : start + size])
            handler.wfile.flush()
            time.sleep(1.0)

    stop, delays = threading.Event(), []
    with serving(serve) as server:
        address = f"http://127.0.0.1:{server.port}/"
        watching = watch(address, stop, back_off=BackOff(0.01, 0.05), on_delay=delays.append)
        news = list(itertools.takewhile(lambda item: not isinstance(item, Interruption), watching))
        stop.set()
    assert len(numbers_of(news)) >= 95
    assert bursts(news) < 0.3
    assert delays
    assert all(0 <= delay < 30 for delay in delays)


def test_a_snapshot_camera_is_polled() -> None:
    count = itertools.count()

    def serve(handler: http.server.BaseHTTPRequestHandler) -> None:
        jpeg = cv2.imencode(".jpg", made.numbered(next(count)))[1].tobytes()
        handler.send_response(200)
        handler.send_header("Content-Type", "image/jpeg")
        handler.send_header("Content-Length", str(len(jpeg)))
        handler.end_headers()
        handler.wfile.write(jpeg)

    for path in ("/snapshot", "/image.jpg", "/image.cgi?name=1.jpg"):
        stop, news = threading.Event(), []
        with serving(serve) as server:
            for item in watch(f"http://127.0.0.1:{server.port}{path}", stop, snapshot_fps=20):
                news.append(item)
                if sum(isinstance(item, Picture) for item in news) >= 10:
                    stop.set()
        assert [type(item) for item in news] == [Connected] + [Picture] * 10, "it is one connection, and not ten losses"
        numbers = numbers_of(news)
        assert numbers == sorted(set(numbers))
        assert bursts(news) < 0.5, "it is not asked as fast as it answers"


BUSY = {2: (404, b"not now"), 4: (200, b"<html>busy</html>"), 5: (503, b""), 8: (200, b"\xff\xd8\xff\xe0" + bytes(400))}


def test_a_snapshot_camera_that_is_busy_now_and_then_is_not_lost() -> None:
    count = itertools.count()

    def serve(handler: http.server.BaseHTTPRequestHandler) -> None:
        number = next(count)
        code, body = BUSY.get(number, (200, cv2.imencode(".jpg", made.numbered(number))[1].tobytes()))
        handler.send_response(code)
        handler.send_header("Content-Type", "image/jpeg")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    stop, news, failed = threading.Event(), [], []
    with serving(serve) as server:
        address = f"http://127.0.0.1:{server.port}/snapshot.jpg"
        for item in watch(address, stop, snapshot_fps=20, on_failed_poll=failed.append):
            news.append(item)
            if sum(isinstance(item, Picture) for item in news) >= 10:
                stop.set()
    assert [type(item) for item in news] == [Connected] + [Picture] * 10
    assert len(failed) == len(BUSY)
    assert "404" in failed[0]


def test_a_snapshot_camera_that_stays_away_is_lost() -> None:
    count = itertools.count()

    def serve(handler: http.server.BaseHTTPRequestHandler) -> None:
        if next(count) < 3:
            handler.send_response(200)
            handler.end_headers()
            handler.wfile.write(cv2.imencode(".jpg", made.numbered(1))[1].tobytes())
        else:
            handler.send_error(404)

    stop = threading.Event()
    with serving(serve) as server:
        watching = watch(f"http://127.0.0.1:{server.port}/snapshot.jpg", stop, snapshot_fps=20)
        lost = next(item for item in watching if isinstance(item, Interruption))
        stop.set()
    assert "404" in lost.reason


def test_only_what_has_an_end_ended(tmp_path: Path, segments: list[bytes]) -> None:
    def cut_off(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "video/mp2t")
        handler.end_headers()
        handler.wfile.write(segments[0])

    def whole(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "video/mp2t")
        handler.send_header("Content-Length", str(len(segments[0])))
        handler.end_headers()
        handler.wfile.write(segments[0])

    for serve, ended in ((cut_off, False), (whole, True)):
        stop = threading.Event()
        with serving(serve) as server:
            watching = watch(f"http://127.0.0.1:{server.port}/", stop, back_off=BackOff(0.01, 0.05))
            lost = next(item for item in watching if isinstance(item, Interruption))
            stop.set()
        assert lost.reason.endswith("ended the stream") == ended, lost.reason
