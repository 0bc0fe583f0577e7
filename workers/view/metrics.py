"""Metrics for Prometheus (/metrics) and the probes of orchestrators, /livez and /readyz.

Names follow Prometheus's conventions (base units, _total for counters). Labels are streams, processes and fixed words
only, and the number of each is limited, so that a misbehaving source can't grow the exposition.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import get_args

from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from bimodal import __version__
from bimodal.broker.events import Emotion
from bimodal.broker.messages import Body, State
from bimodal.workers.progress import NOUNS
from bimodal.workers.system_state import SystemState
from bimodal.workers.view.health import is_up, recent_processes, unready_reasons
from bimodal.workers.view.state import View

MOST_STREAMS = 64
MOST_PROCESSES = 256
OTHER = "other"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
MEBIBYTE = 2**20

_EXPLAINED = {
    "captured": ("bimodal_jobs_captured", "Frames and speech windows that capture has offered."),
    "done": ("bimodal_jobs_done", "Frames and speech windows that workers have answered."),
    "failed": ("bimodal_jobs_failed", "Frames and speech windows that could not be looked at."),
}


class Metrics(Collector):
    """Latency histograms of events, and counters read from the system's state. Not thread-safe."""

    def __init__(self, system: SystemState) -> None:
        # Creation times of series are of no use here, and triple the number of lines.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._system = system
        self._streams: set[str] = set()
        self.registry = CollectorRegistry(auto_describe=False)
        self._seconds = {
            "queue": self._histogram("queue", "Waiting for a worker."),
            "inference": self._histogram("inference", "In the worker."),
            "total": self._histogram("end_to_end", "From the grab of a frame to its event."),
        }
        self.registry.register(self)

    def _histogram(self, name: str, explained: str) -> Histogram:
        title = f"bimodal_{name}_seconds"
        return Histogram(
            title, f"{explained} One observation an event.", ["stream"], buckets=BUCKETS, registry=self.registry
        )

    def on_event(self, event: Emotion) -> None:
        """Observe the latencies of one event."""
        stream = event.stream
        if stream not in self._streams:
            if len(self._streams) >= MOST_STREAMS:
                stream = OTHER
            else:
                self._streams.add(stream)
        for name, milliseconds in (
            ("queue", event.latency_ms.queue),
            ("inference", event.latency_ms.inference),
            ("total", event.latency_ms.total),
        ):
            self._seconds[name].labels(stream).observe(milliseconds / 1000)

    def collect(self) -> Iterator[Metric]:
        """Metrics of the system's current state."""
        now = time.monotonic()
        yield from self._of_streams()
        yield from self._of_processes(now)
        build = GaugeMetricFamily("bimodal_build_info", "Version of the running program.", labels=["version"])
        build.add_metric([__version__], 1.0)
        yield build
        ready = GaugeMetricFamily("bimodal_ready", "1 where /readyz answers 200.")
        ready.add_metric([], float(not unready_reasons(self._system, now)))
        yield ready

    def _of_streams(self) -> Iterator[Metric]:
        status = self._system.status
        streams = status.streams[:MOST_STREAMS] if status is not None else ()
        for what, (name, explained) in _EXPLAINED.items():
            counter = CounterMetricFamily(name, explained, labels=["stream", "modality"])
            for stream in streams:
                counts = {"captured": stream.offered, "done": stream.done, "failed": stream.failed}[what]
                for modality, count in counts.items():
                    counter.add_metric([stream.stream, modality], count)
            yield counter
        dropped = CounterMetricFamily(
            "bimodal_jobs_dropped",
            "Live frames and speech windows passed over, by reason: replaced, late, lost, overwritten or removed.",
            labels=["stream", "modality", "reason"],
        )
        for stream in streams:
            for modality, reasons in stream.reasons.items():
                for reason, count in reasons.items():
                    dropped.add_metric([stream.stream, modality, reason], count)
        yield dropped
        share = GaugeMetricFamily(
            "bimodal_jobs_done_ratio",
            "Share of the jobs offered in the last seconds that were done.",
            labels=["stream", "modality"],
        )
        for stream in streams:
            for modality in NOUNS:
                known = self._system.progress.share(stream.stream, modality)
                if known is not None:
                    share.add_metric([stream.stream, modality], known)
        yield share
        waiting = GaugeMetricFamily("bimodal_jobs_waiting", "Jobs that wait for a worker.")
        waiting.add_metric([], status.waiting if status is not None else 0)
        yield waiting
        undecodable = CounterMetricFamily(
            "bimodal_messages_undecodable", "What arrived at the broker and is no message."
        )
        undecodable.add_metric([], status.undecodable if status is not None else 0)
        yield undecodable
        carried = CounterMetricFamily(
            "bimodal_message_bytes", "Bytes of messages that came to the broker or left it.", labels=["direction"]
        )
        for direction, count in (
            ("received", status.received_bytes if status is not None else 0),
            ("sent", status.sent_bytes if status is not None else 0),
        ):
            carried.add_metric([direction], count)
        yield carried

    def _of_processes(self, now: float) -> Iterator[Metric]:
        up = GaugeMetricFamily("bimodal_process_up", "1 where the process is ready and answers.", labels=["process"])
        state = GaugeMetricFamily(
            "bimodal_process_state", "1 for the state the process is in.", labels=["process", "state"]
        )
        restarts = CounterMetricFamily("bimodal_process_restarts", "Starts after the first.", labels=["process"])
        cpu = GaugeMetricFamily("bimodal_process_cpu_cores", "Processor cores in use.", labels=["process"])
        memory = GaugeMetricFamily("bimodal_process_memory_bytes", "Private resident memory.", labels=["process"])
        for process in recent_processes(self._system, now)[:MOST_PROCESSES]:
            beat = process.heartbeat
            up.add_metric([beat.name], float(is_up(process, now)))
            for word in get_args(State):
                state.add_metric([beat.name, word], float(beat.state == word))
            figures = beat.figures
            restarts.add_metric([beat.name], process.restarts)
            if "cpu_percent" in figures:
                cpu.add_metric([beat.name], figures["cpu_percent"] / 100)
            if "memory_mb" in figures:
                memory.add_metric([beat.name], figures["memory_mb"] * MEBIBYTE)
        yield from (up, state, restarts, cpu, memory)

    def exposition(self) -> bytes:
        """Text that Prometheus reads."""
        return generate_latest(self.registry)


def routes(view: View) -> list[BaseRoute]:
    """Routes of /metrics, /livez and /readyz."""
    metrics = Metrics(view.system)

    def observe(body: Body) -> None:
        if isinstance(body, Emotion):
            metrics.on_event(body)

    view.listeners.append(observe)

    async def expose(_request: Request) -> Response:
        return Response(metrics.exposition(), headers={"content-type": CONTENT_TYPE_LATEST})

    async def live(_request: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def ready(_request: Request) -> Response:
        reasons = unready_reasons(view.system, time.monotonic())
        return JSONResponse({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    return [Route("/metrics", expose), Route("/livez", live), Route("/readyz", ready)]
