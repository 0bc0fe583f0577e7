"""When films stop for want of space, and how pieces of sound become one line."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bimodal.workers.film.actor import CHECK_EVERY_S, FreeSpace
from bimodal.workers.film.writer import NANO, TOLERANCE_NS, Placed, SoundLine

FOLDER = Path("films")


def test_films_stop_where_the_disk_is_nearly_full_and_go_on_when_there_is_room() -> None:
    free = iter([5000, 999, 1050, 1101, 2000])
    now = iter(range(0, 1000, 3))
    space = FreeSpace(FOLDER, 1000, free=lambda _: next(free) * 1_000_000, clock=lambda: float(next(now)))
    assert space.check() is None
    short = space.check()
    assert short == (
        "the disk of films is nearly full (999 MB free, outputs.record.min_free_mb is 1000), so no video is recorded "
        "until there is room"
    )
    assert space.check() is not None, "1050 MB is not enough more than the limit"
    assert space.check() is None


def test_the_disk_is_not_asked_every_time() -> None:
    asked = []
    times = iter([0.0, 0.1, CHECK_EVERY_S - 0.01, CHECK_EVERY_S])
    space = FreeSpace(FOLDER, 10, free=lambda folder: asked.append(folder) or 10**12, clock=lambda: next(times))  # type: ignore[func-returns-value]
    for _ in range(4):
        space.check()
    assert asked == [FOLDER, FOLDER]


def test_a_folder_that_has_gone_is_said() -> None:
    def gone(_: Path) -> int:
        raise FileNotFoundError(2, "No such file or directory")

    assert "can't be looked at" in (FreeSpace(FOLDER, 10, free=gone).check() or "")


def test_sound_goes_on_through_jitter_is_padded_in_gaps_and_cut_where_it_overlaps() -> None:
    line = SoundLine(NANO, 1000)
    assert line.place(NANO // 2, 1000) == Placed(0, 500), "what came before the beginning is left out"
    assert line.place(1_500_000_000 + TOLERANCE_NS - 1, 500) == Placed(0, 0)
    assert line.place(3 * NANO, 100) == Placed(1000, 0)
    assert line.place(2 * NANO, 2000) == Placed(0, 1100)
    assert line.end_ns == 4 * NANO


@given(
    st.lists(st.tuples(st.integers(-(10**9), 5 * 10**9), st.integers(1, 48000)), max_size=20),
    st.sampled_from([8000, 16000, 44100, 48000]),
)
def test_no_piece_is_further_off_than_the_tolerance(pieces: list[tuple[int, int]], rate: int) -> None:
    line, moment = SoundLine(0, rate), 0
    for step_ns, count in pieces:
        moment += step_ns
        before_ns = line.end_ns
        placed = line.place(moment, count)
        assert placed.silence >= 0
        assert 0 <= placed.skipped <= count
        if placed.skipped < count:
            begins_ns = before_ns + placed.silence * NANO // rate
            belongs_ns = moment + placed.skipped * NANO // rate
            assert abs(begins_ns - belongs_ns) <= TOLERANCE_NS + 2 * NANO // rate
        assert line.end_ns >= before_ns
