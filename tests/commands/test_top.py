"""What `bimodal top` shows, from the messages of the bus."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.broker.events import Verdict
from bimodal.broker.messages import Heartbeat, State, Status, StreamClosed, StreamStatus
from bimodal.commands.top import Sort, Tables
from bimodal.tables import plain
from tests.recordings.events import event, face


def beat(name: str, state: State = "ready", *, because: str | None = None, **figures: float) -> Heartbeat:
    return Heartbeat(
        name=name, incarnation=1, state=state, pid=42, because=because, figures=figures, models={"speech": "s@1"}
    )


def tables() -> Tables:
    found = Tables()
    found.system.take(beat("face 10", cpu_percent=50.0, memory_mb=100.0, restarts=0.0, up_s=5.0), 0.0)
    found.system.take(beat("face 2", cpu_percent=50.0, memory_mb=300.0, restarts=2.0, up_s=125.0), 0.0)
    found.system.take(beat("broker", cpu_percent=1.0, memory_mb=30.0, restarts=1.0, up_s=90_000.0), 0.0)
    return found


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("cpu", ["face 2", "face 10", "broker"]),
        ("memory", ["face 2", "face 10", "broker"]),
        ("restarts", ["face 2", "broker", "face 10"]),
        ("name", ["broker", "face 2", "face 10"]),
    ],
)
def test_it_sorts_by_what_was_asked_for(sort: Sort, order: list[str]) -> None:
    found = tables()
    found.sort = sort
    assert [row[0] for row in found.processes(1.0, 200, 50).rows] == order


def test_what_is_wrong_is_shown_in_the_place_of_models() -> None:
    found = tables()
    found.system.take(beat("audio 1", "failed", because="there is no model"), 0.0)
    rows = {row[0]: row for row in found.processes(1.0, 200, 50).rows}
    assert rows["audio 1"][1] == "failed"
    assert rows["audio 1"][-1] == "there is no model"
    assert rows["broker"][-1] == "s@1"
    assert [rows[name][6] for name in ("face 10", "face 2", "broker")] == ["5 s", "2 min", "1 d"]
    assert {row[1] for row in found.processes(9.0, 200, 50).rows} >= {"silent"}


@given(st.integers(0, 300), st.integers(0, 40))
def test_it_fits_any_terminal(width: int, room: int) -> None:
    found = tables()
    table = found.processes(1.0, width, room)
    assert len(table.rows) == min(room, 3)
    assert table.hidden == 3 - len(table.rows)
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert [column.title for column in table.columns][:4] == ["process", "state", "cpu %", "memory MiB"]
    assert len({len(plain(table)[0])}) == 1


def test_streams_have_their_rate_latency_and_drops() -> None:
    found = Tables()
    assert found.empty
    counts = {"offered": {"face": 90}, "done": {"face": 80}, "dropped": {"face": 9, "speech": 1}, "failed": {"face": 1}}
    status = StreamStatus(stream="clip", policy="latest", source="camera 0", **counts)  # type: ignore[arg-type]
    found.system.take(Status(streams=(status,), waiting=0, workers={}, undecodable=0), 0.0)
    (row,) = found.streams(0.0, 200, 9).rows
    assert row == ("clip", "waiting", "0.0", "-", "10", "1", "90", "camera 0")
    for seq in range(20):
        happy = event(seq, faces=[face()], verdict=Verdict(label="happy", confidence=0.7))
        found.system.take(happy, seq / 10)
    (row,) = found.streams(2.0, 200, 9).rows
    assert row[:4] == ("clip", "happy 70%", "10.0", "4")
    found.system.take(event(21), 2.0)
    assert found.streams(2.0, 200, 9).rows[0][1] == "unknown"
    found.system.take(StreamClosed(stream="clip", run=3), 2.0)
    assert found.streams(2.0, 200, 9).rows[0][1] == "ended"
    assert not found.complete
    found.system.take(msgspec.structs.replace(beat("supervisor"), pid=1), 2.0)
    assert found.complete
