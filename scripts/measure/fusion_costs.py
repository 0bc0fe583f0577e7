"""CPU of fusion an event, on recorded messages of the lane; of this checkout or an older one.

Run: python scripts/measure/fusion_costs.py MESSAGES EVENTS, with the checkout to be measured as working folder and
PYTHONPATH. MESSAGES is what scripts/measure/fusion.py recorded; EVENTS is written, to be compared. Prints milliseconds.
"""

from __future__ import annotations

import gc
import itertools
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

ROUNDS = 5
BEGUN_NS, STEP_NS = 10**15, 1_000_000
"""The clock of latencies, so that they are the same in every run."""


def main() -> None:
    """Print CPU milliseconds an event, decoding, fusion, segments and encoding together: the least of ROUNDS."""
    messages: list[bytes] = msgspec.msgpack.decode(Path(sys.argv[1]).read_bytes())
    events = _played(messages)
    gc.collect()
    gc.freeze()
    spent = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        _played(messages)
        spent.append(time.process_time() - begun)
    Path(sys.argv[2]).write_bytes(msgspec.msgpack.encode(events))
    print(1000 * min(spent) / max(1, sum(b"latency_ms" in event for event in events)))


def _played(messages: list[bytes]) -> list[bytes]:
    """Encoded messages of fusion with the default settings, made as its process does (workers/fusion/actor.py)."""
    from bimodal.broker.messages import decode, seal
    from bimodal.workers.fusion.actor import Stretches
    from bimodal.workers.fusion.settings import FusionSettings
    from bimodal.workers.fusion.streams import Fusion

    fusion, stretches = Fusion(FusionSettings()), Stretches()
    clock = itertools.count(BEGUN_NS, STEP_NS)
    sent: list[bytes] = []
    for message in messages:
        delivery: Any = decode(message).body
        for event in fusion.receive(delivery.message, next(clock)):
            for body in (event, *stretches.on_event(event)):
                sent.append(seal(body, epoch=1, sender="fusion", incarnation=1))
    return sent


if __name__ == "__main__":
    main()
