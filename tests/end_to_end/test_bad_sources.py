"""Sources that misbehave, through the real commands: each is named in a sentence, and the rest goes on."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from bimodal.broker.events import Emotion
from bimodal.broker.messages import Heartbeat
from tests import bad_media
from tests.end_to_end.driving import Driven, events_of, run, summary_of
from tests.http_server import Server
from tests.media import numbered_clip, scene, write_clip
from tests.rtsp_server import RtspServer

SESSION = f"test-bad-{os.getpid()}"


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, list[str]]:
    """One run over every file that misbehaves: its results, exit code and what it said."""
    folder, out = tmp_path_factory.mktemp("bad"), tmp_path_factory.mktemp("out")
    whole = numbered_clip(folder / "whole.mkv", 100)
    cut = folder / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    lying = numbered_clip(folder / "lying.mkv", 10).rename(folder / "lying.mp4")
    (folder / "empty.mp4").touch()
    (folder / "text.mov").write_text("this is no video\n")
    files = [
        bad_media.longer_sound(folder),
        bad_media.longer_picture(folder),
        bad_media.cut_with_index(folder, "download.mp4"),
        cut,
        bad_media.damaged(folder),
        lying,
        bad_media.changing_size(folder, [(160, 96), (128, 128)]),
        bad_media.fast(folder),
        bad_media.large(folder),
        folder / "empty.mp4",
        folder / "text.mov",
    ]
    code, _, err = run("analyze", *files, "--out", out)
    return out, code, [line.removeprefix("bimodal: ") for line in err.strip().splitlines()]


def said_of(name: str, said: list[str]) -> str:
    """The one sentence about a file, "" where there is none."""
    about = [sentence for sentence in said if name in sentence]
    assert len(about) <= 1
    return about[0] if about else ""


def test_what_cannot_be_read_is_named_and_makes_the_exit_code_1(analysed: tuple[Path, int, list[str]]) -> None:
    _, code, said = analysed
    assert code == 1
    assert "is empty (0 bytes)" in said_of("empty.mp4", said)
    assert "is not a media file" in said_of("text.mov", said)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("longer sound.mp4", "its picture ends 2.0 s before its sound"),
        ("longer picture.mp4", "its sound ends 2.0 s before its picture"),
        ("download.mp4", "it is cut off: of 4.0 s"),
        ("cut.mkv", "it is cut off: of 4.0 s"),
        ("damaged.avi", "3 damaged packets were skipped"),
    ],
)
def test_what_was_wrong_with_a_file_that_has_results_is_said(
    analysed: tuple[Path, int, list[str]], name: str, sentence: str
) -> None:
    assert sentence in said_of(name, analysed[2])


def test_what_is_only_unusual_is_done_without_a_word(analysed: tuple[Path, int, list[str]]) -> None:
    for name in ("lying", "sizes", "fast", "large"):
        assert said_of(name, analysed[2]) == ""


def test_every_frame_that_is_there_has_its_event(analysed: tuple[Path, int, list[str]]) -> None:
    out = analysed[0]
    frames = {"longer sound": 25, "longer picture": 75, "damaged": 37, "lying": 10, "sizes": 20, "fast": 60, "large": 2}
    for name, count in frames.items():
        assert [event["seq"] for event in events_of(out, name)] == list(range(count)), name
        assert summary_of(out, name)["frames_lost"] == 0, name
        assert not [event for event in events_of(out, name) if event["failed"]], name
    assert np.diff([event["t"] for event in events_of(out, "fast")]) == pytest.approx(1 / 120, abs=0.002)
    assert len(events_of(out, "large")[0]["faces"]) == 1, "8K is scaled down, and its face is found"
    assert not list(out.glob("empty*")) + list(out.glob("text*"))


def test_sound_that_has_ended_is_not_fused_for_ever(analysed: tuple[Path, int, list[str]]) -> None:
    last = events_of(analysed[0], "longer picture")[-1]
    assert last["faces"]
    assert (last["speech"] or {}).get("label") is None


class FastCamera:
    """A network camera of 120 pictures a second that can freeze."""

    def __init__(self) -> None:
        self.frozen = threading.Event()
        self._jpegs = [
            cv2.imencode(".jpg", cv2.cvtColor(scene(1, t), cv2.COLOR_RGB2BGR))[1].tobytes() for t in (0.0, 0.3, 0.6)
        ]
        self._server = Server(self._serve)
        self.url = f"http://127.0.0.1:{self._server.port}/"

    def _serve(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        handler.end_headers()
        number = 0
        while not self._server.closing.wait(1 / 120):
            number += not self.frozen.is_set()
            jpeg = self._jpegs[number % len(self._jpegs)]
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
            handler.wfile.write(head + jpeg + b"\r\n")

    def close(self) -> None:
        self._server.close()


def heartbeat(name: str, suffers: Callable[[str], bool]) -> Callable[[object], bool]:
    def check(body: object) -> bool:
        return isinstance(body, Heartbeat) and body.name == name and suffers(body.because or "")

    return check


def event_of(stream: str, after_s: float = -1.0) -> Callable[[object], bool]:
    def check(body: object) -> bool:
        return isinstance(body, Emotion) and body.stream == stream and body.t > after_s

    return check


def test_frozen_and_lost_network_cameras_are_named_and_come_back(tmp_path: Path) -> None:
    clip = write_clip(
        tmp_path / "clip.ts",
        [scene(1, n / 25) for n in range(50)],
        options={"preset": "ultrafast", "bf": "0", "g": "10"},
    )
    door, yard = FastCamera(), RtspServer(clip, 2.0)
    config, log = tmp_path / "config.yaml", tmp_path / "log"
    config.write_text(
        f"streams:\n  door: {{url: '{door.url}'}}\n  yard: {{url: 'rtsp://me:secret@127.0.0.1:{yard.port}/1'}}\n"
        f"workers: {{face: {{count: 1}}}}\noutputs: {{view: false}}\nlog: {{file: '{log}'}}\n"
    )
    with Driven("up", "--config", config, "--session", SESSION, session=SESSION) as driven:
        driven.wait_for(event_of("door"))
        before = driven.wait_for(event_of("yard"))
        door.frozen.set()
        yard.close()
        driven.wait_for(heartbeat("capture yard", lambda said: "trying again" in said))
        frozen = driven.wait_for(heartbeat("capture door", lambda said: "the picture has not changed for" in said))
        assert frozen.state == "ready"  # type: ignore[attr-defined]
        driven.wait_for(event_of("door"))
        door.frozen.clear()
        again = RtspServer(clip, 2.0, yard.port)
        driven.wait_for(heartbeat("capture door", lambda said: said == ""))
        after = driven.wait_for(event_of("yard", before.t + 1.0))  # type: ignore[attr-defined]
        assert after.run == before.run  # type: ignore[attr-defined]
        driven.wait_for(heartbeat("capture yard", lambda said: said == ""))
        driven.interrupt()
        assert driven.finish()[0] == 0
    again.close()
    door.close()
    told = log.read_text()
    assert "capture door WARNING the picture has not changed for" in told
    assert "capture yard WARNING rtsp://***@127.0.0.1" in told
    assert "secret" not in told
