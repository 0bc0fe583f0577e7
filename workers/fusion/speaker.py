"""Whose voice it is: several faces, one voice."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bimodal.workers.fusion.join import Span

VOICED = 0.5
"""A hop with at least this share of voice counts as voiced."""
LEAST_SAMPLES = 5
SLOW_NS = 250_000_000
"""Half of the stretch whose mean is the slow part of a mouth's opening: a smile or a yawn, not speech. Measured on
real clips: talking moves 0.03…0.10 beside it, a posed expression without a word up to 0.035, a still face 0.005."""
LEAST_MOVEMENT = 0.015
"""Movement of the mouth's opening (in distances of the eyes) below which a mouth counts as still."""
CLEAR_MARGIN = 1.5
"""How much more a mouth must move than every other one."""
LARGER = 1.3
"""How much larger another face must be before the largest is another."""


class SeenMouth(NamedTuple):
    """One face of a frame: its track, the opening of its mouth, the area of its box in pixels²."""

    track: int
    mouth: float
    area: float


class SpeakerFinder:
    """Finds the face that speaks.

    It is the track whose mouth moves most (fast changes of its opening, root mean square) while there is voice, if it
    moves clearly more than every other one in view. Once found, a speaker stays until another mouth is as clear; while
    there is none, or it is out of sight, the largest face stands in, and stays until another is clearly larger.
    """

    def __init__(self, window_s: float) -> None:
        """`window_s`: how far back mouths and voice are compared, in seconds."""
        self._window_ns = round(window_s * 1e9)
        self._voiced: deque[Span] = deque()
        self._mouths: dict[int, deque[tuple[int, float]]] = {}
        self._speaker: int | None = None
        self._largest: int | None = None

    def reconfigure(self, window_s: float) -> None:
        """Go on with another window; a longer one fills up from now on."""
        self._window_ns = round(window_s * 1e9)

    def hear(self, pts_ns: int, spans: Iterable[Span]) -> None:
        """Hops that came into reach at the frame of `pts_ns`."""
        self._voiced.extend(span for span in spans if span.voice >= VOICED)
        while self._voiced and self._voiced[0].end_ns < pts_ns - self._window_ns:
            self._voiced.popleft()

    def see(self, pts_ns: int, faces: Sequence[SeenMouth]) -> int | None:
        """The track that the voice belongs to among the faces of this frame; None where there are no faces."""
        for face in faces:
            if math.isfinite(face.mouth):
                self._mouths.setdefault(face.track, deque()).append((pts_ns, face.mouth))
        for mouth in self._mouths.values():
            while mouth and mouth[0][0] < pts_ns - self._window_ns:
                mouth.popleft()
        self._find(faces)
        in_view = {face.track for face in faces}
        if self._speaker in in_view:
            return self._speaker
        return self._stand_in(faces)

    def forget(self, alive: Collection[int]) -> None:
        """Only these tracks may still be seen again."""
        self._mouths = {track: mouth for track, mouth in self._mouths.items() if track in alive}
        if self._speaker not in alive:
            self._speaker = None
        if self._largest not in alive:
            self._largest = None

    def _find(self, faces: Sequence[SeenMouth]) -> None:
        movements = sorted(((self._movement(face.track), -face.track) for face in faces), reverse=True)
        if not movements or movements[0][0] < LEAST_MOVEMENT:
            return
        if len(movements) == 1 or movements[0][0] >= CLEAR_MARGIN * movements[1][0]:
            self._speaker = -movements[0][1]

    def _movement(self, track: int) -> float:
        """How far the mouth moves fast while there is voice, root mean square; 0 where too little was seen."""
        seen = self._mouths.get(track, ())
        if not self._voiced or len(seen) < LEAST_SAMPLES:
            return 0.0
        times = np.array([pts_ns for pts_ns, _ in seen], dtype=np.int64)
        voiced = np.zeros(len(times), dtype=bool)
        for span in self._voiced:
            voiced |= (span.start_ns <= times) & (times <= span.end_ns)
        if voiced.sum() < LEAST_SAMPLES:
            return 0.0
        fast = _fast(times, np.array([mouth for _, mouth in seen], dtype=np.float64))[voiced]
        return math.sqrt(np.dot(fast, fast) / fast.size)

    def _stand_in(self, faces: Sequence[SeenMouth]) -> int | None:
        if not faces:
            return None
        largest = max(faces, key=lambda face: (face.area, -face.track))
        held = next((face for face in faces if face.track == self._largest), None)
        if held is None or largest.area > LARGER * held.area:
            self._largest = largest.track
        return self._largest


def _fast(times_ns: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is left of a signal without its slow part, the mean of what lies around each moment. Both [N]."""
    order = np.argsort(times_ns, kind="stable")
    times, sums = times_ns[order], np.concatenate(([0.0], np.cumsum(values[order])))
    first = np.searchsorted(times, times_ns - SLOW_NS, side="left")
    beyond = np.searchsorted(times, times_ns + SLOW_NS, side="right")
    slow: NDArray[np.float64] = (sums[beyond] - sums[first]) / (beyond - first)
    return values - slow
