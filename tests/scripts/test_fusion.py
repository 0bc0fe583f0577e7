"""Fusion of two checkouts in turn: ratios of pairs, events that differ, and messages as of a live stream."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bimodal.broker.messages import Delivery, FaceResult, StreamOpened, decode
from bimodal.workers.demo import DEMO
from scripts.measure.fusion import HERE, cost, differing, lines, recorded


def test_ratios_are_those_of_pairs_and_differing_events_are_counted() -> None:
    same, other = lines([2.0, 4.0, 3.0], [1.0, 1.0, 1.5], 0, 7), lines([1.0], [1.0], 2, 7)
    assert same[0].endswith("3.000 ms before, 1.000 after, 0.50 × (0.25 – 0.50)")
    assert (same[1], other[1]) == ("all 7 messages are the same, to the bit", "2 of 7 messages differ")
    assert differing([b"a", b"b"], [b"a", b"c", b"d"]) == 2


@pytest.mark.slow
def test_real_messages_of_a_clip_are_played_alike_twice(tmp_path: Path) -> None:
    messages = recorded([DEMO], 5)
    bodies = [decode(message).body for message in messages]
    kinds = [body.message for body in bodies if isinstance(body, Delivery)]
    assert [one.policy for one in kinds if isinstance(one, StreamOpened)] == ["latest"]
    assert sum(isinstance(one, FaceResult) for one in kinds) >= 5
    file = tmp_path / "messages"
    file.write_bytes(msgspec.msgpack.encode(messages))
    for name in ("old", "new"):
        assert cost(HERE, file, tmp_path / name) > 0
    old, new = (msgspec.msgpack.decode((tmp_path / name).read_bytes()) for name in ("old", "new"))
    assert len(new) >= 5
    assert not differing(old, new)
