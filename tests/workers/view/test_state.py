"""The page's sentences on streams and processes, as a function of the messages on the bus."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from bimodal.broker.events import leading
from bimodal.broker.messages import Status, StreamClosed, StreamStatus
from bimodal.models.emotions import EMOTIONS
from bimodal.workers.system_state import ENDED_STAYS_S, FORGOTTEN_AFTER_S, GONE_AFTER_S, SystemState
from bimodal.workers.view.health import banners
from bimodal.workers.view.state import SPAN_S, History, listed, point, snapshot
from tests.broker.making import opened
from tests.workers.view.making import HAPPY, beat, event, face


def stream(system: SystemState, now: float) -> Any:
    (only,) = snapshot(system, now)["streams"]  # type: ignore[misc, attr-defined]
    return only


def words(system: SystemState, now: float) -> dict[str, str]:
    return {process["name"]: process["word"] for process in snapshot(system, now)["processes"]}  # type: ignore[attr-defined]


def sentences(system: SystemState, now: float) -> list[tuple[str, str]]:
    return [(banner.level, banner.about) for banner in banners(system, now)]


def counted(name: str, offered: int, done: int, dropped: int) -> Status:
    zero = {"face": 0, "speech": 0}
    counters = StreamStatus(
        stream=name, policy="latest", source="camera 0", offered=zero | {"face": offered}, done=zero | {"face": done},
        dropped=zero | {"face": dropped}, failed=zero,
    )  # fmt: skip
    return Status(streams=(counters,), waiting=3, workers={}, undecodable=0)


def test_a_stream_has_rate_latency_and_glance() -> None:
    system = SystemState()
    system.take(opened("desk", "latest"), 100.0)
    assert stream(system, 100.0)["glance"] is None
    for seq in range(50):
        system.take(event("desk", seq, face()), 100.0 + seq * 0.04)
    seen = stream(system, 102.0)
    assert (seen["fps"], seen["ended"], seen["source"]) == (25.0, False, "desk.mp4")
    assert seen["latency_ms"] == {"queue": 1, "inference": 10, "total": 20}
    assert seen["glance"]["label"] == "happy"
    assert stream(system, 110.0)["fps"] == 0


def test_drops_are_counted_by_the_second() -> None:
    system = SystemState()
    system.take(counted("desk", 100, 90, 10), 1.0)
    system.take(counted("desk", 150, 120, 24), 3.0)
    seen = stream(system, 3.0)
    assert (seen["dropping"], seen["counters"]["face"]["dropped"]) == (7.0, 24)


def test_what_waits_at_whom() -> None:
    system = SystemState()
    system.take(counted("desk", 100, 90, 4), 1.0)
    for name in ("broker", "capture desk", "face 1"):
        system.take(beat(name), 1.0)
    system.take(beat("fusion", figures={"held": 2.0, "cpu_percent": 3.0, "restarts": 1.0}), 1.0)
    rows = {process["name"]: process for process in snapshot(system, 1.0)["processes"]}  # type: ignore[attr-defined]
    assert {name: row["queue"] for name, row in rows.items()} == {
        "broker": 3, "capture desk": 6, "face 1": None, "fusion": 2.0,
    }  # fmt: skip
    assert (rows["fusion"]["cpu_percent"], rows["fusion"]["restarts"]) == (3.0, 1)


def test_a_process_that_died_is_restarting_until_it_is_back() -> None:
    system = SystemState()
    system.take(beat("broker"), 1.0)
    system.take(beat("face 1"), 1.0)
    assert sentences(system, 1.0) == []
    system.take(beat("face 1", "stopped", "it was ended by SIGKILL"), 2.0)
    assert words(system, 2.0)["face 1"] == "restarting"
    assert sentences(system, 2.0) == [("warning", "face 1")]
    system.take(beat("face 1", "starting"), 2.5)
    system.take(beat("face 1"), 3.0)
    assert words(system, 3.0)["face 1"] == "ready"
    assert sentences(system, 3.0) == []


def test_failed_comes_first_and_the_supervisor_repeats_nobody() -> None:
    system = SystemState()
    system.take(beat("capture desk", because="camera 0 does not answer"), 1.0)
    system.take(beat("fusion", "failed", "its model is gone"), 1.0)
    system.take(beat("supervisor", because="fusion failed: its model is gone"), 1.0)
    assert sentences(system, 1.0) == [("error", "fusion"), ("warning", "capture desk")]
    system.take(beat("supervisor", because="config.yaml is not valid YAML"), 1.0)
    assert ("warning", "supervisor") in sentences(system, 1.0)


def test_a_worker_elsewhere_with_another_model_is_told_and_one_beside_a_swap_is_not() -> None:
    system = SystemState()
    system.take(beat("face 1", models={"face-static": "compact@1", "face-detector": "blaze@1"}), 1.0)
    system.take(beat("gpu: face 7", models={"face-static": "compact@1", "face-detector": "blaze@1"}), 1.0)
    system.take(beat("gpu: audio 8", models={"speech": "voice@1"}), 1.0)
    assert sentences(system, 1.0) == []
    system.take(beat("face 2", models={"face-static": "larger@1", "face-detector": "blaze@1"}), 1.5)
    assert sentences(system, 1.5) == [], "a swap is on its way"
    system.take(beat("face 1", "stopped"), 2.0)
    (banner,) = banners(system, 2.0)
    assert (banner.level, banner.about) == ("warning", "gpu: face 7")
    assert banner.text == "works with compact@1, and this machine with larger@1: give both the same config"


def test_a_worker_elsewhere_that_is_silent_is_told_once_and_then_forgotten() -> None:
    system = SystemState()
    system.take(beat("gpu: face 7", models={"face-static": "compact@1"}), 1.0)
    system.take(beat("face 1", models={"face-static": "larger@1"}), 10.0)
    assert sentences(system, 10.0) == [("warning", "gpu: face 7")]
    assert "said nothing" in banners(system, 10.0)[0].text
    system.take(counted("desk", 0, 0, 0), 1.0 + FORGOTTEN_AFTER_S + 1)
    assert list(system.processes) == ["face 1"], "also where nobody looks"


def test_silence_is_trouble_of_the_process_or_of_the_whole_bus() -> None:
    system = SystemState()
    system.take(beat("face 1"), 1.0)
    system.take(beat("broker"), 6.0)
    assert words(system, 6.0) == {"face 1": "silent", "broker": "ready"}
    assert sentences(system, 6.0) == [("warning", "face 1")]
    assert sentences(system, 20.0) == [("error", "event bus")]


def test_a_stream_without_frames_is_told_once() -> None:
    system = SystemState()
    system.take(event("desk", 0), 1.0)
    system.take(beat("broker"), 6.0)
    assert sentences(system, 6.0) == [("warning", "desk")]
    system.take(beat("capture desk", because="the camera was unplugged"), 6.0)
    assert sentences(system, 6.0) == [("warning", "capture desk")]
    system.take(beat("capture desk"), 6.0)
    system.take(StreamClosed(stream="desk", run=1), 6.0)
    assert sentences(system, 6.0) == []


def test_what_ended_long_ago_makes_room() -> None:
    system = SystemState()
    system.take(event("desk", 0), 1.0)
    system.take(StreamClosed(stream="desk", run=1), 2.0)
    system.take(beat("capture desk", "stopped"), 2.0)
    assert stream(system, 3.0)["ended"]
    assert words(system, 3.0) == {"capture desk": "ended"}
    later = 3.0 + max(ENDED_STAYS_S, GONE_AFTER_S)
    assert snapshot(system, later)["streams"] == []
    assert snapshot(system, later)["processes"] == []


def test_the_face_that_speaks_leads_else_the_largest() -> None:
    assert leading(event("a", 0)) is None
    large, small = face(1, 90), face(2, 30)
    assert leading(event("a", 0, small, large)) == large
    speaker = face(2, 30, speech=0.3)
    assert leading(event("a", 0, speaker, large)) == speaker


def test_an_emotion_that_is_not_known_is_null() -> None:
    assert listed(HAPPY, EMOTIONS) == [0.1, 0.8, 0.1, None, None, None, None]
    assert listed(None, EMOTIONS) is None
    assert listed(HAPPY, ("sad", "bored")) == [0.1, None], "in the order of the set"
    assert listed(HAPPY, ("sad",), {"contempt": 0.34}, ("calm", "contempt")) == [0.1, None, 0.34]


@given(st.lists(st.floats(0.0, 0.4), max_size=2000))
def test_a_history_is_coarse_and_two_minutes_long(pauses: list[float]) -> None:
    history = History()
    now = 1000.0
    for seq, pause in enumerate(pauses):
        now += pause
        history.add(event("a", seq), now)
    times = [point["at"] for point in history.points]
    assert len(times) <= SPAN_S / 0.1 + 2
    assert all(later - earlier >= 0.09 for earlier, later in pairwise(times))  # type: ignore[operator]
    assert not times or times[-1] - times[0] <= SPAN_S + 0.01  # type: ignore[operator]


def test_the_page_is_told_whether_it_is_recorded() -> None:
    system = SystemState()
    assert snapshot(system, 1.0)["recording"] is None, "without a folder there is no button"
    assert snapshot(system, 1.0, records=True)["recording"] == "off"
    for state, word in (("starting", "starting"), ("ready", "ready"), ("draining", "draining"), ("stopped", "off")):
        system.take(beat("record", state), 2.0)  # type: ignore[arg-type]
        assert snapshot(system, 2.0, records=True)["recording"] == word
    system.take(beat("record", "failed", "the disk is full"), 3.0)
    assert snapshot(system, 3.0, records=True)["recording"] == "failed"


def test_a_point_has_the_affect_of_the_verdict() -> None:
    one = event("desk", 1, face())
    assert point(one, 1.0)["affect"] is None
    verdict = msgspec.structs.replace(one.emotion, valence=0.41234, arousal=-0.2, affect="derived")
    assert point(msgspec.structs.replace(one, emotion=verdict), 1.0)["affect"] == [0.412, -0.2]
