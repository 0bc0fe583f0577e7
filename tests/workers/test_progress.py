"""Ready means that results come out: the judgement on the counters of the last seconds."""

from __future__ import annotations

from bimodal.broker.messages import Status, StreamStatus
from bimodal.workers.progress import COVERED_S, STUCK_S, Progress
from bimodal.workers.system_state import SystemState
from bimodal.workers.view.health import banners, unready_reasons
from tests.workers.view.making import beat


def counted(offered: int, done: int, failed: int = 0, workers: int = 1, **reasons: int) -> Status:
    stream = StreamStatus(
        stream="desk", policy="latest", source="camera 0", offered={"face": offered, "speech": 0},
        done={"face": done}, dropped={"face": sum(reasons.values())}, failed={"face": failed},
        reasons={"face": reasons},
    )  # fmt: skip
    return Status(streams=(stream,), waiting=0, workers={"face": workers, "speech": 1}, undecodable=0)


def test_a_stream_of_which_every_frame_is_removed_is_in_trouble_and_says_why() -> None:
    progress = Progress()
    for second in range(11):
        progress.on_status(counted(30 * second, 0, removed=30 * second), float(second))
    assert progress.share("desk") == 0
    assert progress.trouble("desk", 10.0) == (
        "only 0 of the last 180 frames were analysed (180 their shared memory was removed)"
    )
    progress.on_status(counted(330, 29, removed=300), 11.0)
    assert progress.troubles(11.0) == {}, "it is over as soon as frames are done again"


def test_failures_and_silence_have_their_reasons() -> None:
    failing, silent = Progress(), Progress()
    for second in range(8):
        failing.on_status(counted(30 * second, 0, failed=30 * second), float(second))
        silent.on_status(counted(30 * second, 0), float(second))
    assert "180 failed; the log says why" in str(failing.trouble("desk", 7.0))
    assert "no worker has answered" in str(silent.trouble("desk", 7.0))


def test_nothing_is_said_of_the_first_seconds_of_overload_or_of_a_stream_without_workers() -> None:
    progress = Progress()
    for second in range(40):
        at = float(second)
        progress.on_status(counted(30 * second, 2 * second, replaced=28 * second), at)
        assert progress.trouble("desk", at) is None, "7 % of the frames is overload, which drops say"
    slow = Progress()
    for second in range(12):
        done = second if second < 6 else 6
        slow.on_status(counted(30 * second, done, replaced=29 * second), float(second))
        if second == 6:
            assert slow.trouble("desk", 6.0) is not None
            assert slow.stopped(6.0) == {}, "slow is not stopped: another start would not help"
    slow.on_status(counted(360, 6, replaced=354), 13.0)
    assert "only 0 of the last" in slow.stopped(13.0)["desk"]
    without = Progress()
    for second in range(20):
        without.on_status(counted(30 * second, 0, workers=0, late=30 * second), float(second))
    assert without.trouble("desk", 19.0) is None, "that no worker is there has a sentence of its own"
    without.on_status(counted(600, 0, late=600), 20.0)
    without.on_status(counted(630, 0, late=630), 20.0 + COVERED_S - 1)
    assert without.trouble("desk", 23.0) is None, "it is judged from the first worker on"


def test_a_slow_stream_is_judged_by_its_last_jobs() -> None:
    """A snapshot camera that is polled every two seconds offers too few frames in the window of a fast one."""
    for every in (2, 5, 60):
        progress = Progress()
        for second in range(7 * every):
            count = second // every
            progress.on_status(counted(count, 0, removed=count), float(second))
        now = float(7 * every - 1)
        assert progress.share("desk") == 0
        trouble = progress.trouble("desk", now)
        assert trouble is not None
        assert "their shared memory was removed" in trouble
        assert "desk" in progress.stopped(now)
        for second in range(7 * every, 9 * every):
            progress.on_status(counted(second // every, second // every - 6, removed=6), float(second))
        assert progress.trouble("desk", float(9 * every)) is None
        assert len(progress._lanes["desk", "face"]._known) < 20, "what is remembered is bounded"


def test_jobs_of_a_file_that_wait_for_ever_are_stuck() -> None:
    progress = Progress()
    for second in range(int(STUCK_S) + 5):
        progress.on_status(counted(100, 60), float(second))
    assert "40 frames wait, and none was done for 34 s" in str(progress.trouble("desk", 34.0))
    progress.on_status(counted(100, 61), 35.0)
    assert progress.trouble("desk", 35.0) is None


def test_readiness_and_the_page_judge_by_results() -> None:
    system = SystemState()
    for second in range(11):
        system.take(counted(30 * second, 0, removed=30 * second), float(second))
    for name in ("broker", "fusion", "face 1", "audio 1"):
        system.take(beat(name), 10.0)
    (reason,) = unready_reasons(system, 10.0)
    assert reason.startswith("desk: only 0 of the last 180 frames")
    assert [(banner.level, banner.about) for banner in banners(system, 10.0)] == [("error", "desk")]
