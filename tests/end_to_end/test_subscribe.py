"""Listening from outside: `bimodal subscribe`, and the examples of docs/protocol.md."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bimodal.broker.events import Emotion
from bimodal.broker.sockets import events_endpoint, session_directory
from tests.end_to_end.driving import PATIENCE_S, REPOSITORY, Driven, run
from tests.media import face_clip

SESSION = "test-listen"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driven]:
    """A system that plays a face for ever."""
    folder = tmp_path_factory.mktemp("listen")
    clip = face_clip(folder / "clip.mp4", 2.0)
    config = folder / "config.yaml"
    config.write_text(f"streams: {{clip: {{file: '{clip}', loop: true}}}}\nworkers: {{face: {{count: 1}}}}\n")
    with Driven("up", "--config", config, "--session", SESSION, session=SESSION) as driven:
        driven.wait_for(lambda body: isinstance(body, Emotion))
        yield driven


def test_events_are_json_lines(live: Driven) -> None:
    code, out, err = run("subscribe", "--session", SESSION, "--count", "5")
    assert code == 0, err
    events = [json.loads(line) for line in out.splitlines()]
    assert len(events) == 5
    assert all(event["stream"] == "clip" and event["type"] == "emotion" for event in events)


def test_other_topics_can_be_listened_to(live: Driven) -> None:
    code, out, _ = run("subscribe", "process.fusion", "--session", SESSION, "--count", "1")
    assert code == 0
    assert json.loads(out)["name"] == "fusion"


def test_it_survives_a_broker_that_is_started_again(live: Driven) -> None:
    with Driven("subscribe", "--session", SESSION, session=SESSION) as listener:
        assert listener.process.stdout is not None
        listener.process.stdout.readline()
        live.kill("broker")
        before = json.loads(listener.process.stdout.readline())["seq"]
        after = before
        # What was under way when the broker died may still come; a frame much later can't.
        while after < before + 60:
            after = json.loads(listener.process.stdout.readline())["seq"]


def test_a_topic_that_does_not_exist_is_refused() -> None:
    code, _, err = run("subscribe", "emoton")
    assert code == 1
    assert "there is no topic 'emoton'" in err


def example(language: str) -> str:
    """The example of docs/protocol.md in a language."""
    text = (REPOSITORY / "docs" / "protocol.md").read_text()
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found.group(1)


def first_line(command: list[str], cwd: Path) -> str:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd)
    try:
        assert process.stdout is not None
        return process.stdout.readline()
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE_S)


def test_the_python_example_listens(live: Driven, tmp_path: Path) -> None:
    pytest.importorskip("msgpack")
    script = tmp_path / "listen.py"
    script.write_text(example("python"))
    assert len(example("python").splitlines()) <= 12
    line = first_line([sys.executable, "-u", str(script), events_endpoint(session_directory(SESSION))], tmp_path)
    assert line.startswith("clip ")


def test_the_node_example_listens(live: Driven, tmp_path: Path) -> None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("needs Node.js")
    install = [npm, "install", "--silent", "--no-audit", "--no-fund", "zeromq@6", "@msgpack/msgpack@3"]
    if subprocess.run(install, cwd=tmp_path, capture_output=True, check=False).returncode:
        pytest.skip("the npm packages can't be installed here")
    (tmp_path / "listen.mjs").write_text(example("js"))
    line = first_line([node, "listen.mjs", events_endpoint(session_directory(SESSION))], tmp_path)
    assert line.startswith("clip ")
