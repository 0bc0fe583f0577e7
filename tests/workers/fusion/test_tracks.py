"""Faces keep their track."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.workers.fusion.tracks import FaceTracker, Observation
from tests.workers.fusion.making import MS

SECOND = 1000 * MS
SIDE = 80.0


def at(x: float, y: float = 100.0, side: float = SIDE, embedding: np.ndarray | None = None) -> Observation:
    return Observation((x - side / 2, y - side / 2, side, side), embedding)


boxes = st.builds(
    at, st.floats(0, 640), st.floats(0, 480), st.floats(5, 300), st.one_of(st.none(), st.just(np.ones(4, np.float32)))
)
films = st.lists(st.tuples(st.integers(-100, 1500), st.lists(boxes, max_size=5)), max_size=15)


@given(films, st.floats(0, 3))
def test_two_faces_never_share_a_track_and_numbers_count_from_one(
    film: list[tuple[int, list[Observation]]], memory_s: float
) -> None:
    tracker, pts_ns, seen = FaceTracker(memory_s), 0, []
    for gap_ms, faces in film:
        pts_ns += gap_ms * MS
        numbers = tracker.update(pts_ns, faces)
        assert len(numbers) == len(faces) == len(set(numbers))
        assert set(numbers) <= tracker.alive
        seen += numbers
    assert set(seen) == set(range(1, max(seen, default=0) + 1))


@given(
    st.lists(st.tuples(st.floats(60, 1800), st.floats(60, 1000)), min_size=1, max_size=5),
    st.sampled_from([5, 10, 25, 50]),
    st.integers(0, 2**16),
)
def test_faces_that_move_apart_from_each_other_keep_their_tracks(
    places: list[tuple[float, float]], fps: int, seed: int
) -> None:
    """Up to a face width and a half a second, boxes trembling by 3 %, found in any order."""
    rng = random.Random(seed)
    places = [
        place for i, place in enumerate(places) if all(np.hypot(*np.subtract(place, p)) > 400 for p in places[:i])
    ]
    speeds = [(rng.uniform(-60, 60), rng.uniform(-60, 60)) for _ in places]
    tracker, whose = FaceTracker(1.0), {}
    for index in range(2 * fps):
        order = rng.sample(range(len(places)), len(places))
        t = index / fps
        faces = [
            at(*(p + v * t + rng.gauss(0, 0.03 * SIDE) for p, v in zip(places[i], speeds[i], strict=True)))
            for i in order
        ]
        for i, number in zip(order, tracker.update(int(t * SECOND), faces), strict=True):
            assert whose.setdefault(i, number) == number


def crossing(fps: int, speed: float, hidden_below: float, tremble: float = 0.0, seed: int = 0) -> list[tuple[int, int]]:
    """Two faces pass each other; the second is not found while closer than `hidden_below` widths. First and last
    tracks of each."""
    rng = random.Random(seed)
    tracker, first, last = FaceTracker(1.0), {}, {}
    for index in range(4 * fps + 1):
        t = index / fps - 2
        centres = {0: speed * t * SIDE, 1: -speed * t * SIDE}
        if abs(centres[0] - centres[1]) < hidden_below * SIDE:
            del centres[1]
        faces = [
            at(500 + x + rng.gauss(0, tremble * SIDE), 200 + rng.gauss(0, tremble * SIDE)) for x in centres.values()
        ]
        for i, number in zip(centres, tracker.update(round((t + 2) * SECOND), faces), strict=True):
            first.setdefault(i, number)
            last[i] = number
    return [(first[i], last[i]) for i in (0, 1)]


@pytest.mark.parametrize("fps", [10, 15, 25, 30, 60])
@pytest.mark.parametrize("speed", [0.75, 1.0, 1.5])
@pytest.mark.parametrize("hidden_below", [0.0, 0.3, 0.6])
def test_crossing_faces_are_not_swapped(fps: int, speed: float, hidden_below: float) -> None:
    for before, after in crossing(fps, speed, hidden_below):
        assert before == after


@pytest.mark.parametrize("seed", range(10))
def test_crossing_faces_whose_boxes_tremble_are_not_swapped(seed: int) -> None:
    for before, after in crossing(25, 1.0, 0.3, tremble=0.01, seed=seed):
        assert before == after


def test_a_track_survives_a_second_out_of_sight() -> None:
    tracker = FaceTracker(1.0)
    assert tracker.update(0, [at(100)]) == [1]
    assert tracker.update(SECOND // 2, []) == []
    assert tracker.update(SECOND, [at(104)]) == [1]


def test_a_track_does_not_outlive_its_memory() -> None:
    tracker = FaceTracker(1.0)
    tracker.update(0, [at(100)])
    assert tracker.alive == {1}
    assert tracker.update(SECOND + MS, [at(100)]) == [2]


def test_a_jump_back_in_time_does_not_keep_tracks_for_ever() -> None:
    tracker = FaceTracker(1.0)
    tracker.update(3600 * SECOND, [at(100)])
    assert tracker.update(0, [at(100)]) == [2]
    assert tracker.alive == {2}


def test_a_far_jump_is_another_face() -> None:
    tracker = FaceTracker(1.0)
    tracker.update(0, [at(100)])
    assert tracker.update(40 * MS, [at(100 + 3 * SIDE)]) == [2]


def test_how_far_a_face_may_have_moved_depends_on_how_long_it_was_not_seen() -> None:
    for gap_ns, track in ((40 * MS, 2), (800 * MS, 1)):
        tracker = FaceTracker(1.0)
        tracker.update(0, [at(100)])
        assert tracker.update(gap_ns, [at(100 + 1.4 * SIDE)]) == [track]


def test_a_face_in_view_goes_before_one_that_is_out_of_sight() -> None:
    tracker = FaceTracker(1.0)
    assert tracker.update(0, [at(100), at(160)]) == [1, 2]
    assert tracker.update(40 * MS, [at(100), at(160)]) == [1, 2]
    for step in range(2, 21):
        assert tracker.update(step * 40 * MS, [at(100)]) == [1]
    assert tracker.update(21 * 40 * MS, [at(132)]) == [1]


def test_a_face_of_quite_another_size_is_another_face() -> None:
    tracker = FaceTracker(1.0)
    tracker.update(0, [at(100)])
    assert tracker.update(40 * MS, [at(100, side=4 * SIDE)]) == [2]


def test_a_newcomer_does_not_take_the_track_of_who_is_there() -> None:
    tracker = FaceTracker(1.0)
    assert tracker.update(0, [at(100)]) == [1]
    assert tracker.update(40 * MS, [at(100 + 0.8 * SIDE), at(101)]) == [2, 1]


def test_embeddings_decide_where_places_do_not() -> None:
    one, other = np.array([1, 0, 0], np.float32), np.array([0, 1, 0], np.float32)
    tracker = FaceTracker(1.0)
    assert tracker.update(0, [at(100, embedding=one), at(140, embedding=other)]) == [1, 2]
    assert tracker.update(800 * MS, [at(118, embedding=other), at(122, embedding=one)]) == [2, 1]


def test_embeddings_that_can_not_be_compared_do_no_harm() -> None:
    tracker = FaceTracker(1.0)
    tracker.update(0, [at(100, embedding=np.zeros(3, np.float32))])
    assert tracker.update(40 * MS, [at(100, embedding=np.ones(3, np.float32))]) == [1]
    assert tracker.update(80 * MS, [at(100, embedding=np.ones(5, np.float32))]) == [1]
    assert tracker.update(120 * MS, [at(100)]) == [1]


def test_a_cut_ends_every_track() -> None:
    tracker = FaceTracker(1.5)
    assert tracker.update(0, [at(100), at(400)], shot=0) == [1, 2]
    assert tracker.update(40 * MS, [at(100), at(400)], shot=0) == [1, 2]
    assert tracker.update(80 * MS, [at(100)], shot=1) == [3]
    assert tracker.alive == {3}
    assert tracker.update(120 * MS, [at(100), at(400)], shot=2) == [4, 5]


def test_a_picture_each_few_seconds_makes_one_track_of_one_person() -> None:
    tracker = FaceTracker(1.5, 3)
    found = [tracker.update(n * 5 * SECOND, [at(300 + 20 * (n % 3))]) for n in range(20)]
    assert found[0] == [1]
    assert {number for numbers in found[1:] for number in numbers} == {1}


def test_frames_count_at_the_stream_s_own_pace_only() -> None:
    """A camera that was away for ten minutes: the next face may be anybody's."""
    tracker = FaceTracker(1.5, 3)
    for n in range(20):
        tracker.update(n * 40 * MS, [at(300)])
    assert tracker.update(600 * SECOND, [at(300)]) == [2]


def someone(seed: int, noise: float = 0.0) -> np.ndarray:
    base = np.random.default_rng(seed).normal(size=128)
    return (base + noise * np.random.default_rng(seed + 100).normal(size=128)).astype(np.float32)


def known(x: float, person: int, noise: float = 0.3) -> Observation:
    return at(x)._replace(identity=someone(person, noise))


def test_a_person_who_comes_back_after_a_cut_has_their_number_again_where_that_is_sure() -> None:
    tracker = FaceTracker(1.5)
    assert tracker.update(0, [known(100, 1), known(400, 2)], shot=0) == [1, 2]
    assert tracker.update(40 * MS, [known(250, 3)], shot=1) == [3]
    assert tracker.update(80 * MS, [known(400, 1), known(100, 2)], shot=2) == [1, 2]
    assert tracker.update(120 * MS, [known(250, 4)], shot=3) == [4]
    assert tracker.update(160 * MS, [known(100, 3), at(400)], shot=4) == [3, 5]


def test_after_a_long_time_too() -> None:
    tracker = FaceTracker(1.5)
    assert tracker.update(0, [known(100, 1)]) == [1]
    assert tracker.update(60 * SECOND, [known(500, 2)]) == [2]
    assert tracker.update(120 * SECOND, [known(300, 1)]) == [1]


def test_twins_stay_apart() -> None:
    tracker = FaceTracker(1.5)
    tracker.update(0, [known(100, 1, 0.05), at(400)._replace(identity=someone(1, 0.1))], shot=0)
    assert tracker.update(40 * MS, [known(250, 1)], shot=1) == [3]
