"""Other machines: the event bus beyond loopback, through the real commands, with keys and without."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bimodal.broker.events import Emotion
from tests.end_to_end.driving import REPOSITORY, Driven
from tests.media import face_clip

SESSION = "test-curve"


class Machine:
    """A home of its own: keys and log."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.environment = {**os.environ, "XDG_CONFIG_HOME": str(folder / ".config"), "HOME": str(folder)}
        self.keys = folder / ".config" / "bimodal" / "keys"

    def run(self, *arguments: str) -> tuple[int, str, str]:
        with Driven(*arguments, environment=self.environment) as driven:
            return driven.finish()

    def key(self) -> str:
        code, out, err = self.run("keys", "create")
        assert code == 0, err
        return shlex.split(out.splitlines()[-1])[0]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return Machine(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return Machine(tmp_path_factory.mktemp("laptop"))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("curve")
    clip = face_clip(folder / "clip.mp4", 2.0)
    path = folder / "config.yaml"
    path.write_text(
        f"streams: {{clip: {{file: '{clip}', loop: true}}}}\nworkers: {{face: {{count: 1}}}}\n"
        f"models: {{speech: none}}\noutputs: {{view: false, events: ['tcp://0.0.0.0:{free_port()}']}}\n"
    )
    return path


@pytest.fixture(scope="module")
def endpoint(config: Path) -> str:
    return f"tcp://127.0.0.1:{config.read_text().rpartition(':')[2].split(chr(39))[0]}"


def test_without_keys_the_start_is_refused_in_one_sentence(server: Machine, config: Path) -> None:
    code, _, err = server.run("up", "--config", str(config), "--session", SESSION)
    assert code == 1
    assert "is reachable from other machines, and that needs keys: run 'bimodal keys create'" in err
    assert "Traceback" not in err


@pytest.fixture(scope="module")
def live(server: Machine, config: Path) -> Iterator[str]:
    """The server's public key, while it runs."""
    key = server.key()
    with Driven(
        "up", "--config", config, "--session", SESSION, session=SESSION, environment=server.environment
    ) as driven:
        driven.wait_for(lambda body: isinstance(body, Emotion))
        yield key


def test_a_laptop_listens_once_its_key_is_allowed(server: Machine, laptop: Machine, live: str, endpoint: str) -> None:
    mine = laptop.key()
    listen = ("subscribe", "--endpoint", endpoint, "--server-key", live, "--count", "2")
    with Driven(*listen, environment=laptop.environment) as listener:
        assert listener.process.stderr is not None
        hint = listener.process.stderr.readline()
        assert f"bimodal keys allow {shlex.quote(mine)}" in hint
        code, out, err = server.run("keys", "allow", mine, "--name", "laptop")
        assert code == 0, err
        assert out == "'laptop' may read events\n"
        code, out, err = listener.finish()
    assert code == 0, err
    assert [json.loads(line)["stream"] for line in out.splitlines()] == ["clip", "clip"]
    _, out, _ = server.run("keys", "list")
    assert f"events   laptop  {mine}" in out
    assert f"own      bimodal  {live}" in out


def test_a_stranger_hears_nothing(tmp_path: Path, live: str, endpoint: str) -> None:
    stranger = Machine(tmp_path)
    stranger.key()
    with Driven("subscribe", "--endpoint", endpoint, "--server-key", live, environment=stranger.environment) as driven:
        assert driven.process.stderr is not None
        assert "must know this machine's key" in driven.process.stderr.readline()
        driven.interrupt()
        _, out, _ = driven.finish()
    assert out == ""


def test_a_secret_key_that_others_can_read_is_refused(tmp_path: Path, live: str, endpoint: str) -> None:
    careless = Machine(tmp_path)
    careless.key()
    (careless.keys / "bimodal.key_secret").chmod(0o644)
    code, _, err = careless.run("subscribe", "--endpoint", endpoint, "--server-key", live)
    assert code == 1
    assert "can be read by other users" in err
    assert "chmod 600" in err


def test_the_example_of_the_page_listens(server: Machine, laptop: Machine, live: str, endpoint: str) -> None:
    text = (REPOSITORY / "docs" / "events.md").read_text()
    script = text.partition("<!-- curve -->\n```python\n")[2].partition("```")[0]
    assert script
    (laptop.keys / "listen.py").write_text(script)

    command = [sys.executable, "-u", str(laptop.keys / "listen.py"), endpoint, live]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=laptop.environment)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("clip ")
    finally:
        process.kill()
        process.communicate()
