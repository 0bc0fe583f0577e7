"""Network streams from real servers on this machine: they come and go, stall, and begin to count anew."""

from __future__ import annotations

import http.server
import itertools
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from bimodal.workers.backoff import BackOff
from bimodal.workers.capture.network import News, watch
from bimodal.workers.capture.types import Connected, Interruption, Picture, Sound
from bimodal.workers.errors import SourceError
from tests import media as made
from tests.http_server import Serve, Server, serving

JPEGS = [cv2.imencode(".jpg", made.numbered(number))[1].tobytes() for number in range(100)]


def send_jpegs(count: int, then: threading.Event | None = None, jpegs: Sequence[bytes] = JPEGS) -> Serve:
    """A camera that sends `count` pictures and hangs up, or waits for an event first."""

    def serve(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        handler.end_headers()
        for jpeg in jpegs[:count]:
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            handler.wfile.write(head.encode() + jpeg + b"\r\n")
        if then is not None:
            then.wait(60)

    return serve


def send_file(path: Path, content_type: str) -> Serve:
    def serve(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", content_type)
        handler.end_headers()
        handler.wfile.write(path.read_bytes())

    return serve


def quick() -> BackOff:
    return BackOff(0.01, 0.05)


def kinds(news: list[News]) -> list[str]:
    return [kind for kind, _ in itertools.groupby(type(item).__name__ for item in news)]


def test_a_camera_that_dies_and_comes_back_goes_on() -> None:
    stop, news = threading.Event(), []
    first = Server(send_jpegs(20))
    watching = watch(f"http://127.0.0.1:{first.port}/", stop, back_off=quick())
    for item in watching:
        news.append(item)
        if isinstance(item, Interruption):
            break
    first.close()
    refused = next(item for item in watching if isinstance(item, Interruption) and "refused" in item.reason)
    assert refused.retry_s > 0
    with serving(send_jpegs(20), first.port):
        for item in watching:
            news.append(item)
            if sum(isinstance(item, Picture) for item in news) >= 30:
                break
        stop.set()
    pictures = [item for item in news if isinstance(item, Picture)]
    assert min(np.diff([picture.pts_ns for picture in pictures])) > 0
    numbers = [made.read_number(picture.pixels) for picture in pictures]
    again = numbers.index(19) + 1
    assert numbers[:again] == sorted(numbers[:again])
    assert numbers[again:] == sorted(numbers[again:])
    assert kinds(news)[:3] == ["Connected", "Picture", "Interruption"]
    assert kinds(news)[-2:] == ["Connected", "Picture"]
    connected = next(item for item in news if isinstance(item, Connected))
    assert (connected.info.width, connected.info.height, connected.info.live) == (160, 96, True)


def test_a_stalled_server_is_an_interruption_and_not_a_hang() -> None:
    for_ever = threading.Event()
    stop = threading.Event()
    with serving(send_jpegs(15, then=for_ever)) as server:
        watching = watch(f"http://127.0.0.1:{server.port}/", stop, limits_s=(5.0, 0.5), back_off=quick())
        news = list(itertools.takewhile(lambda item: not isinstance(item, Interruption), watching))
        for_ever.set()
        stop.set()
    assert sum(isinstance(item, Picture) for item in news) >= 10


def test_a_server_that_never_answers_is_an_interruption() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        stop = threading.Event()
        address = f"http://user:s3cret@127.0.0.1:{mute.getsockname()[1]}/"
        found = next(watch(address, stop, limits_s=(0.5, 0.5), back_off=quick()))
        stop.set()
    assert isinstance(found, Interruption)
    assert "s3cret" not in found.reason


def test_a_stop_ends_a_wait_for_data() -> None:
    for_ever, stop, over = threading.Event(), threading.Event(), threading.Event()
    seen = threading.Event()

    def follow(url: str) -> None:
        for item in watch(url, stop, limits_s=(60.0, 60.0)):
            if isinstance(item, Picture):
                seen.set()
        over.set()

    with serving(send_jpegs(15, then=for_ever)) as server:
        threading.Thread(target=follow, args=(f"http://127.0.0.1:{server.port}/",), daemon=True).start()
        assert seen.wait(30)
        stop.set()
        assert over.wait(5)
        for_ever.set()


def test_picture_and_sound_come_from_one_stream_and_restart_behind_what_was(tmp_path: Path) -> None:
    clip = made.numbered_clip(
        tmp_path / "clip.ts", 50, sound=made.noise(2.0), options={"preset": "ultrafast", "bf": "2", "g": "10"}
    )
    stop, news = threading.Event(), []
    with serving(send_file(clip, "video/mp2t")) as server:
        watching = watch(f"http://127.0.0.1:{server.port}/", stop, back_off=quick())
        for item in watching:
            news.append(item)
            if sum(isinstance(item, Interruption) for item in news) == 2:
                stop.set()
    for kind in (Picture, Sound):
        times = [item.pts_ns for item in news if isinstance(item, kind)]
        assert min(np.diff(times)) > 0
    cut = next(index for index, item in enumerate(news) if isinstance(item, Interruption))
    pictures = [item for item in news[:cut] if isinstance(item, Picture)]
    shown = [made.read_number(picture.pixels) for picture in pictures]
    assert shown == list(range(len(shown)))
    assert len(shown) >= 50 - 2  # what the decoder still holds (the B-frames) is lost with the connection
    steps = np.diff([picture.pts_ns for picture in pictures])
    assert np.median(steps) == pytest.approx(40e6, rel=0.06)
    sound = next(item for item in news if isinstance(item, Sound))
    assert abs(sound.pts_ns - pictures[0].pts_ns) < 60_000_000


def test_a_stream_that_begins_to_count_anew_within_a_connection_goes_on(tmp_path: Path) -> None:
    clip = made.numbered_clip(tmp_path / "clip.ts", 100, options={"preset": "ultrafast", "bf": "0", "g": "5"})
    twice = tmp_path / "twice.ts"
    twice.write_bytes(clip.read_bytes() * 2)
    stop, pictures = threading.Event(), []
    with serving(send_file(twice, "video/mp2t")) as server:
        for item in watch(f"http://127.0.0.1:{server.port}/", stop, back_off=quick()):
            if isinstance(item, Picture):
                pictures.append(item)
            if isinstance(item, Interruption):
                stop.set()
    times = [picture.pts_ns for picture in pictures]
    assert len(times) >= 195
    assert min(np.diff(times)) > 0


@pytest.mark.parametrize("url", ["gopher2://user:s3cret@host/x", "nonsense://user:s3cret@host"])
def test_an_address_that_can_t_be_right_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SourceError, match="protocol is unknown") as caught:
        next(watch(url, threading.Event()))
    assert "s3cret" not in str(caught.value)


def test_what_a_server_answers_is_told_without_the_password() -> None:
    def refuse(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_error(401)

    stop = threading.Event()
    with serving(refuse) as server:
        found = next(watch(f"http://user:s3cret@127.0.0.1:{server.port}/?token=s3cret", stop, back_off=quick()))
        stop.set()
    assert isinstance(found, Interruption)
    assert "s3cret" not in found.reason
    assert "401" in found.reason or "authorization" in found.reason.lower()


def test_damaged_pictures_are_told_and_skipped() -> None:
    broken = [*JPEGS[:10], b"\xff\xd8 no picture \xff\xd9", *JPEGS[10:20], b"\xff\xd8\xff\xd9", *JPEGS[20:30]]
    stop, told = threading.Event(), []
    with serving(send_jpegs(len(broken), jpegs=broken)) as server:
        watching = watch(f"http://127.0.0.1:{server.port}/", stop, back_off=quick(), report=told.append)
        news = list(itertools.takewhile(lambda item: not isinstance(item, Interruption), watching))
        stop.set()
    numbers = [made.read_number(item.pixels) for item in news if isinstance(item, Picture)]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 29
    assert len(told) == 2


def test_a_server_of_which_nothing_can_be_decoded_is_asked_anew() -> None:
    head, rest = JPEGS[:1], [b"\xff\xd8 no picture \xff\xd9"] * 10_000
    stop = threading.Event()

    def serve(handler: http.server.BaseHTTPRequestHandler) -> None:
        send_jpegs(10, jpegs=[*head, *rest])(handler)
        while not stop.wait(0.01):
            handler.wfile.write(
                b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 16\r\n\r\n" + rest[0][:16] + b"\r\n"
            )

    with serving(serve) as server:
        watching = watch(f"http://127.0.0.1:{server.port}/", stop, back_off=quick(), undecoded_s=0.3)
        lost = next(item for item in watching if isinstance(item, Interruption))
        stop.set()
    assert lost.reason.endswith("sends nothing that can be decoded")


def test_a_camera_that_is_switched_to_another_size_goes_on() -> None:
    sizes = [(160, 96)] * 20 + [(128, 128)] * 20
    jpegs = [cv2.imencode(".jpg", made.numbered(number, *size))[1].tobytes() for number, size in enumerate(sizes)]
    stop = threading.Event()
    with serving(send_jpegs(40, jpegs=jpegs)) as server:
        watching = watch(f"http://127.0.0.1:{server.port}/", stop, back_off=quick())
        news = list(itertools.takewhile(lambda item: not isinstance(item, Interruption), watching))
        stop.set()
    shown = {made.read_number(item.pixels): item.pixels.shape for item in news if isinstance(item, Picture)}
    assert shown[19] == (96, 160, 3)
    assert shown[39] == (128, 128, 3)
