"""A running system over HTTP, and frames that a program pushes into it."""

from __future__ import annotations

import heapq
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import httpx
import msgspec
import numpy as np
import pytest

import bimodal
from bimodal.broker.events import Emotion
from bimodal.broker.messages import Heartbeat
from bimodal.config import check_config
from bimodal.workers.capture import files
from tests.artifacts import make_face_static
from tests.end_to_end.driving import PATIENCE_S, REPOSITORY, Driven
from tests.media import scene, speech, write_clip

SESSION = "test-http-api"
CONTROL, LATER = "a-token-that-may-change", "another-that-may-change"
SECONDS = 3.0
OF_ONE_RUN = ("run", "latency_ms")


class Mounted:
    """A secret as Kubernetes mounts it: behind a link that is moved to the folder of another version."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.path, self._folder = folder / "token", folder
        self.path.symlink_to("..data/token")

    def write(self, token: str) -> None:
        version = self._folder / f"..{time.time_ns()}"
        version.mkdir()
        (version / "token").write_text(f"{token}\n")
        (self._folder / "..data_tmp").symlink_to(version.name)
        (self._folder / "..data_tmp").replace(self._folder / "..data")


class Running:
    """A system that waits for frames, its config, a clip, and where its page and its API are."""

    def __init__(self, folder: Path, session: str = SESSION) -> None:
        said, rate = speech(SECONDS)
        pictures = [scene(1, number / 25) for number in range(round(25 * SECONDS))]
        self.clip = write_clip(folder / "clip.mp4", pictures, sound=said, rate=rate)
        self.token = CONTROL
        self.secret = Mounted(folder / "secret")
        self.secret.write(self.token)
        self.values = {
            "streams": {"robot": {"push": True}},
            "models": {
                "face-static": str(make_face_static(folder / "first.onnx", name="first")),
                "face-details": "none",
                "speech": "speech-compact",
            },
            "workers": {"face": {"count": 1}},
            # In files every frame is looked at in full.
            "face": {"detect_every": 1},
            "outputs": {"view": {"port": 0}, "api": {"port": 0, "control_token_file": str(self.secret.path)}},
            "log": {"file": str(folder / "log")},
        }
        self.file = folder / "config.yaml"
        self.file.write_text(json.dumps(self.values))  # JSON is YAML
        self.session = session
        self.driven = Driven("up", "--config", self.file, "--session", session, session=session)
        self.page, self.api = self.address("view"), self.address("api")

    def address(self, name: str) -> str:
        found = self.driven.wait_for(
            lambda body: isinstance(body, Heartbeat) and body.name == name and bool(body.address)
        )
        assert isinstance(found, Heartbeat)
        return str(found.address)

    def ask(self, method: str, path: str, **how: object) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.token}"}
        return httpx.request(method, self.api + path, headers=headers, timeout=PATIENCE_S, **how)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    found = Running(tmp_path_factory.mktemp("api"))
    with found.driven:
        yield found


def compared(event: Emotion) -> dict[str, object]:
    """An event without what differs from run to run."""
    return {key: value for key, value in msgspec.to_builtins(event).items() if key not in OF_ONE_RUN}


def pushed(running: Running) -> list[Emotion]:
    """The events of the clip's frames and sound, one after another, each pushed when the one before has its event."""
    items = heapq.merge(files.sounds(running.clip), files.pictures(running.clip), key=lambda item: item.pts_ns)
    found: list[Emotion] = []
    with bimodal.push("robot", session=running.session) as robot:
        with pytest.raises(bimodal.errors.SourceError, match="another program pushes"):
            bimodal.push("robot", session=running.session)
        for item in items:
            if not hasattr(item, "pixels"):
                assert robot.sound(item.samples, item.rate, item.pts_ns / 1e9)
                continue
            if len(found) % 2:
                assert robot.frame(item.pixels, item.pts_ns / 1e9)
            else:
                with robot.slot(*item.pixels.shape[:2], item.pts_ns / 1e9) as room:
                    room[:] = item.pixels
            event = running.driven.wait_for(lambda body: isinstance(body, Emotion))
            assert isinstance(event, Emotion)
            found.append(event)
        assert robot.lost == 0
    return found


def test_pushed_frames_give_the_events_of_their_file(running: Running, tmp_path: Path) -> None:
    config = check_config({key: running.values[key] for key in ("models", "face")}, "test")
    with bimodal.Detector(config) as detector:
        wanted = list(detector.events(running.clip, name="robot"))
    found = pushed(running)
    for attempt in range(2):
        # Live, on a starved machine, a job may cost more time than it has, and a hop be heard an event later.
        if list(map(compared, found)) != list(map(compared, wanted)):
            again = Running(tmp_path, f"{SESSION}-again{attempt}")
            with again.driven:
                found = pushed(again)
    assert len(found) == len(wanted) == round(25 * SECONDS)
    assert list(map(compared, found)) == list(map(compared, wanted))
    assert any(event.speech is not None and event.speech.label for event in found)


def test_the_websocket_of_the_docs_takes_frames_of_other_languages(running: Running) -> None:
    text = (REPOSITORY / "docs" / "push.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(import json.*?)```", text, re.DOTALL)
    code = example.replace("ws://127.0.0.1:8484/", running.page.replace("http", "ws"))
    assert code != example
    frames = [scene(1, number / 25) for number in range(20)]
    exec(compile(code, "docs/push.md", "exec"), {"frames": frames})
    event = running.driven.wait_for(lambda body: isinstance(body, Emotion) and bool(body.faces) and body.t > SECONDS)
    assert isinstance(event, Emotion)
    assert event.faces[0].label


def test_a_program_that_may_not_push_is_told_why(running: Running) -> None:
    with pytest.raises(bimodal.errors.ControlError, match=r"declare it under 'streams'.*declared so: robot"):
        bimodal.push("desk", session=SESSION)
    with pytest.raises(bimodal.errors.ControlError, match="no bimodal runs"):
        bimodal.push("robot", session="no-such-session")
    with bimodal.push("robot", session=SESSION) as robot:
        with pytest.raises(bimodal.errors.SourceError, match="uint8"):
            robot.frame(np.zeros((4, 4), np.uint8))
        with pytest.raises(bimodal.errors.SourceError, match="kHz"):
            robot.sound(np.zeros(10, np.float32), 100)
    with pytest.raises(bimodal.errors.SourceError, match="closed"):
        robot.frame(np.zeros((4, 4, 3), np.uint8))


def test_the_system_is_read_and_changed_over_http(running: Running) -> None:
    driven = running.driven
    assert running.ask("GET", "v1/streams").json()["streams"] == {"robot": {"push": True}}
    clip = {"file": str(running.clip), "loop": True}
    assert running.ask("PUT", "v1/streams/clip?wait_s=60", json=clip).status_code == 200
    driven.wait_for(lambda body: isinstance(body, Emotion) and body.stream == "clip")
    address = f"{running.api}v1/events?stream=clip&count=2"
    with httpx.stream("GET", address, timeout=PATIENCE_S) as stream:
        data = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: ")]
    assert [event["stream"] for event in data] == ["clip", "clip"]
    wrong = running.ask("PATCH", "v1/config", json={"models": {"face-static": "no-such-model"}})
    assert (wrong.status_code, wrong.headers["content-type"]) == (422, "application/problem+json")
    assert "no-such-model" in wrong.json()["detail"]
    changed = running.ask("PATCH", "v1/config?wait_s=60", json={"fusion": {"smoothing_s": 0.1}})
    assert (changed.status_code, changed.json()["config"]["fusion"]["smoothing_s"]) == (200, 0.1)
    assert running.ask("GET", "v1/config").json()["in_files"] is False
    assert running.ask("DELETE", "v1/streams/clip?wait_s=60").status_code == 200
    assert running.ask("GET", "v1/scale").json() == {"face": 1, "audio": 1}


def test_a_picture_and_a_clip_are_analysed_beside_the_live_streams(running: Running) -> None:
    picture = cv2.imencode(".jpg", scene(1, 0.0)[..., ::-1])[1].tobytes()
    found = running.ask("POST", "v1/analyze?name=face", content=picture).json()
    (event,) = found["events"]
    assert (event["stream"], len(event["faces"]), found["hops"]) == ("face", 1, [])
    assert found["models"]["face-static"].startswith("first@"), "the models of the running system"
    lines = running.ask("POST", "v1/analyze", content=b"no media at all")
    assert (lines.status_code, lines.json()["code"]) == (422, "unreadable")


def test_a_secret_that_is_changed_in_its_file_counts_without_an_edit_of_the_config(running: Running) -> None:
    before = running.ask("GET", "v1/scale")
    assert before.status_code == 200
    running.secret.write("short")
    end = time.monotonic() + PATIENCE_S
    while "must be text of 16" not in str(running.ask("GET", "v1/config").json()["refused"]):
        assert time.monotonic() < end, "a token that is too short is refused, and the one of before holds"
        time.sleep(0.2)
    running.secret.write(LATER)
    running.driven.wait_for(
        lambda body: isinstance(body, Heartbeat) and (body.name, body.state) == ("api", "ready") and bool(body.address)
    )
    while True:
        try:
            if running.ask("GET", "v1/scale").status_code == 401:
                break
        except httpx.TransportError:
            pass  # it is just being started again
        assert time.monotonic() < end, "the token of before holds no more"
        time.sleep(0.2)
    running.token = LATER
    assert running.ask("GET", "v1/scale").json() == before.json()
    assert running.ask("GET", "v1/config").json()["refused"] is None
    log = (running.file.parent / "log").read_text()
    assert f"the secret in {running.secret.path} has changed" in log
    assert LATER not in log
