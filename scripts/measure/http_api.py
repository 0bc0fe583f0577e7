"""Load on the HTTP API: `python -m scripts.measure.http_api --seconds 30`, on loopback, against a server of its own.

Fifty clients: half read events (server-sent events and WebSockets in turn), the others ask for status, and send clips,
which find a queue of bounded length. Told are: events that a reader lacks, requests without an answer, clips done and
refused, the time of status requests (median, p99), and the memory of the server's process over the time.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import multiprocessing
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated

import cv2
import httpx
import numpy as np
import psutil
import typer
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from bimodal.broker.events import Emotion, Latency, Verdict
from bimodal.workers.http_api.analyses import Analyses
from bimodal.workers.http_api.app import MOST_MESSAGE_BYTES, Api, application
from bimodal.workers.http_api.settings import AnalyzeSettings, ApiSettings
from bimodal.workers.http_api.system import System
from bimodal.workers.http_server import HttpServer
from bimodal.workers.view.listening import address_of, listen

EVENTS_PER_S = 30
STATUS_EVERY_S = 0.5
RETRY_S = 0.2
MEASURE_EVERY_S = 0.5
LAST_WITHIN_S = 20.0


@dataclass
class Found:
    """What was measured.

    Attributes:
        lacking: events that readers lack between the first and the last that each got.
        events: that all readers got.
        status_ms: of each status request.
        clips: by status of the answer.
        unanswered: requests without an answer.
        memory_mb: of the server's process, over the time.
    """

    lacking: int = 0
    events: int = 0
    status_ms: list[float] = field(default_factory=list)
    clips: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0
    memory_mb: list[float] = field(default_factory=list)

    def told(self) -> list[str]:
        """The lines to print."""
        times = sorted(self.status_ms)
        p99 = times[min(len(times) - 1, round(0.99 * len(times)))] if times else float("nan")
        median = statistics.median(times) if times else float("nan")
        first, last = (statistics.median(part) for part in halves(self.memory_mb))
        return [
            f"events: {self.events} received, {self.lacking} lost",
            f"status: {len(times)} requests, median {median:.1f} ms, p99 {p99:.1f} ms, {self.unanswered} unanswered",
            f"clips: {self.clips[200]} done, {self.clips[429]} found the queue full and came again, "
            f"other answers: { {code: n for code, n in self.clips.items() if code not in (200, 429)} or 'none' }",
            f"memory: {first:.1f} MiB in the first half, {last:.1f} MiB in the second",
        ]


def halves(values: list[float]) -> tuple[list[float], list[float]]:
    """The values without the first quarter (of warming up), in two halves."""
    kept = values[len(values) // 4 :] or [0.0]
    middle = max(1, len(kept) // 2)
    return kept[:middle], kept[middle:] or kept[:middle]


def event(seq: int) -> Emotion:
    """An event of a stream without faces."""
    verdict = Verdict(label=None, confidence=None, because="no face, no voice")
    latency = Latency(queue=0.0, inference=0.0, total=0.0)
    return Emotion(
        stream="load",
        seq=seq,
        t=seq / EVENTS_PER_S,
        faces=(),
        speech=None,
        emotion=verdict,
        latency_ms=latency,
        models={},
    )


def serve(line: Connection, directory: str) -> None:
    """Run a server in this process, and publish events until the other side says stop."""
    settings = ApiSettings(port=0, requests_per_s=10_000, analyze=AnalyzeSettings(workers=1, queue=4))

    async def config() -> dict[str, object]:
        return {"models": {"speech": "none", "face-details": "none"}}

    async def ready() -> list[str]:
        return []

    bound = listen(settings)
    api = Api(settings, Analyses(settings.analyze, config), System(Path(directory)), ready)
    server = HttpServer(
        application(api),
        bound,
        certificate=None,
        key=None,
        on_end=api.close,
        on_stop=api.feed.close,
        most_message_bytes=MOST_MESSAGE_BYTES,
    )
    server.start()
    line.send(address_of(settings, bound).rstrip("/"))
    began = time.monotonic()
    for seq in itertools.count():
        if line.poll(max(0.0, began + seq / EVENTS_PER_S - time.monotonic())):
            break
        server.loop.call_soon_threadsafe(api.feed.publish, event(seq))
    server.stop()


def picture() -> bytes:
    """The smallest clip that is one: a grey picture, as PNG."""
    return cv2.imencode(".png", np.full((64, 64, 3), 128, np.uint8))[1].tobytes()


async def load(address: str, pid: int, clients: int, seconds: float, clip: bytes) -> Found:
    """Run the clients against a server for so long."""
    found, end = Found(), time.monotonic() + seconds
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=address, timeout=60.0, limits=limits) as client:
        readers = [
            read(found, server_sent(client) if number % 2 else websocket(address), end)
            for number in range(clients // 2)
        ]
        senders = [
            send_clips(found, client, clip, end) if number % 3 == 0 else ask(found, client, end)
            for number in range(clients - clients // 2)
        ]
        await asyncio.gather(measure(found, pid, end), *readers, *senders)
    return found


async def read(found: Found, events: AsyncIterator[int], end: float) -> None:
    """Read events and count those that lack between the first and the last."""
    expected: int | None = None
    async for seq in events:
        found.lacking += 0 if expected is None else seq - expected
        found.events += 1
        expected = seq + 1
        if time.monotonic() >= end:
            return


async def server_sent(client: httpx.AsyncClient) -> AsyncIterator[int]:
    """Numbers of events of a stream of server-sent events."""
    async with client.stream("GET", "/v1/events") as stream:
        async for line in stream.aiter_lines():
            if line.startswith('data: {"type":"emotion"'):
                yield json.loads(line[6:])["seq"]


async def websocket(address: str) -> AsyncIterator[int]:
    """Numbers of events of a WebSocket."""
    try:
        async with connect(f"{address.replace('http', 'ws', 1)}/v1/events") as line:
            async for message in line:
                fields = json.loads(message)
                if fields["type"] == "emotion":
                    yield fields["seq"]
    except ConnectionClosed:
        return


async def ask(found: Found, client: httpx.AsyncClient, end: float) -> None:
    """Ask whether the server is ready, again and again."""
    while time.monotonic() < end:
        began = time.monotonic()
        try:
            (await client.get("/readyz")).raise_for_status()
        except httpx.HTTPError:
            found.unanswered += 1
        else:
            found.status_ms.append((time.monotonic() - began) * 1000)
        await asyncio.sleep(STATUS_EVERY_S)


async def send_clips(found: Found, client: httpx.AsyncClient, clip: bytes, end: float) -> None:
    """Send clips one after another; where the queue is full, come again."""
    while time.monotonic() < end:
        try:
            answer = await client.post("/v1/analyze", content=clip)
        except httpx.HTTPError:
            found.unanswered += 1
            continue
        found.clips[answer.status_code] += 1
        if answer.status_code == 429:
            await asyncio.sleep(RETRY_S)


async def measure(found: Found, pid: int, end: float) -> None:
    """Measure the memory of the server."""
    process = psutil.Process(pid)
    while time.monotonic() < end:
        found.memory_mb.append(process.memory_full_info().uss / 2**20)
        await asyncio.sleep(MEASURE_EVERY_S)


def run(clients: int, seconds: float) -> Found:
    """Start a server in a process of its own, and load it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with tempfile.TemporaryDirectory(prefix="bimodal-load-") as directory:
        process = context.Process(target=serve, args=(theirs, directory))
        process.start()
        try:
            if not ours.poll(60.0):
                raise TimeoutError("the server did not start")
            address = ours.recv()
            assert process.pid is not None
            return asyncio.run(load(address, process.pid, clients, seconds, picture()))
        finally:
            ours.send("stop")
            process.join(LAST_WITHIN_S)
            if process.is_alive():
                process.kill()


def main(
    clients: Annotated[int, typer.Option(min=2, max=200, help="How many at once.")] = 50,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="How long.")] = 30.0,
) -> None:
    """Print what was found."""
    print(*run(clients, seconds).told(), sep="\n")


if __name__ == "__main__":
    typer.run(main)
