"""`bimodal soak`: a verdict on every process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bimodal.broker.events import Emotion
from bimodal.broker.messages import Heartbeat
from tests.end_to_end.driving import Driven, run
from tests.end_to_end.living import Living

ALL = {"supervisor", "broker", "face 1", "audio 1", "fusion", "capture clip"}


@pytest.fixture
def living(tmp_path: Path) -> Living:
    return Living(tmp_path)


def test_a_soak_that_is_ended_early_says_what_there_was(living: Living) -> None:
    session = "test-soak"
    with Driven("soak", "--hours", "1", "--config", living.path, "--session", session, session=session) as driven:
        driven.wait_for(lambda body: isinstance(body, Emotion) and body.seq >= 50)
        driven.interrupt()
        code, out, err = driven.finish()
        assert (code, driven.left_behind()) == (0, []), err
    assert "verdict: nothing grows" in out
    assert {name for name in ALL if any(line.startswith(name) for line in out.splitlines())} == ALL


def test_who_was_started_again_is_named_and_costs_the_verdict(living: Living) -> None:
    session = "test-soak-kill"
    arguments = ["soak", "--minutes", "0.3", "--config", str(living.path), "--session", session, "--json"]
    with Driven(*arguments, session=session) as driven:
        # It may begin after the first event.
        driven.wait_for(lambda body: isinstance(body, Heartbeat) and (body.name, body.state) == ("audio 1", "ready"))
        driven.kill("audio 1")
        driven.wait_for(
            lambda body: (
                isinstance(body, Heartbeat) and (body.name, body.incarnation, body.state) == ("audio 1", 2, "ready")
            )
        )
        code, out, err = driven.finish()
    assert code == 3, err
    found = json.loads(out)
    assert not found["well"]
    because = {process["name"]: process["because"] for process in found["processes"]}
    assert because == dict.fromkeys(ALL) | {"audio 1": "it was started again once"}
    assert found["events"] > 100


def test_a_config_that_is_wrong_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("fuson: {}")
    code, _, err = run("soak", "--config", tmp_path / "config.yaml")
    assert code == 1
    assert "did you mean 'fusion'?" in err
