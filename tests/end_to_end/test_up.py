"""`bimodal up`: live, watched, and stopped without a trace."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from bimodal.broker.events import Emotion
from bimodal.broker.messages import Heartbeat
from tests.end_to_end.driving import PATIENCE_S, Driven, run
from tests.media import face_clip
from tests.mosquitto import free_port

TITLES = {"broker", "face 1", "face 2", "audio 1", "fusion", "view", "capture clip"}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config that plays a talking face for ever."""
    folder = tmp_path_factory.mktemp("up")
    clip = face_clip(folder / "clip.mp4", 3.0)
    path = folder / "config.yaml"
    path.write_text(
        f"streams: {{clip: {{file: '{clip}', loop: true}}}}\nworkers: {{face: {{count: 2}}}}\n"
        f"log: {{file: '{folder / 'log'}'}}\n"
    )
    return path


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections, and nothing ever comes from it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def up(config: Path, session: str, *more: str) -> Driven:
    return Driven("up", "--config", config, "--session", session, *more, session=session)


def is_event(body: object) -> bool:
    return isinstance(body, Emotion)


def ready_again(name: str, pid: int) -> object:
    def check(body: object) -> bool:
        return isinstance(body, Heartbeat) and body.name == name and body.state == "ready" and body.pid != pid

    return check


def test_it_runs_shows_a_line_and_stops_by_itself(config: Path) -> None:
    code, out, err = run("up", "--config", config, "--session", "test-for", "--for", "30", "--verbose")
    assert code == 0, err
    lines = [line for line in out.splitlines() if line.startswith("clip: ")]
    assert any("1 face" in line and "fps" in line for line in lines), out


def says(name: str, sentence: str) -> Callable[[object], bool]:
    """A heartbeat of this process, with a reason."""
    return lambda body: isinstance(body, Heartbeat) and body.name == name and sentence in (body.because or "")


def test_processes_have_titles_and_ctrl_c_leaves_nothing(config: Path, silent: int) -> None:
    """Also with receivers of events that take connections and never answer, or are not there."""
    dead = config.with_name("dead.yaml")
    hook = f"{{url: 'http://127.0.0.1:{silent}/', send: both, timeout_s: 0.5}}"
    dead.write_text(config.read_text() + f"outputs: {{osc: {free_port()}, mqtt: {silent}, webhook: {hook}}}\n")
    with up(dead, "test-titles") as driven:
        driven.wait_for(is_event)
        driven.wait_for(says("osc", "nobody receives OSC at 127.0.0.1:"))
        driven.wait_for(says("mqtt", f"the MQTT broker 127.0.0.1:{silent} has not answered yet"))
        driven.wait_for(says("webhook", f"http://127.0.0.1:{silent}/ takes no deliveries: no answer in time"))
        driven.wait_for(is_event)
        children = driven.children()
        assert set(children) == {*TITLES, "osc", "mqtt", "webhook"}
        assert " ".join(psutil.Process(driven.process.pid).cmdline()).strip() == "bimodal: supervisor"
        driven.interrupt()
        code, _, err = driven.finish()
        assert code == 0, err
        assert not [child for child in children.values() if child.is_running() and child.status() != "zombie"]
        assert driven.left_behind() == []


@pytest.mark.parametrize("victim", sorted(TITLES))
def test_whoever_is_killed_comes_back_and_the_stream_goes_on(config: Path, victim: str) -> None:
    session = f"test-{victim.replace(' ', '-')}"
    with up(config, session) as driven:
        driven.wait_for(is_event)
        pid = driven.kill(victim)
        driven.wait_for(ready_again(victim, pid))  # type: ignore[arg-type]
        for _ in range(10):
            driven.wait_for(is_event)
        assert set(driven.children()) == TITLES


def test_everything_ends_with_a_supervisor_that_is_killed_and_the_next_start_sweeps(config: Path) -> None:
    with up(config, "test-sweep") as driven:
        driven.wait_for(is_event)
        children = list(driven.children().values())
        driven.process.kill()
        driven.process.wait()
        gone, alive = psutil.wait_procs(children, timeout=20)
        assert len(gone) == len(TITLES)
        assert alive == []
        assert driven.left_behind()
    with up(config, "test-sweep") as driven:
        driven.wait_for(is_event)
        driven.interrupt()
        assert driven.finish()[0] == 0
        assert driven.left_behind() == []


def test_a_second_one_of_the_same_name_refuses(config: Path) -> None:
    with up(config, "test-twice") as driven:
        driven.wait_for(is_event)
        code, _, err = run("up", "--config", config, "--session", "test-twice")
        assert code == 1
        assert "already runs as session 'test-twice'" in err
        driven.wait_for(is_event)


def test_terminate_is_as_good_as_ctrl_c_and_a_service_manager_is_told(config: Path, tmp_path: Path) -> None:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(PATIENCE_S)
    (tmp_path / "more.yaml").write_text("streams: {clip: {audio_track: 1}}\n")
    environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "8000000"}
    environment["BIMODAL_CONFIG"] = f"{config}:{tmp_path / 'more.yaml'}"
    said: list[str] = []

    def until(word: str) -> None:
        while not said or word not in said[-1]:
            said.append(manager.recv(4096).decode())

    with manager, Driven("up", "--session", "test-term", session="test-term", environment=environment) as driven:
        until("READY=1")
        driven.wait_for(is_event)
        until("WATCHDOG=1")
        until("STATUS=1 stream, ")
        (tmp_path / "more.yaml").write_text("streams: {clip: {audio_track: 1}, other: {browser: true}}\n")
        driven.wait_for(lambda body: isinstance(body, Heartbeat) and body.name == "capture other")
        os.kill(driven.process.pid, signal.SIGTERM)
        assert driven.finish()[0] == 0
        assert driven.left_behind() == []
        until("STOPPING=1")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("streams: {clip: {file: /nowhere.mp4}}", "/nowhere.mp4"),
        ("streams: {clip: {camera: 97}}", "camera 97"),
        ("fuson: {}", "did you mean 'fusion'?"),
        ("models: {speech: facemesh-468}", "is a face-landmarks artifact, but a speech artifact is needed"),
        ("outputs: {events: ['tcp://0.0.0.0:5655']}", "other machines"),
    ],
)
def test_what_cannot_work_is_said_in_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    code, _, err = run("up", "--config", path, "--session", "test-wrong", "--for", "60")
    assert code == 1
    assert sentence in err
    assert "Traceback" not in err
