"""An event as one line of JSON, as docs/events.md describes it."""

from __future__ import annotations

import msgspec

from bimodal.broker.messages import Emotion

WIRE_ONLY = ("type", "run")
"""Every line is an emotion, and a file holds one run: these two keys say nothing there."""


def event_line(event: Emotion) -> bytes:
    """An Emotion → UTF-8 JSON with a line feed at its end. Numbers keep full precision; NaN would become null.

    `msgspec.json.decode(line, type=Emotion)` gives the event back, with `run` 0.
    """
    fields = msgspec.to_builtins(event)
    for key in WIRE_ONLY:
        fields.pop(key, None)
    return msgspec.json.encode(fields) + b"\n"
