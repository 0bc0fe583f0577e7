"""Passwords of network streams: in no log, no event, nothing on the screen and nothing that `ps` shows."""

from __future__ import annotations

import logging
import socketserver
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bimodal.broker.messages import Heartbeat
from bimodal.workers.logs import ConfidentialFormatter, redact
from tests.end_to_end.driving import Driven, run

SESSION = "test-passwords"
SECRETS = ("Pa55-w0rd", "t0ken-1n-url")


class Refusing(socketserver.BaseRequestHandler):
    """An RTSP server that asks for another password, and sends to an address with a password of its own."""

    def handle(self) -> None:
        line = self.request.makefile("rb")
        while request := line.readline():
            headers = {}
            while (header := line.readline().strip()) != b"":
                key, _, value = header.partition(b":")
                headers[key.lower()] = value.strip()
            number = headers.get(b"cseq", b"1")
            if b"moved" in request:
                port = self.server.server_address[1]
                answer = f"302 Moved\r\nLocation: rtsp://other:{SECRETS[0]}@127.0.0.1:{port}/x"
            else:
                answer = '401 Unauthorized\r\nWWW-Authenticate: Basic realm="camera"'
            self.request.sendall(f"RTSP/1.0 {answer}\r\nCSeq: ".encode() + number + b"\r\n\r\n")


@pytest.fixture
def port() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refusing) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_a_stream_that_fails_does_not_tell_its_password(tmp_path: Path, port: int) -> None:
    user = f"admin:{SECRETS[0]}"
    sources = {
        "refused": f"rtsp://{user}@127.0.0.1:{port}/stream1?token={SECRETS[1]}",
        "moved": f"rtsp://{user}@127.0.0.1:{port}/moved?pwd={SECRETS[1]}",
        "nobody": f"rtsp://{user}@127.0.0.1:1/stream1?token={SECRETS[1]}",
        "page": f"http://{user}@127.0.0.1:{port}/video?auth={SECRETS[1]}",
        "unknown": f"smurf://{user}@127.0.0.1:{port}/video?key={SECRETS[1]}",
    }
    streams = "".join(f"  {name}: {{url: '{url}'}}\n" for name, url in sources.items())
    senders = (
        f"mqtt: {{port: {port}, username: admin, password: {SECRETS[0]}}}, "
        f"webhook: {{url: 'http://127.0.0.1:{port}/?token={SECRETS[1]}', secret: {'-'.join(SECRETS)}}}"
    )
    log = tmp_path / "log.txt"
    config = tmp_path / "config.yaml"
    config.write_text(
        f"streams:\n{streams}models: {{speech: none}}\nworkers: {{face: {{count: 1}}}}\n"
        f"outputs: {{view: false, record: '{tmp_path / 'kept'}', {senders}}}\nlog: {{file: '{log}', level: DEBUG}}\n"
    )
    seen = []
    with Driven("up", "--config", config, "--session", SESSION, session=SESSION) as driven:
        troubled: set[str] = set()
        for topic, body in driven.events():
            seen.append(f"{topic} {body}")
            if isinstance(body, Heartbeat) and body.because and body.name.startswith("capture "):
                troubled.add(body.name.removeprefix("capture "))
            if troubled == sources.keys():
                break
        processes = psutil.Process(driven.process.pid).children(recursive=True)
        shown = [" ".join(process.cmdline()) for process in processes]
        status = run("status", "--session", SESSION)
        driven.interrupt()
        _, out, err = driven.finish()
    kept = [path.read_text(errors="replace") for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    everything = {"events": "\n".join(seen), "log": log.read_text(), "screen": out + err, "ps": "\n".join(shown)}
    everything |= {"kept": "\n".join(kept), "status": "".join(map(str, status))}
    for place, text in everything.items():
        for secret in SECRETS:
            assert secret not in text, place
    assert "rtsp://***@127.0.0.1" in everything["log"]


@pytest.mark.parametrize("source", ["file: 'rtsp://a:Pa55-w0rd@h/x'", "camera: 'rtsp://a:Pa55-w0rd@h/x'"])
def test_an_address_in_the_wrong_place_is_refused_without_telling_it(tmp_path: Path, source: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"streams: {{door: {{{source}}}}}\n")
    code, out, err = run("up", "--config", config, "--session", SESSION)
    assert code == 1
    assert "an address goes under 'url'" in err
    assert SECRETS[0] not in out + err


def test_an_address_that_was_taken_for_a_file_is_hidden_too() -> None:
    assert redact(f"there is no file {Path(f'rtsp://a:{SECRETS[0]}@h/x')}") == "there is no file rtsp:/***@h/x"


def test_the_log_hides_it_in_tracebacks() -> None:
    try:
        raise OSError(111, "Connection refused", f"rtsp://a:{SECRETS[0]}@h/x?token={SECRETS[1]}")
    except OSError:
        record = logging.LogRecord("x", logging.ERROR, "x", 1, "lost", None, sys.exc_info())
    text = ConfidentialFormatter("%(message)s").format(record)
    assert "Connection refused" in text
    assert not any(secret in text for secret in SECRETS)
