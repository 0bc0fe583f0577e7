"""Where the time of an event went, and what was dropped, from messages alone."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.bench.latency import PARTS_OF_TIME, LatencyCollector, drops, percentile
from bimodal.broker.events import Emotion, Latency, Verdict
from bimodal.broker.messages import Job, Status, StreamStatus

MS = 1_000_000
GRAB_NS = 5 * MS


def job(seq: int, stream: str = "desk", **changes: object) -> Job:
    made = Job(
        stream=stream, run=1, modality="face", seq=seq, pts_ns=0, grab_ns=GRAB_NS, ring="r", slot=0, generation=2,
        shape=(2, 2, 3),
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def event(seq: int, latency: Latency, stream: str = "desk", failed: str | None = None) -> Emotion:
    verdict = Verdict(label=None, confidence=None)
    return Emotion(
        stream=stream, run=1, seq=seq, t=0.0, faces=(), speech=None, emotion=verdict, latency_ms=latency, models={},
        failed=failed,
    )  # fmt: skip


SAID = Latency(queue=3.0, inference=10.0, total=15.0, waited=2.0)


def test_the_parts_are_told_apart() -> None:
    latencies = LatencyCollector()
    latencies.take(GRAB_NS, job(0))
    latencies.take(GRAB_NS + 16 * MS, event(0, SAID))
    (latency,) = latencies.found
    assert latency.end_to_end == 16.0
    assert latency.queue == 2.0
    assert latency.transport == 3.0, "1 ms to the worker, 2 back"
    assert latency.inference == 10.0
    assert latency.fusion == 1.0
    assert latency.added == 6.0


@given(st.tuples(*[st.floats(0, 1e4)] * 5))
def test_the_parts_are_all_there_is(parts: tuple[float, ...]) -> None:
    waited, way, inference, back, after = parts
    total = waited + way + inference + back
    times = Latency(queue=waited + way, inference=inference, total=total, waited=waited)
    latencies = LatencyCollector()
    latencies.take(0, job(0, grab_ns=0))
    latencies.take(round((total + after) * MS), event(0, times))
    (latency,) = latencies.found
    assert sum(getattr(latency, part) for part in PARTS_OF_TIME) == pytest.approx(latency.end_to_end, abs=1e-6)


def test_what_was_announced_before_we_listened_is_left_out_and_failures_are_counted() -> None:
    latencies = LatencyCollector()
    latencies.take(0, event(7, SAID))
    latencies.take(GRAB_NS, job(8))
    latencies.take(GRAB_NS, job(8, modality="speech"))
    latencies.take(GRAB_NS + 20 * MS, event(8, SAID, failed="face worker was lost"))
    assert (latencies.found, latencies.announced, latencies.failed) == ([], 1, 1)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=60))
def test_each_looked_at_frame_is_one_moment_and_dropped_ones_are_forgotten(frames: list[tuple[str, bool]]) -> None:
    latencies = LatencyCollector()
    for seq, (stream, _) in enumerate(frames):
        latencies.take(GRAB_NS, job(seq, stream))
    for seq, (stream, looked_at) in enumerate(frames):
        if looked_at:
            latencies.take(GRAB_NS + 20 * MS, event(seq, SAID, stream))
            latencies.take(GRAB_NS + 30 * MS, event(seq, SAID, stream))
    assert len(latencies.found) == sum(looked_at for _, looked_at in frames)
    assert latencies.announced == len(frames)
    after_last = {stream: seq + 1 for seq, (stream, looked_at) in enumerate(frames) if looked_at}
    kept = sum(seq >= after_last.get(stream, 0) for seq, (stream, _) in enumerate(frames))
    assert sum(map(len, latencies._grabbed.values())) == kept


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 100))
def test_a_percentile_is_a_value_that_so_many_do_not_exceed(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share / 100 * len(values) - 1e-9


def test_a_percentile_of_nothing_is_none() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def status(*streams: tuple[str, int, dict[str, int]]) -> Status:
    return Status(
        streams=tuple(
            StreamStatus(
                stream=name, policy="latest", source=name, offered={"face": offered, "speech": 9}, done={}, dropped={},
                failed={}, reasons={"face": reasons, "speech": {"replaced": 5}},
            )
            for name, offered, reasons in streams
        ),
        waiting=0, workers={}, undecodable=0,
    )  # fmt: skip


def test_drops_are_those_between_two_reports() -> None:
    before = status(("a", 100, {"replaced": 10}))
    after = status(("a", 180, {"replaced": 30, "late": 1}), ("b", 20, {"replaced": 4}))
    found = drops(before, after)
    assert found.offered == 100
    assert found.reasons == {"replaced": 24, "late": 1}
    assert found.share() == 0.25
    assert found.share("late") == 0.01
    assert found.share("lost") == 0.0
    assert drops(after, after).share() == 0.0
