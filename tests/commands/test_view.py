"""The sessions that `bimodal view` is told."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from bimodal.cli import app
from bimodal.commands.view import _pair, _place, _waited_for
from bimodal.workers.errors import ConfigError


def test_a_session_is_a_name_or_an_address_with_one() -> None:
    assert _place("lab", {}, "k").name == "lab"
    assert _place("lab", {}, "k").slots is not None
    far = _place("hall=tcp://10.0.0.5:5655", {}, "k")
    assert (far.name, far.endpoint, far.slots) == ("hall", "tcp://10.0.0.5:5655", None)
    assert _place("tcp://10.0.0.5:5655", {}, "k").name == "10.0.0.5:5655"
    assert _pair("hall='KEY='", "--server-key") == ("hall", "KEY=")
    with pytest.raises(ConfigError, match="--server-key is NAME="):
        _pair("KEY", "--server-key")


def test_sessions_of_this_machine_that_do_not_run_are_named() -> None:
    places = [_place(given, {}, "k") for given in ("no-such-session-here", "hall=tcp://10.0.0.5:5655")]
    assert _waited_for(places) == ["no-such-session-here"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--at", "a", "--at", "a"], "two sessions have one name"),
        (["--at", "a", "--server-key", "b=KEY"], "--server-key names 'b', and no --at does"),
    ],
)
def test_what_can_not_be_meant_is_said(arguments: list[str], sentence: str) -> None:
    done = CliRunner().invoke(app, ["view", *arguments])
    assert done.exit_code == 1
    assert re.search(sentence, done.output), done.output
