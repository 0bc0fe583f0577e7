"""Words, limits and counters that the wire protocol and the control channel share; apart from the protocol's messages,
which take longer to load than a command that asks for the state has time for."""

from __future__ import annotations

from typing import Literal

import msgspec

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
# Data sent with an assignment to another machine: a picture of 8K.
MAX_DATA_BYTES = 128 * 1024 * 1024

Modality = Literal["face", "speech"]
Policy = Literal["latest", "every"]
# An observer only reads the bus; the broker sends it nothing.
Role = Literal["capture", "worker", "fusion", "recorder", "supervisor", "observer"]
State = Literal["starting", "ready", "draining", "stopped", "failed"]


class StreamStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The broker's counters of one stream since it was opened, by modality.

    `reasons` splits `dropped`: replaced (by a newer one), late, lost (its worker ended), overwritten (its slot) or
    removed (its shared memory).
    """

    stream: str
    policy: Policy
    source: str
    offered: dict[str, int]
    done: dict[str, int]
    dropped: dict[str, int]
    failed: dict[str, int]
    reasons: dict[str, dict[str, int]] = {}
