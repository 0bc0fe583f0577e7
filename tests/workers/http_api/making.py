"""An API that is really served, in this process: with a supervisor that answers as told, and workers without models."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from bimodal.broker.control import (
    Accepted,
    ChangeRequest,
    ConfigReply,
    ConfigRequest,
    ControlServer,
    ProcessReport,
    Refused,
    Reply,
    Request,
    ScaleRequest,
    StatusReply,
    StatusRequest,
)
from bimodal.config import Config, check_config
from bimodal.errors import BimodalError
from bimodal.supervisor.config_changes import changed_config
from bimodal.supervisor.provenance import config_record
from bimodal.workers.http_api.analyses import Analyses
from bimodal.workers.http_api.app import MOST_MESSAGE_BYTES, Api, application
from bimodal.workers.http_api.settings import AnalyzeSettings, ApiSettings
from bimodal.workers.http_api.system import System
from bimodal.workers.http_server import HttpServer
from bimodal.workers.view.listening import address_of, listen

T = TypeVar("T")

FAKE_CLIPS = "tests.workers.http_api.fake_clips"
READ, CONTROL = "a-token-that-may-read", "a-token-that-may-change"
PATIENCE_S = 60.0
CAMERA = "rtsp://user:secret-of-the-door@192.168.1.20/stream1"
CONFIG = {
    "streams": {"desk": {"file": "a.mp4", "loop": True}, "door": {"url": CAMERA}},
    "outputs": {"view": {"token": "a-token-of-the-live-page"}},
}


class FakeSupervisor:
    """Answers requests as `bimodal up` does, and changes nothing but its own config.

    Attributes:
        given_up: what the next change ends with.
        requests: that came, but for questions.
    """

    def __init__(self, directory: Path) -> None:
        self.config: Config = check_config(CONFIG, "test")
        self.given_up: str | None = None
        self.requests: list[Request] = []
        self.counts = {"face": 1, "audio": 1}
        self._server = ControlServer(directory)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self._stopped.wait(0.005):
            self._server.serve(self.answer)

    def answer(self, request: Request) -> Reply:
        match request:
            case StatusRequest():
                return self.status()
            case ConfigRequest():
                return ConfigReply(
                    config=config_record(self.config), files=(), in_files=True, changing=False, refused=None,
                    given_up=self.given_up,
                )  # fmt: skip
            case ScaleRequest():
                self.requests.append(request)
                self.counts |= request.counts
                return Accepted("face: 1 → 2 workers") if request.counts else Refused("say face=4 or audio=2")
            case ChangeRequest():
                self.requests.append(request)
                try:
                    self.config = changed_config(self.config, request.values, request.mode)
                except BimodalError as error:
                    return Refused(str(error))
                return Accepted("it is being taken over")
        return Refused("not here")

    def status(self) -> StatusReply:
        workers = [
            ProcessReport(
                name=f"{kind} {number}", role=kind, state="ready", pid=1, because=None, figures={},
                models={"face-static": "first@1"},
            )
            for kind, count in self.counts.items()
            for number in range(1, count + 1)
        ]  # fmt: skip
        source = ProcessReport(
            name="capture door", role="capture", state="ready", pid=1, because="the door does not answer", figures={},
            models={},
        )  # fmt: skip
        return StatusReply(
            session="test", up_s=1.0, because=None, changing=False, config=None, refused=None, given_up=None,
            processes=(*workers, source), streams=(),
        )  # fmt: skip

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()
        self._server.close()


class Served:
    """The API on a port of its own."""

    def __init__(self, directory: Path | None, limits: dict[str, Any] | None = None, **how: Any) -> None:
        """`directory`: of the session; None for an API without one. `limits` of analyses, `how` as ApiSettings."""
        self.supervisor = FakeSupervisor(directory) if directory is not None else None
        system = System(directory) if directory is not None else None
        self.values: dict[str, object] = {"models": {}}
        analyses = Analyses(AnalyzeSettings(**(limits or {})), self._config)
        settings = ApiSettings(port=0, **how)
        self.api = Api(settings, analyses, system, self._reasons)
        bound = listen(settings)
        self.address = address_of(settings, bound).rstrip("/")
        self.server = HttpServer(
            application(self.api),
            bound,
            certificate=None,
            key=None,
            on_end=self.api.close,
            on_stop=self.api.feed.close,
            most_message_bytes=MOST_MESSAGE_BYTES,
        )
        self.reasons: list[str] = []
        self.server.start()

    async def _config(self) -> dict[str, object]:
        return self.values

    async def _reasons(self) -> list[str]:
        return self.reasons

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the server's own thread."""
        return asyncio.run_coroutine_threadsafe(work, self.server.loop).result(PATIENCE_S)

    def publish(self, event: Any) -> None:
        self.server.loop.call_soon_threadsafe(self.api.feed.publish, event)

    def wait_for_readers(self, count: int) -> None:
        until(lambda: len(self.api.feed) == count)

    def close(self) -> None:
        self.server.stop()
        if self.supervisor is not None:
            self.supervisor.close()


def until(reached: Any) -> None:
    """Wait until it is so."""
    end = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    """Check that an answer is a problem of RFC 9457, and give it."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    found: dict[str, Any] = answer.json()
    assert (found["status"], found["code"]) == (status, code)
    assert found["title"]
    assert found["detail"]
    return found


def encoded(value: object) -> bytes:
    return msgspec.json.encode(value)
