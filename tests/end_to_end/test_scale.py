"""`bimodal scale` and `bimodal status` on a running system; memory limits; failures that heal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bimodal.broker.events import Emotion
from bimodal.broker.messages import Heartbeat
from tests.end_to_end.driving import Driven, events_of, run
from tests.end_to_end.living import Living, static_model, until
from tests.media import face_clip


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory) -> Living:
    return Living(tmp_path_factory.mktemp("scale"))


def test_workers_come_and_go_at_once_until_the_config_says_another_number(living: Living) -> None:
    session = "test-scale"
    with living.up(session) as driven:
        driven.wait_for(lambda body: static_model(body) is not None)
        before = driven.children()
        code, out, err = run("scale", "face=3", "audio=2", "--session", session)
        assert (code, out.strip()) == (0, "face: 1 → 3 workers; audio: 1 → 2 workers"), err
        assert {"face 1", "face 2", "face 3", "audio 1", "audio 2"} <= set(driven.children())
        assert run("scale", "face=1", "--session", session)[0] == 0
        found = until(session, lambda found: len(found["processes"]) == len(before) + 2)
        faces = [each["name"] for each in found["processes"] if each["role"] == "face"]
        assert faces == ["face 1"]
        driven.wait_for(lambda body: isinstance(body, Emotion))
        living.write(workers={"face": {"count": 2}})
        until(session, lambda found: [each["role"] for each in found["processes"]].count("face") == 2)
        after = driven.children()
        assert {name: after[name].pid for name in before} == {name: child.pid for name, child in before.items()}


def test_status_tells_of_all_processes_and_streams(living: Living) -> None:
    session = "test-status"
    with living.up(session) as driven:
        driven.wait_for(lambda body: static_model(body) is not None)
        found = until(session, lambda found: _measured(found) and _offered(found) and _all_ready(found))
        names = {each["name"] for each in found["processes"]}
        assert {"supervisor", "broker", "fusion", "capture clip"} <= names
        assert found["config"] == str(living.path)
        code, out, _ = run("status", "--session", session)
        assert code == 0
        assert "first@1" in out
        assert "in force" in out
        heartbeat = driven.wait_for(lambda body: isinstance(body, Heartbeat) and body.name == "fusion")
        assert isinstance(heartbeat, Heartbeat)
        assert {"cpu_percent", "memory_mb", "restarts", "up_s"} <= set(heartbeat.figures)
        other = driven.wait_for(lambda body: isinstance(body, Heartbeat) and body.name == "supervisor")
        assert isinstance(other, Heartbeat)
        assert (other.state, other.because) == ("ready", None)


def test_an_analysis_is_scaled_too(living: Living, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"models: {{face-static: '{living.models['first']}'}}\nworkers: {{face: {{count: 1}}}}\n")
    clip = face_clip(tmp_path / "clip.mp4", 15.0)
    with Driven("analyze", clip, "--config", config, "--speed", "realtime", "--out", tmp_path / "out") as driven:
        driven.wait_for(lambda body: isinstance(body, Emotion))
        code, out, err = run("scale", "face=2", "--session", driven.session)
        assert (code, out.strip()) == (0, "face: 1 → 2 workers"), err
        code, out, err = driven.finish()
        assert code == 0, err
    assert [event["seq"] for event in events_of(tmp_path / "out", "clip")] == list(range(375))


@pytest.mark.parametrize(
    ("arguments", "wanted", "sentence"),
    [
        (["status"], 1, "no bimodal runs as session 'nobody'"),
        (["scale", "face=2"], 1, "no bimodal runs as session 'nobody'"),
        (["scale", "face"], 2, "is not KIND=NUMBER"),
    ],
)
def test_what_is_not_there_is_said_in_one_sentence(arguments: list[str], wanted: int, sentence: str) -> None:
    code, _, err = run(*arguments, "--session", "nobody")
    assert code == wanted
    assert sentence in err
    assert "Traceback" not in err


def test_who_takes_too_much_memory_is_started_again_in_order(tmp_path: Path) -> None:
    living, session = Living(tmp_path), "test-memory"
    living.write(models=living.values["models"] | {"speech": "none", "voice-activity": "none"})
    with living.up(session) as driven:
        driven.wait_for(lambda body: static_model(body) is not None)
        # It takes most once it has looked at some frames; figures are read every few seconds.
        face, others = _memory(until(session, _face_takes_most))
        pid = driven.children()["face 1"].pid
        limit = round((face + others) / 2)
        living.write(workers={"face": {"count": 1}, "max_memory_mb": limit})
        gone = driven.wait_for(
            lambda body: isinstance(body, Heartbeat) and "max_memory_mb" in (body.because or "") and body.pid != pid
        )
        assert isinstance(gone, Heartbeat)
        assert gone.name.startswith("face")
        assert f"more than workers.max_memory_mb = {limit}" in (gone.because or "")
        living.write(workers={"face": {"count": 1}, "max_memory_mb": None})
        driven.wait_for(lambda body: isinstance(body, Emotion))


def _memory(found: dict[str, Any]) -> tuple[float, float]:
    """Of the face worker, and of the largest other process but the supervisor, in MiB."""
    memory = {each["name"]: each["figures"]["memory_mb"] for each in found["processes"]}
    return memory["face 1"], max(size for name, size in memory.items() if name not in ("face 1", "supervisor"))


def _face_takes_most(found: dict[str, Any]) -> bool:
    return _measured(found) and _memory(found)[0] > _memory(found)[1] + 2


def _measured(found: dict[str, object]) -> bool:
    processes = found["processes"]
    assert isinstance(processes, list)
    return all(each["figures"]["memory_mb"] for each in processes)


def _offered(found: dict[str, object]) -> bool:
    """Whether the broker has told of frames."""
    streams = found["streams"]
    assert isinstance(streams, list)
    return bool(streams) and streams[0]["offered"]["face"] > 0


def _all_ready(found: dict[str, object]) -> bool:
    """True once all processes are ready: some begin a moment after the first event."""
    processes = found["processes"]
    assert isinstance(processes, list)
    return all(each["state"] == "ready" and each["pid"] for each in processes)
