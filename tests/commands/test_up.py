"""Output of `bimodal up`."""

from __future__ import annotations

from bimodal.broker.events import Emotion, Latency, Speech, Verdict
from bimodal.broker.messages import Heartbeat, State, Status, StreamStatus
from bimodal.commands.up import live_lines
from bimodal.workers.system_state import SystemState


def event(seq: int, label: str | None, because: str | None = None) -> Emotion:
    return Emotion(
        stream="desk",
        seq=seq,
        t=seq / 30,
        faces=(),
        speech=Speech(label="sad", probabilities={"sad": 1.0}, voice=1.0, age_ms=1.0),
        emotion=Verdict(label=label, confidence=0.77 if label else None, because=because),
        latency_ms=Latency(queue=1.0, inference=2.0, total=19.8),
        models={},
    )


def heartbeat(state: State, because: str | None = None) -> Heartbeat:
    return Heartbeat(name="face 1", incarnation=1, state=state, pid=1, because=because)


def test_a_line_says_label_rate_latency_and_drops() -> None:
    system = SystemState()
    for seq in range(60):
        system.take(event(seq, "happy"), seq / 30)
    status = StreamStatus(
        stream="desk",
        policy="latest",
        source="camera 0",
        offered={"face": 70},
        done={"face": 60},
        dropped={"face": 10},
        failed={"face": 0},
    )
    system.take(Status(streams=(status,), waiting=0, workers={}, undecodable=0), 2.0)
    (text,) = live_lines(system, 2.0)
    for part in ("desk: happy 77%", "no faces", "voice sad", "30.0 fps", "20 ms", "10 dropped"):
        assert part in text


def test_unknown_is_said_with_its_reason() -> None:
    system = SystemState()
    system.take(event(0, None, "no face, no voice"), 0.0)
    assert "unknown (no face, no voice)" in live_lines(system, 0.1)[0]


def test_a_stream_that_stands_still_says_so() -> None:
    system = SystemState()
    system.take(event(0, "happy"), 0.0)
    assert "no frames are coming" in live_lines(system, 10.0)[0]


def test_trouble_with_a_process_is_shown_until_it_is_over() -> None:
    system = SystemState()
    system.take(heartbeat("stopped", "it was ended by SIGKILL"), 0.0)
    assert live_lines(system, 0.0) == ["! face 1 stopped: it was ended by SIGKILL"]
    system.take(heartbeat("ready", "the camera was unplugged"), 1.0)
    assert live_lines(system, 1.0) == ["! face 1: the camera was unplugged"]
    system.take(heartbeat("ready"), 2.0)
    assert live_lines(system, 2.0) == []


def test_processes_that_failed_are_left_to_the_supervisor() -> None:
    system = SystemState()
    system.take(heartbeat("failed", "there is no model"), 0.0)
    assert live_lines(system, 0.0) == []
    told = Heartbeat(name="supervisor", incarnation=1, state="ready", pid=1, because="face 1 failed: there is no model")
    system.take(told, 0.0)
    assert live_lines(system, 0.0) == ["! face 1 failed: there is no model"]
