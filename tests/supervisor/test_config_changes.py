"""Changes of the config that come as requests."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bimodal.config import Config, check_config
from bimodal.supervisor.config_changes import changed_config, merged
from bimodal.supervisor.provenance import config_record
from bimodal.workers.errors import ConfigError

CAMERA = "rtsp://user:secret@192.168.1.20/stream1?token=abc"
TOKEN = "a-token-of-sixteen"
VALUES: dict[str, Any] = {
    "streams": {"desk": {"camera": 0}, "door": {"url": CAMERA}},
    "outputs": {"view": {"token": TOKEN}, "record": "sessions"},
    "models": {"speech": ["speech-voice", "speech-compact"]},
}


@pytest.fixture(scope="module")
def current() -> Config:
    return check_config(VALUES, "test")


def test_what_is_shown_can_be_sent_back(current: Config) -> None:
    shown = config_record(current)
    assert "secret" not in str(shown)
    for mode in ("whole", "sections", "merge"):
        assert changed_config(current, shown, mode) == current  # type: ignore[arg-type]


def test_the_whole_replaces_all_but_what_is_for_the_file(current: Config) -> None:
    changed = changed_config(current, {"streams": {"desk": {"camera": 1}}}, "whole")
    assert set(changed.streams) == {"desk"}
    assert changed.models == Config().models
    assert changed.outputs == current.outputs


def test_sections_and_keys(current: Config) -> None:
    changed = changed_config(current, {"fusion": {"video_weight": 0.4}}, "sections")
    assert (changed.fusion.video_weight, changed.models) == (0.4, current.models)
    changed = changed_config(current, {"streams": {"desk": None, "door": {"snapshot_fps": 1}}}, "merge")
    assert list(changed.streams) == ["door"]
    assert (changed.streams["door"].url, changed.streams["door"].snapshot_fps) == (CAMERA, 1.0)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"outputs": {"record": "/tmp"}}, "'outputs' can be changed in the config file only"),
        ({"network": {"workers": ["tcp://127.0.0.1:1"]}}, "'network' can be changed"),
        ({"log": {"level": "DEBUG"}}, "'log' can be changed"),
        ({"streams": {"gate": {"url": "rtsp://***@192.168.1.20/stream1"}}}, "only where it was shown"),
        ({"streams": {"door": {"url": "rtsp://***@evil.example/x"}}}, "only where it was shown"),
        ({"fusion": {"video_wieght": 1}}, "did you mean 'video_weight'"),
        ({"streams": {"door": {"token_file": "/etc/passwd"}}}, "unknown key 'token_file'"),
    ],
)
def test_what_may_not_be_changed_is_refused(current: Config, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        changed_config(current, values, "merge")


def test_placeholders_are_not_expanded(current: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHATEVER", "of this machine")
    changed = changed_config(current, {"streams": {"x": {"file": "${WHATEVER}"}}}, "merge")
    assert changed.streams["x"].file == "${WHATEVER}"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["***", "a", "${HOME}"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["streams", "desk", "url", "models", "speech", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(["streams", "models", "fusion", "outputs", "x"]), JSON, max_size=3), JSON)
def test_any_request_is_a_config_or_a_sentence(values: dict[str, Any], patch: Any) -> None:
    now = check_config(VALUES, "test")
    for mode in ("whole", "sections", "merge"):
        try:
            found = changed_config(now, values, mode)  # type: ignore[arg-type]
        except ConfigError:
            continue
        assert found.outputs == now.outputs
    before = {"a": {"b": 1}, "c": 2}
    assert merged(before, {}) == before
    assert merged(before, patch) == merged(merged(before, patch), patch) or not isinstance(patch, dict)
    assert msgspec.json.encode(before) == b'{"a":{"b":1},"c":2}', "nothing is changed in place"
