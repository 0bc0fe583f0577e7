"""The queries of the dashboard, and that of the workers' scaling, answered by a real Prometheus."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from bimodal.broker.events import Emotion
from tests.end_to_end.driving import PATIENCE_S, Driven
from tests.media import face_clip

KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"
SESSION, TOKEN = "test-dashboard", "0123456789abcdef-dashboard"
# Counters of what went wrong have no series before something did.
MAY_BE_EMPTY = re.compile(r"jobs_(dropped|failed)_total|sum by \(stream, reason\)")
needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")


def free_port() -> int:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as found:
        port: int = found.getsockname()[1]
        return port


def queries() -> list[str]:
    """Every query of the dashboard, for all instances, and that of the workers' scaling."""
    dashboard = json.loads((KUBERNETES / "monitoring" / "bimodal.json").read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    scaling = yaml.safe_load((KUBERNETES / "workers" / "scaling.yaml").read_text())
    found += [
        trigger["metadata"]["query"] for trigger in scaling["spec"]["triggers"] if trigger["type"] == "prometheus"
    ]
    return [query.replace("$instance", ".*") for query in found]


def test_there_are_queries_and_they_ask_for_metrics_of_ours() -> None:
    assert len(queries()) > 15
    for query in queries():
        assert re.search(r"\bbimodal_\w+", query), query
    assert "clamp_min" in queries()[-1], "no division by nothing"


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """The address of a Prometheus, and the port of the page that it scrapes, with the page's token."""
    page, own = free_port(), free_port()
    (tmp_path / "prometheus.yml").write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": "1s"},
                "scrape_configs": [
                    {
                        "job_name": "bimodal",
                        "authorization": {"credentials": TOKEN},
                        "static_configs": [{"targets": [f"127.0.0.1:{page}"]}],
                    }
                ],
            }
        )
    )
    command = ["prometheus", f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'data'}"]
    process = subprocess.Popen(
        [*command, f"--web.listen-address=127.0.0.1:{own}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield f"http://127.0.0.1:{own}", page
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def answer(address: str, query: str) -> list[Any]:
    """The answer to a query. Fails where Prometheus does not understand it."""
    reply = httpx.get(f"{address}/api/v1/query", params={"query": query}).json()
    assert reply["status"] == "success", (query, reply)
    result: list[Any] = reply["data"]["result"]
    return result


@pytest.mark.slow
@needs_prometheus
def test_a_real_prometheus_answers_every_query(tmp_path: Path, prometheus: tuple[str, int]) -> None:
    address, page = prometheus
    clip = face_clip(tmp_path / "clip.mp4")
    config = tmp_path / "config.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "streams": {"desk": {"file": str(clip), "loop": True}},
                "workers": {"face": {"count": 1}},
                "outputs": {"view": {"port": page, "token": TOKEN}},
            }
        )
    )
    with Driven("up", "--config", config, "--session", SESSION, session=SESSION) as driven:
        driven.wait_for(lambda body: isinstance(body, Emotion))
        end = time.monotonic() + PATIENCE_S
        missing = queries()
        while missing:
            assert time.monotonic() < end, missing
            time.sleep(1.0)
            with contextlib.suppress(httpx.TransportError):
                missing = [query for query in missing if not answer(address, query) and not MAY_BE_EMPTY.search(query)]
        for query in queries():
            for series in answer(address, query):
                assert float(series["value"][1]) >= 0, (query, series)
