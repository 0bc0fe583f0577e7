"""Errors of the network in words, and certificates that are none."""

from __future__ import annotations

import http.client
import socket
import ssl
from pathlib import Path

import pytest

from bimodal.workers.errors import WorkerError
from bimodal.workers.outgoing import in_words, trusted


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (None, "no connection"),
        (TimeoutError(), "no answer in time"),
        (ConnectionRefusedError(111, "Connection refused"), "connection refused"),
        (http.client.RemoteDisconnected(), "it closed the connection without an answer"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (http.client.BadStatusLine("x"), "its answer is no HTTP (BadStatusLine)"),
        (ssl.SSLError(1, "wrong version number"), "no TLS connection"),
        (ValueError("odd"), "ValueError: odd"),
    ],
)
def test_errors_in_words(error: BaseException | None, words: str) -> None:
    assert in_words(error).startswith(words)


def test_a_file_without_certificates_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for name in ("ca.pem", "missing.pem"):
        with pytest.raises(WorkerError, match=rf"outputs\.mqtt\.ca: .*{name}"):
            trusted("outputs.mqtt.ca", str(tmp_path / name))
    assert trusted("x", None).check_hostname
