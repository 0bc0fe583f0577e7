"""Time lines, clocks, waiting times and addresses: the pure parts of reading sources."""

from __future__ import annotations

import itertools
import os
import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.workers.backoff import BackOff
from bimodal.workers.capture.clocks import ClockMap
from bimodal.workers.capture.device_io import quiet_stderr
from bimodal.workers.capture.files import LEAP_NS, STEP_NS, Timeline
from bimodal.workers.logs import redact

MS = 1_000_000


@given(st.lists(st.one_of(st.none(), st.integers(-(10**13), 10**13)), max_size=60), st.integers(0, 10**9))
def test_a_time_line_only_goes_forward(stamps: list[int | None], duration_ns: int) -> None:
    line = Timeline()
    placed = [line.place(stamp, duration_ns) for stamp in stamps]
    assert all(later >= before + STEP_NS for before, later in itertools.pairwise(placed))
    assert all(place >= 0 for place in placed)


@given(st.lists(st.integers(STEP_NS, 10**12), max_size=60))
def test_good_time_stamps_stay_as_they_are(steps: list[int]) -> None:
    stamps = [sum(steps[:n]) for n in range(1, len(steps) + 1)]
    line = Timeline()
    assert [line.place(stamp, 40 * MS) for stamp in stamps] == stamps


def test_missing_double_and_restarted_time_stamps() -> None:
    line = Timeline()
    given_ms = [None, 40, 40, None, 120, 10_000, 0, 40, 20]
    placed = [line.place(None if ms is None else ms * MS, 40 * MS) // MS for ms in given_ms]
    assert placed == [0, 40, 41, 81, 120, 10_000, 10_040, 10_080, 10_081]
    assert LEAP_NS < 10_000 * MS


def test_a_clock_map_is_not_misled_by_late_readings() -> None:
    chance, clock = random.Random(0), ClockMap(leap_ns=40 * MS)
    offset = 5_000 * MS
    errors = []
    for block in range(2000):
        source_ns = block * 20 * MS
        late_ns = 0 if chance.random() < 0.2 else int(chance.expovariate(1 / (8 * MS)))
        errors.append(clock.map(source_ns, source_ns + offset + late_ns) - source_ns - offset)
    assert clock.leaps == 0
    assert max(abs(error) for error in errors[200:]) < MS


def test_a_clock_map_follows_a_crystal_that_is_off() -> None:
    clock = ClockMap(leap_ns=40 * MS)
    error = 0
    for block in range(200_000):
        source_ns = block * 20 * MS
        true_ns = source_ns + source_ns // 5_000  # 200 parts in a million: 0.8 s in this time
        error = clock.map(source_ns, true_ns) - true_ns
    assert abs(error) < MS
    assert clock.leaps == 0


def test_a_clock_map_leaps_over_lost_time() -> None:
    clock = ClockMap(leap_ns=40 * MS)
    mapped = [clock.map(n * 20 * MS, n * 20 * MS + (300 * MS if n >= 50 else 0)) for n in range(100)]
    assert clock.leaps == 1
    assert mapped[49] == 49 * 20 * MS
    assert mapped[60] == 60 * 20 * MS + 300 * MS


def test_one_late_reading_is_no_leap() -> None:
    clock = ClockMap(leap_ns=40 * MS)
    for n in range(100):
        assert clock.map(n * 20 * MS, n * 20 * MS + (900 * MS if n == 50 else 0)) == n * 20 * MS
    assert clock.leaps == 0


def test_back_off_doubles_up_to_its_limit_and_begins_anew() -> None:
    waits = BackOff()
    assert [waits.next() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    waits.reset()
    assert waits.next() == 0.5


@pytest.mark.parametrize("schedule", [(0, 30, 2), (2, 1, 2), (1, 2, 0.5)])
def test_a_back_off_that_would_not_wait_is_refused(schedule: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="back-off"):
        BackOff(*schedule)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://admin:s3cret@10.0.0.7:554/live", "rtsp://***@10.0.0.7:554/live"),
        ("rtsp://admin:s3c/ret?x@10.0.0.7/live", "rtsp://***@10.0.0.7"),
        ("rtsp://admin:p@ss@host/live", "rtsp://***@host/live"),
        ("http://token@host/a", "http://***@host/a"),
        ("http://host:8080/video?user=a&password=s3cret&w=3", "http://host:8080/video?user=a&password=***&w=3"),
        ("http://host/video?access_token=s3cret", "http://host/video?access_token=***"),
        ("http://host/team@home.mjpg", "http://host/team@home.mjpg"),
        ("can't open rtsp://a:s3cret@h/x: timed out", "can't open rtsp://***@h/x: timed out"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/"),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str) -> None:
    assert redact(url) == shown


def test_stderr_comes_back_when_the_last_thread_is_done(capfd: pytest.CaptureFixture[str]) -> None:
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with quiet_stderr():
            inside.set()
            leave.wait(30)

    holder = threading.Thread(target=hold)
    with quiet_stderr():
        holder.start()
        assert inside.wait(30)
        os.write(2, b"hidden")
    os.write(2, b"hidden too")
    leave.set()
    holder.join(30)
    os.write(2, b"shown")
    assert capfd.readouterr().err == "shown"
