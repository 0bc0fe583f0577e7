"""Real bursty servers: an HLS playlist that grows, chunks over HTTP, a snapshot camera."""

from __future__ import annotations

import http.server
import itertools
import threading
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from bimodal.workers.backoff import BackOff
from bimodal.workers.capture.network import News, watch
from bimodal.workers.capture.types import Connected, Interruption, Picture
from tests import media as made
from tests.http_server import serving

FPS, SEGMENT_S = 25, 2.0
OPTIONS = {"preset": "ultrafast", "bf": "0", "g": "25"}


@pytest.fixture(scope="module")
def segments(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Four segments of two seconds, their times running through."""
    folder = tmp_path_factory.mktemp("hls")
    clip = made.numbered_clip(folder / "clip.ts", 200, options=OPTIONS)
    with av.open(str(clip)) as source, av.open(
        str(folder / "list.m3u8"), "w", format="hls",
        options={"hls_time": "2", "hls_list_size": "0", "hls_segment_filename": str(folder / "part%d.ts")},
    ) as target:  # fmt: skip
        stream = source.streams.video[0]
        copied = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copied
                target.mux(packet)
    found = [path.read_bytes() for path in sorted(folder.glob("part*.ts"))]
    assert len(found) == 4
    return found


class Playlist:
    """A live HLS server: a further segment each two seconds, three in the list, no end."""

    def __init__(self, segments: list[bytes]) -> None:
        self.segments = segments
        self.began = time.monotonic()

    def __call__(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        if handler.path.endswith(".ts"):
            body, kind = self.segments[int(handler.path[5:-3])], "video/mp2t"
        else:
            # Two are there at the start.
            last = min(len(self.segments), 2 + int((time.monotonic() - self.began) / SEGMENT_S))
            lines = [
                "#EXTM3U",
                "#EXT-X-VERSION:3",
                "#EXT-X-TARGETDURATION:2",
                f"#EXT-X-MEDIA-SEQUENCE:{max(0, last - 3)}",
            ]
            for number in range(max(0, last - 3), last):
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
