"""How many jobs a worker does at a time, and how long it waits for them. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from bimodal.workers.settings import RuntimeSettings

# A GPU does eight as fast as one; a core does one after the other at no loss (docs/performance.md).
AUTO = {"cpu": (1, 0.0), "cuda": (8, 3.0)}

# A stream that gave no job for so long is not waited for.
SILENT_S = 1.0


class Batching(NamedTuple):
    """`most` jobs at a time, collected for `wait_s` seconds at most."""

    most: int = 1
    wait_s: float = 0.0


def batching(runtime: RuntimeSettings, provider: str) -> Batching:
    """What config.yaml says, or what suits the provider ("cpu" or "cuda") that is really active."""
    most, wait_ms = AUTO[provider]
    return Batching(
        most if runtime.max_batch is None else runtime.max_batch,
        (wait_ms if runtime.max_wait_ms is None else runtime.max_wait_ms) / 1000,
    )


class Company:
    """Which streams a worker has jobs of, and so whether waiting for more is worth it: with one stream it never is."""

    def __init__(self) -> None:
        self._heard: dict[str, float] = {}

    def hear(self, stream: str, now_s: float) -> None:
        """A job of this stream has come."""
        self._heard[stream] = now_s

    def lacks(self, here: Collection[str], now_s: float) -> bool:
        """Whether a stream that was heard lately has no job among those that are here."""
        self._heard = {stream: at for stream, at in self._heard.items() if now_s - at <= SILENT_S}
        return any(stream not in here for stream in self._heard)
