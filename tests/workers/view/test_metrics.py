"""What Prometheus and orchestrators are told, from the messages of the bus."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path

import httpx
import msgspec
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette

from bimodal.broker.events import Latency
from bimodal.broker.messages import Heartbeat, State, Status, StreamStatus
from bimodal.workers.settings import ViewActorSettings
from bimodal.workers.system_state import SystemState
from bimodal.workers.view.health import FRESH_S, unready_reasons
from bimodal.workers.view.metrics import MOST_STREAMS, Metrics, routes
from bimodal.workers.view.state import View
from tests.recordings.events import event

DASHBOARD = Path(__file__).parents[3] / "docs" / "grafana" / "bimodal.json"
EVERYONE = ("broker", "fusion", "face 1", "audio 1")


def beat(name: str, state: State = "ready", *, because: str | None = None, **figures: float) -> Heartbeat:
    return Heartbeat(name=name, incarnation=3, state=state, pid=7, because=because, figures=figures)


def status() -> Status:
    stream = StreamStatus(
        stream='the "desk"',
        policy="latest",
        source="camera 0",
        offered={"face": 10, "speech": 4},
        done={"face": 7, "speech": 4},
        dropped={"face": 2, "speech": 0},
        failed={"face": 1, "speech": 0},
        reasons={"face": {"replaced": 1, "late": 1}, "speech": {}},
    )
    return Status(streams=(stream,), waiting=2, workers={"face": 1}, undecodable=5, received_bytes=700, sent_bytes=300)


def samples(metrics: Metrics) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def asked(app: Starlette, path: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1") as client:
            return await client.get(path)

    return asyncio.run(ask())


def filled(*more: Heartbeat) -> Metrics:
    system = SystemState()
    now = time.monotonic()
    system.take(status(), now)
    for heartbeat in (*(beat(name, cpu_percent=50.0, memory_mb=2.0, restarts=4.0) for name in EVERYONE), *more):
        system.take(heartbeat, now)
    metrics = Metrics(system)
    metrics.on_event(event(0))
    return metrics


def test_counters_say_what_the_broker_counted() -> None:
    found = samples(filled())
    desk = 'the "desk"'
    assert ({"stream": desk, "modality": "face"}, 10.0) in found["bimodal_jobs_captured_total"]
    assert ({"stream": desk, "modality": "speech"}, 4.0) in found["bimodal_jobs_done_total"]
    assert ({"stream": desk, "modality": "face"}, 1.0) in found["bimodal_jobs_failed_total"]
    dropped = {labels["reason"]: value for labels, value in found["bimodal_jobs_dropped_total"]}
    assert dropped == {"replaced": 1.0, "late": 1.0}
    assert found["bimodal_jobs_waiting"] == [({}, 2.0)]
    assert found["bimodal_messages_undecodable_total"] == [({}, 5.0)]
    carried = {labels["direction"]: value for labels, value in found["bimodal_message_bytes_total"]}
    assert carried == {"received": 700.0, "sent": 300.0}


def test_processes_have_state_restarts_cores_and_bytes() -> None:
    found = samples(filled(beat("face 1", "failed", because="no model", restarts=5.0)))
    assert {labels["process"]: value for labels, value in found["bimodal_process_up"]} == {
        "audio 1": 1.0,
        "broker": 1.0,
        "face 1": 0.0,
        "fusion": 1.0,
    }
    states = [
        labels["state"] for labels, value in found["bimodal_process_state"] if value and labels["process"] == "face 1"
    ]
    assert states == ["failed"]
    assert ({"process": "broker"}, 4.0) in found["bimodal_process_restarts_total"]
    assert ({"process": "broker"}, 0.5) in found["bimodal_process_cpu_cores"]
    assert ({"process": "broker"}, 2.0 * 2**20) in found["bimodal_process_memory_bytes"]


def test_latencies_are_seconds_in_histograms() -> None:
    metrics = Metrics(SystemState())
    slow = msgspec.structs.replace(event(0), latency_ms=Latency(queue=2.0, inference=30.0, total=400.0))
    for _ in range(3):
        metrics.on_event(slow)
    found = samples(metrics)
    for name, seconds in (("queue", 0.002), ("inference", 0.03), ("end_to_end", 0.4)):
        ((labels, total),) = found[f"bimodal_{name}_seconds_sum"]
        assert labels == {"stream": "clip"}
        assert abs(total - 3 * seconds) < 1e-9
        buckets = {float(at["le"]): value for at, value in found[f"bimodal_{name}_seconds_bucket"]}
        assert all((value == 3.0) == (limit >= seconds) for limit, value in buckets.items())


def test_a_source_that_invents_names_does_not_grow_the_exposition() -> None:
    metrics = Metrics(SystemState())
    for number in range(3 * MOST_STREAMS):
        metrics.on_event(msgspec.structs.replace(event(0), stream=f"stream {number}"))
    streams = {labels["stream"] for labels, _ in samples(metrics)["bimodal_queue_seconds_count"]}
    assert len(streams) == MOST_STREAMS + 1
    assert "other" in streams


def test_every_metric_of_the_dashboard_exists() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    metrics = filled()
    exposed = {sample.name for family in metrics.registry.collect() for sample in family.samples}
    named = set(re.findall(r"bimodal_[a-z_]+", json.dumps([dashboard["panels"], dashboard["templating"]])))
    assert named
    assert named <= exposed
    identities = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(identities)) == len(identities) >= 10
    assert all(panel["targets"] and panel["title"] for panel in dashboard["panels"])


def test_ready_needs_broker_fusion_and_one_worker_of_each_kind() -> None:
    system = SystemState()
    assert unready_reasons(system, 0.0) == ["the broker is not ready", "fusion is not ready", "no face worker is ready"]
    for name in EVERYONE:
        system.take(beat(name), 0.0)
    assert unready_reasons(system, 0.0) == []
    system.take(beat("face 2", "starting"), 0.0)
    assert unready_reasons(system, 1.0) == []
    system.take(beat("audio 1", "failed", because="the model is missing"), 1.0)
    assert unready_reasons(system, 1.0) == ["no audio worker is ready: the model is missing"]
    assert len(unready_reasons(system, FRESH_S + 1.0)) == 4, "what was not heard of lately is not ready"


def test_the_routes_answer(tmp_path: Path) -> None:
    view = View(ViewActorSettings(), tmp_path, "http://127.0.0.1:1/")
    app = Starlette(routes=routes(view))
    assert asked(app, "/livez").status_code == 200
    answer = asked(app, "/readyz")
    assert answer.status_code == 503
    assert answer.json()["ready"] is False
    assert "the broker is not ready" in answer.json()["reasons"]
    for name in EVERYONE:
        view.take(beat(name))
    answer = asked(app, "/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "reasons": []})
    answer = asked(app, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert 'bimodal_process_up{process="broker"} 1.0' in answer.text
