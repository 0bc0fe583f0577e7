"""Errors of config files don't repeat what may be a password."""

from __future__ import annotations

import pytest

from bimodal.config.reading import read_config
from bimodal.workers import redaction
from bimodal.workers.errors import ConfigError
from bimodal.workers.redaction import redact


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_known", {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("outputs: {mqtt: {username: u, password: *S3cr3t}}", "must be in quotes"),
        ("outputs: {mqtt: {username: u, password: !S3cr3t x}}", "must be in quotes"),
        ("outputs: {mqtt: {username: u, password: !S3c!r3t x}}", "must be in quotes"),
        ("outputs: {mqtt: 'admin:S3cr3t@broker'}", "is no name of a host"),
        ("outputs: {mqtt: {host: 'admin:S3cr3t@broker'}}", "is no name of a host"),
        ("streams: {door: 'admin:S3cr3t@cam/x'}", "in 'streams.door'"),
        ("streams: {door: 'rtsp://admin:S3cr3t-which-is-longer-than-what-is-shown@cam/x'}", "in 'streams.door'"),
        ("streams: {door: {url: 'rtsp://admin:S3cr3t@cam/x', S3cr3t: 1}}", "unknown key"),
        ("outputs: {view: {token: 'S3cr3t-token', S3cr3t-token: 1}}", "unknown key"),
    ],
)
def test_an_error_does_not_repeat_a_password(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        read_config(text.encode(), "config.yaml")
    assert "S3c" not in redact(str(caught.value))
    assert "r3t" not in redact(str(caught.value))


def test_other_words_of_yaml_are_still_said() -> None:
    with pytest.raises(ConfigError, match="line 1") as caught:
        read_config(b"streams: {door: {auto: true}", "config.yaml")
    assert "quotes" not in str(caught.value)
