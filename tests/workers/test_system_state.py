"""The state of the system as a function of what came over the bus."""

from __future__ import annotations

from bimodal.broker.messages import Status, StreamClosed
from bimodal.workers.system_state import ENDED_STAYS_S, FORGOTTEN_AFTER_S, SILENT_S, SystemState
from tests.broker.making import opened
from tests.workers.view.making import beat, event, face

NOTHING = Status(streams=(), waiting=0, workers={}, undecodable=0)


def test_rate_and_latency_are_of_the_last_two_seconds() -> None:
    system = SystemState()
    for seq in range(100):
        system.take(event("desk", seq, face()), 100.0 + seq / 50)
    stream = system.streams["desk"]
    assert stream.rate(102.0) == 50.0
    assert stream.latency(102.0) == {"queue": 1, "inference": 10, "total": 20}
    assert stream.rate(103.0) < 30
    assert (stream.rate(110.0), stream.latency(110.0), stream.silent_s(111.98)) == (0, None, 10.0)


def test_a_stream_that_ended_and_comes_back_runs_again() -> None:
    system = SystemState()
    system.take(opened("desk", "latest"), 1.0)
    system.take(StreamClosed(stream="desk", run=1), 2.0)
    stream = system.streams["desk"]
    assert stream.closed_at == 2.0
    assert not stream.gone(3.0)
    assert stream.gone(3.0 + ENDED_STAYS_S)
    system.take(opened("desk", "latest"), 4.0)
    assert stream.closed_at is None


def test_a_process_has_one_word() -> None:
    system = SystemState()
    for heartbeat in (beat("a"), beat("b", because="unplugged"), beat("c", "stopped"), beat("d", "stopped", "killed")):
        system.take(heartbeat, 1.0)
    words = [process.word(1.0) for process in system.processes.values()]
    assert words == ["ready", "troubled", "ended", "restarting"]
    assert system.processes["a"].word(1.1 + SILENT_S) == "silent"


def test_what_ended_is_forgotten_unless_it_gave_a_reason() -> None:
    system = SystemState()
    for heartbeat in (beat("face 1"), beat("window", "stopped"), beat("capture desk", "stopped", "the file is broken")):
        system.take(heartbeat, 1.0)
    system.take(beat("gpu: face 7"), 1.0)
    system.take(NOTHING, 1.0 + FORGOTTEN_AFTER_S)
    assert len(system.processes) == 4
    system.take(NOTHING, 1.1 + FORGOTTEN_AFTER_S)
    assert list(system.processes) == ["face 1", "capture desk"]


def test_streams_that_were_taken_out_are_forgotten() -> None:
    system = SystemState()
    for name in ("desk", "door"):
        system.take(event(name, 0), 1.0)
    system.keep_streams(["door", "yard"])
    assert list(system.streams) == ["door"]
