"""The voice goes to the mouth that moves with it."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bimodal.workers.fusion.speech import LEAST_SAMPLES, SLOW_NS, SeenMouth, Span, SpeakerFinder, _Mouth
from tests.workers.fusion.making import FRAME_NS, HOP_NS, MS

TALKING, STILL = 0.12, 0.005


def opening(pts_ns: int, movement: float) -> float:
    """A mouth that opens and closes four times a second."""
    return 0.2 + movement * math.sin(2 * math.pi * 4 * pts_ns / 1e9)


class Talk:
    """A finder shown frame after frame at 25 fps; hops come 120 ms late, as they do in fusion."""

    def __init__(self) -> None:
        self.finder = SpeakerFinder(2.0)
        self.frame, self.hops = 0, 0

    def go(self, seconds: float, voice: float, **faces: tuple[float, float]) -> list[int | None]:
        """`faces`: t1=(movement, area), …; the speaker of each frame."""
        speakers = []
        for _ in range(round(seconds * 25)):
            pts_ns = self.frame * FRAME_NS
            spans = []
            while (self.hops + 1) * HOP_NS <= pts_ns - 120 * MS:
                spans.append(Span(self.hops * HOP_NS, (self.hops + 1) * HOP_NS, voice))
                self.hops += 1
            self.finder.on_speech(pts_ns, spans)
            seen = [SeenMouth(int(name[1:]), opening(pts_ns, moves), area) for name, (moves, area) in faces.items()]
            speakers.append(self.finder.on_frame(pts_ns, seen))
            self.frame += 1
        return speakers


def test_without_voice_it_is_the_largest_face() -> None:
    assert set(Talk().go(2, 0.0, t1=(TALKING, 100), t2=(STILL, 400))) == {2}


def test_a_moving_mouth_takes_the_voice_from_a_larger_face() -> None:
    assert Talk().go(2, 1.0, t1=(TALKING, 100), t2=(STILL, 400))[-1] == 1


def test_a_mouth_that_moves_in_silence_does_not_speak() -> None:
    talk = Talk()
    talk.go(2, 0.0, t1=(TALKING, 100), t2=(STILL, 400))
    assert talk.go(2, 1.0, t1=(STILL, 100), t2=(TALKING, 400))[-1] == 2


def test_a_slow_smile_is_not_speech() -> None:
    finder = SpeakerFinder(2.0)
    for index in range(60):
        pts_ns = index * FRAME_NS
        smile = 0.4 * math.sin(math.pi * index / 60)
        finder.on_speech(pts_ns, [Span(pts_ns - FRAME_NS, pts_ns, 1.0)])
        speaker = finder.on_frame(pts_ns, [SeenMouth(1, smile, 400), SeenMouth(2, opening(pts_ns, TALKING / 2), 100)])
    assert speaker == 2


def test_two_mouths_that_move_alike_give_no_speaker() -> None:
    assert set(Talk().go(3, 1.0, t1=(TALKING, 100), t2=(0.9 * TALKING, 400))) == {2}


def test_the_speaker_stays_through_a_pause_and_changes_with_the_voice() -> None:
    talk = Talk()
    talk.go(2, 1.0, t1=(TALKING, 100), t2=(STILL, 400))
    assert set(talk.go(3, 0.0, t1=(STILL, 100), t2=(STILL, 400))) == {1}
    speakers = talk.go(4, 1.0, t1=(STILL, 100), t2=(TALKING, 400))
    assert speakers[-1] == 2
    changes = sum(before != after for before, after in pairwise(speakers))
    assert changes == 1


def test_a_speaker_out_of_sight_comes_back_as_the_speaker() -> None:
    talk = Talk()
    talk.go(2, 1.0, t1=(TALKING, 100), t2=(STILL, 400))
    assert talk.go(0.2, 1.0, t2=(STILL, 400)) == [2] * 5
    assert talk.go(0.2, 1.0, t1=(TALKING, 100), t2=(STILL, 400)) == [1] * 5


def test_a_speaker_that_is_forgotten_is_forgotten() -> None:
    talk = Talk()
    talk.go(2, 1.0, t1=(TALKING, 100), t2=(STILL, 400))
    talk.finder.forget({2})
    assert talk.go(0.2, 0.0, t2=(STILL, 400), t3=(STILL, 500)) == [2] * 5


def test_the_largest_face_is_not_another_with_every_tremble() -> None:
    talk = Talk()
    assert talk.go(0.04, 0.0, t1=(STILL, 105), t2=(STILL, 100)) == [1]
    assert talk.go(0.04, 0.0, t1=(STILL, 100), t2=(STILL, 105)) == [1]
    assert talk.go(0.04, 0.0, t1=(STILL, 100), t2=(STILL, 140)) == [2]


faces = st.lists(
    st.builds(SeenMouth, st.integers(1, 4), st.one_of(st.just(math.nan), st.floats(-1, 10)), st.floats(1, 1e6)),
    max_size=4,
    unique_by=lambda face: face.track,
)


@given(st.lists(st.tuples(faces, st.floats(0, 1)), max_size=30))
def test_the_speaker_is_always_someone_in_view(frames: list[tuple[list[SeenMouth], float]]) -> None:
    finder = SpeakerFinder(2.0)
    for index, (seen, voice) in enumerate(frames):
        pts_ns = index * FRAME_NS
        finder.on_speech(pts_ns, [Span(pts_ns - FRAME_NS, pts_ns, voice)])
        speaker = finder.on_frame(pts_ns, seen)
        assert (speaker is None) == (not seen)
        assert speaker is None or speaker in {face.track for face in seen}


def plain_movement(seen: list[tuple[int, float]], spans: list[Span]) -> float:
    """The movement of a mouth, which _Mouth keeps from frame to frame, made anew from all samples."""
    times, values = (np.array(column) for column in zip(*seen, strict=True))
    voiced = np.zeros(len(times), dtype=bool)
    for span in spans:
        voiced |= (span.start_ns <= times) & (times <= span.end_ns)
    if voiced.sum() < LEAST_SAMPLES:
        return 0.0
    sums = np.concatenate(([0.0], np.cumsum(values)))
    first = np.searchsorted(times, times - SLOW_NS, side="left")
    beyond = np.searchsorted(times, times + SLOW_NS, side="right")
    fast = (values - (sums[beyond] - sums[first]) / (beyond - first))[voiced]
    return math.sqrt(np.dot(fast, fast) / fast.size)


@given(
    steps=st.lists(st.tuples(st.integers(0, 90), st.floats(0, 1)), min_size=1, max_size=300),
    spans=st.lists(st.tuples(st.integers(0, 9_000), st.integers(0, 900)), max_size=5),
    window_ms=st.integers(200, 9_000),
)
def test_the_movement_of_a_mouth_is_that_of_its_samples(
    steps: list[tuple[int, float]], spans: list[tuple[int, int]], window_ms: int
) -> None:
    mouth, seen, now = _Mouth(), [], 0
    voiced = [Span(start * MS, (start + length) * MS, 1.0) for start, length in spans]
    for number, (step, value) in enumerate(steps):
        now += step * MS
        mouth.add(now, value)
        mouth.forget(now - window_ms * MS)
        seen = [one for one in [*seen, (now, value)] if one[0] >= now - window_ms * MS]
        if number % 7 == 0 or number == len(steps) - 1:
            assert mouth.movement(voiced) == plain_movement(seen, voiced)
