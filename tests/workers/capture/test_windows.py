"""Hops: a grid that never moves, whatever the sound was cut into."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bimodal.workers.capture.types import Sound
from bimodal.workers.capture.windows import NANO, TOLERANCE_NS, HopCutter, Window
from bimodal.workers.errors import SourceError

RATES = st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000])


def line(count: int) -> np.ndarray:
    """Samples that tell their own number."""
    return np.arange(1, count + 1, dtype=np.float32)


def pieces(samples: np.ndarray, cuts: list[int], rate: int, origin_ns: int = 0) -> list[Sound]:
    edges = [0, *sorted(cut % (samples.size + 1) for cut in cuts), samples.size]
    return [
        Sound(origin_ns + begin * NANO // rate, 0, samples[begin:end], rate) for begin, end in itertools.pairwise(edges)
    ]


def cut(cutter: HopCutter, sounds: list[Sound]) -> list[Window]:
    windows = [window for sound in sounds for window in cutter.feed(sound)]
    return windows + list(cutter.flush())


def plain(windows: list[Window]) -> list[tuple[object, ...]]:
    return [(w.hop_index, w.start_ns, w.end_ns, w.new_samples, w.rate, w.samples.tolist()) for w in windows]


@settings(max_examples=60, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 10**6), max_size=40),
    rate=RATES,
    count=st.integers(0, 40_000),
    hop_s=st.sampled_from([0.1, 0.25, 0.3, 0.5]),
    window_s=st.sampled_from([0.5, 0.7, 1.0]),
    origin_ns=st.integers(0, 10**10),
)
def test_any_chunking_gives_the_same_windows(
    cuts: list[int], rate: int, count: int, hop_s: float, window_s: float, origin_ns: int
) -> None:
    samples = line(count)
    whole = cut(HopCutter(window_s, hop_s), pieces(samples, [], rate, origin_ns))
    chopped = cut(HopCutter(window_s, hop_s), pieces(samples, cuts, rate, origin_ns))
    assert plain(chopped) == plain(whole)


@settings(max_examples=60, deadline=None)
@given(rate=RATES, seconds=st.floats(0.05, 4), hop_s=st.sampled_from([0.1, 0.3, 0.5]), origin_ns=st.integers(0, 10**9))
def test_hops_lie_on_the_grid_and_hold_every_sample_once(
    rate: int, seconds: float, hop_s: float, origin_ns: int
) -> None:
    samples = line(round(seconds * rate))
    windows = cut(HopCutter(1.0, hop_s), pieces(samples, [7, 1234, 9999], rate, origin_ns))
    hop_ns = round(hop_s * NANO)
    assert [window.hop_index for window in windows] == list(range(len(windows)))
    ends = [window.end_ns for window in windows]
    grid = [origin_ns + (k + 1) * hop_ns for k in range(len(windows))]
    assert ends[:-1] == grid[:-1]
    if windows:
        assert grid[-1] - hop_ns // 2 <= ends[-1] <= grid[-1]
    new = [window.samples[window.samples.size - window.new_samples :] for window in windows]
    heard = np.concatenate([*new, np.zeros(0, np.float32)])
    np.testing.assert_array_equal(heard, samples[: heard.size])
    assert (samples.size - heard.size) / rate <= hop_s / 2 + 1 / rate
    assert all(window.samples.size <= rate for window in windows)
    assert all(window.samples.size == rate for window in windows if window.end_ns - origin_ns > NANO)


def test_nothing_drifts_in_ten_hours_of_a_rate_no_hop_divides() -> None:
    rate, hop_s = 11025, 0.1  # 1102.5 samples a hop
    cutter = HopCutter(0.1, hop_s, most_gap_s=1.0)
    list(cutter.feed(Sound(0, 0, line(1000), rate)))
    last = list(cutter.feed(Sound(36_000 * NANO, 0, line(rate), rate)))
    ends = [window.end_ns for window in last if window.hop_index >= 360_000]
    assert ends == [36_000 * NANO + (k + 1) * NANO // 10 for k in range(10)]
    assert last[-1].hop_index == 360_009


def test_the_start_is_short_and_the_window_slides() -> None:
    windows = cut(HopCutter(1.0, 0.5), pieces(line(2000), [], 1000))
    assert [window.samples.size for window in windows] == [500, 1000, 1000, 1000]
    assert [(window.start_ns, window.end_ns) for window in windows] == [
        (0, NANO // 2),
        (0, NANO),
        (NANO // 2, 3 * NANO // 2),
        (NANO, 2 * NANO),
    ]
    assert windows[-1].samples[0] == 1001


@pytest.mark.parametrize(("extra", "hops"), [(0, 2), (249, 2), (250, 3), (499, 3)])
def test_the_last_hop_comes_if_half_of_it_is_there(extra: int, hops: int) -> None:
    windows = cut(HopCutter(1.0, 0.5), pieces(line(1000 + extra), [], 1000))
    assert len(windows) == hops
    assert windows[-1].end_ns == (1000 + extra if hops == 3 else 1000) * 1_000_000


@settings(max_examples=40, deadline=None)
@given(jitters=st.lists(st.integers(-TOLERANCE_NS, TOLERANCE_NS), min_size=20, max_size=20))
def test_jitter_of_time_stamps_changes_nothing(jitters: list[int]) -> None:
    sounds = pieces(line(16_000), list(range(0, 16_000, 800)), 8000)
    steady = cut(HopCutter(1.0, 0.25), sounds)
    shaken = [sounds[0]] + [
        Sound(max(0, sound.pts_ns + jitter), 0, sound.samples, sound.rate)
        for sound, jitter in zip(sounds[1:], jitters, strict=False)
    ]
    assert plain(cut(HopCutter(1.0, 0.25), shaken)) == plain(steady)


def test_a_gap_is_silence_and_what_follows_is_in_its_place() -> None:
    first, second = line(1000), line(1000)
    windows = cut(HopCutter(1.0, 0.5), [Sound(0, 0, first, 1000), Sound(3 * NANO, 0, second, 1000)])
    assert [window.hop_index for window in windows] == list(range(8))
    assert not windows[4].samples[-500:].any()
    assert windows[-1].samples.tolist() == second.tolist()


def test_an_overlap_is_cut_off_the_later_sound() -> None:
    samples = line(2000)
    sounds = [
        Sound(0, 0, samples[:1200], 1000),
        Sound(NANO, 0, samples[1000:], 1000),
        Sound(NANO, 0, samples[1000:1100], 1000),
    ]
    windows = cut(HopCutter(1.0, 0.5), sounds)
    assert len(windows) == 4
    assert windows[-1].samples.tolist() == samples[1000:].tolist()


def test_a_long_absence_leaves_hops_out_but_not_the_grid() -> None:
    sounds = [Sound(0, 0, line(1100), 1000), Sound(100 * NANO + 200_000_000, 0, line(1000), 1000)]
    windows = cut(HopCutter(1.0, 0.5, most_gap_s=4.0), sounds)
    assert [window.hop_index for window in windows] == [0, 1, 2, 200, 201]
    assert [window.end_ns for window in windows[2:]] == [1_500_000_000, 100_500_000_000, 101_000_000_000]
    assert windows[2].samples[-400:].tolist() == [0.0] * 400
    assert windows[3].samples.tolist() == line(300).tolist()
    assert windows[3].new_samples == 300


def test_grab_is_that_of_the_sound_that_completed_the_hop() -> None:
    sounds = [Sound(0, 11, line(400), 1000), Sound(400_000_000, 22, line(200), 1000)]
    assert [window.grab_ns for window in cut(HopCutter(1.0, 0.5), sounds)] == [22]


def test_another_rate_midway_is_refused() -> None:
    cutter = HopCutter(1.0, 0.5)
    list(cutter.feed(Sound(0, 0, line(10), 1000)))
    with pytest.raises(SourceError, match="changed its rate"):
        list(cutter.feed(Sound(10_000_000, 0, line(10), 2000)))


@pytest.mark.parametrize(("window_s", "hop_s"), [(1.0, 0.0), (0.5, 1.0), (1.0, -1.0)])
def test_windows_shorter_than_hops_are_refused(window_s: float, hop_s: float) -> None:
    with pytest.raises(ValueError, match="hop_s"):
        HopCutter(window_s, hop_s)


def test_no_sound_gives_no_window() -> None:
    assert list(HopCutter(1.0, 0.5).flush()) == []
