"""The load on the HTTP API, for a few seconds, with clips that need no models."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator

import pytest

from bimodal.broker.sockets import make_private
from bimodal.workers.http_api import analyses
from scripts.measure.http_api import EVENTS_PER_S, event, halves, load
from tests.workers.http_api.making import FAKE_CLIPS, Served

CLIENTS, SECONDS = 50, 4.0
MOST_GROWTH_MB = 25.0


@pytest.fixture
def served(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(analyses, "WORKER_MODULE", FAKE_CLIPS)
    directory = tmp_path_factory.mktemp("load") / "s"
    make_private(directory)
    found = Served(directory, requests_per_s=10_000)
    yield found
    found.close()


def test_fifty_clients_lose_nothing_and_leave_nothing(served: Served) -> None:
    stopped = threading.Event()

    def publish() -> None:
        seq = 0
        while not stopped.wait(1 / EVENTS_PER_S):
            served.publish(event(seq))
            seq += 1

    publishing = threading.Thread(target=publish)
    publishing.start()
    try:
        found = asyncio.run(load(served.address, os.getpid(), CLIENTS, SECONDS, b"1"))
    finally:
        stopped.set()
        publishing.join()
    assert (found.lacking, found.unanswered) == (0, 0)
    assert found.events > CLIENTS // 2
    assert set(found.clips) <= {200, 429}
    assert found.clips[200] > 0
    assert found.status_ms
    before, after = halves(found.memory_mb)
    assert max(after) - max(before) < MOST_GROWTH_MB
    served.wait_for_readers(0)
    assert served.api.analyses.present == 0
    assert "p99" in "".join(found.told())
