"""Face tracking: each face of a frame gets the number of its track."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bimodal.models.faces.detections import overlap
from bimodal.recordings.segments import median

NEW_TRACK_COST = 3.0
"""Cost of a new track: a pair that costs more is not the same face."""
IMPOSSIBLE = 1e6
LARGEST_STEP = 1.0
"""Largest distance from the expected place, in face sizes, plus REACH_PER_S for each second out of sight."""
REACH_PER_S = 1.0
LARGEST_SIZE_RATIO = 2.5
VELOCITY_TIME_S = 0.15
"""Time constant of the average velocity, since boxes jitter."""
COASTING_TIME_S = 0.5
"""Time constant with which a face out of sight slows down."""
EMBEDDING_TIME_S = 1.0
PACE_FRAMES = 5
"""The pace of a stream is the median of so many newest steps from frame to frame."""
SURE_SAME = 0.5
"""Least cosine of two identity embeddings of one person, as networks trained with angular margins give them."""
SURE_MARGIN = 0.1
"""Least lead over the next best person."""
MOST_REMEMBERED = 64


class Observation(NamedTuple):
    """One face of a frame: box [x, y, width, height] in pixels, width and height > 0; its embedding by the static
    model, and one that tells people apart; None where there is none.
    """

    box: tuple[float, float, float, float]
    embedding: NDArray[np.float32] | None = None
    identity: NDArray[np.float32] | None = None


@dataclass
class Track:
    """One face over time. Positions in pixels, velocities in pixels a second."""

    number: int
    centre: tuple[float, float]
    size: tuple[float, float]
    seen_ns: int
    velocity: tuple[float, float] | None = None
    embedding: NDArray[np.float32] | None = None
    identity: NDArray[np.float32] | None = None

    def expected(self, pts_ns: int) -> tuple[float, float]:
        """Expected centre: at the same velocity, slower the longer the face is out of sight."""
        if self.velocity is None:
            return self.centre
        gap = _seconds(pts_ns - self.seen_ns)
        way = COASTING_TIME_S * -math.expm1(-gap / COASTING_TIME_S)
        return self.centre[0] + self.velocity[0] * way, self.centre[1] + self.velocity[1] * way

    def update(self, pts_ns: int, face: Observation) -> None:
        """Take the face as found in a frame."""
        gap = _seconds(pts_ns - self.seen_ns)
        centre = _centre(face.box)
        if gap > 0:
            measured = ((centre[0] - self.centre[0]) / gap, (centre[1] - self.centre[1]) / gap)
            self.velocity = _towards(self.velocity, measured, -math.expm1(-gap / VELOCITY_TIME_S))
        if face.embedding is not None or face.identity is not None:
            share = -math.expm1(-gap / EMBEDDING_TIME_S)
            if face.embedding is not None:
                self.embedding = _blend(self.embedding, face.embedding, share)
            if face.identity is not None:
                self.identity = _blend(self.identity, face.identity, share)
        self.centre, self.size, self.seen_ns = centre, face.box[2:], pts_ns


class FaceTracker:
    """Tracks of one stream and run, counted from 1. No two faces of a frame share a track.

    All faces of a frame are assigned to tracks at once with the least sum of costs. A cost is the sum of distance from
    the expected place (in face sizes), lack of overlap, change of size, cosine distance of the embeddings where there
    are any, and time out of sight, so that a face in view goes before one that is out of it.

    A hard cut ends all tracks: places say nothing about who is who after it. A person who comes back, after a cut or
    after a long time, gets their number again only where identity embeddings are sure; without such a model they are
    counted again.
    """

    def __init__(self, memory_s: float, memory_frames: int = 0) -> None:
        """
        Args:
            memory_s: longest time out of sight that a track survives, in seconds.
            memory_frames: the same in frames of the stream's own pace; the longer one counts.
        """
        self._memory_s, self._memory_frames = memory_s, memory_frames
        self._tracks: list[Track] = []
        self._ended: list[Track] = []
        self._count = 0
        self._shot = 0
        self._frame_ns: int | None = None
        self._steps_ns: deque[int] = deque(maxlen=PACE_FRAMES)

    def reconfigure(self, memory_s: float, memory_frames: int = 0) -> None:
        """Use another memory; no track is lost that the new one keeps."""
        self._memory_s, self._memory_frames = memory_s, memory_frames

    @property
    def alive(self) -> frozenset[int]:
        """Numbers of the tracks that are still kept."""
        return frozenset(track.number for track in self._tracks)

    def update(self, pts_ns: int, faces: Sequence[Observation], shot: int = 0) -> list[int]:
        """Track numbers of the faces of the frame at `pts_ns`, in the order of `faces`. Frames come in order.

        Args:
            shot: number of the frame's shot; another one than before is a hard cut.
        """
        memory_ns = self._memory_ns(pts_ns)
        kept = [track for track in self._tracks if shot == self._shot and abs(pts_ns - track.seen_ns) <= memory_ns]
        if len(kept) < len(self._tracks):
            self._end([track for track in self._tracks if not any(track is one for one in kept)])
        self._tracks, self._shot = kept, shot
        matched = self._match(pts_ns, faces)
        again = self._recognised([face if track is None else None for face, track in zip(faces, matched, strict=True)])
        numbers: list[int] = []
        for face, track, known in zip(faces, matched, again, strict=True):
            if track is None:
                track = self._begin(pts_ns, face, known)
            else:
                track.update(pts_ns, face)
            numbers.append(track.number)
        return numbers

    def _memory_ns(self, pts_ns: int) -> float:
        """How long a track may be out of sight, at the pace of the newest frames."""
        if self._frame_ns is not None and pts_ns > self._frame_ns:
            self._steps_ns.append(pts_ns - self._frame_ns)
        self._frame_ns = pts_ns
        pace_ns = median(self._steps_ns) if self._steps_ns else 0
        return max(self._memory_s * 1e9, self._memory_frames * pace_ns)

    def _end(self, tracks: Sequence[Track]) -> None:
        """Remember the people of ended tracks, the newest ones, where something tells them apart."""
        known = [track for track in tracks if track.identity is not None]
        self._ended = [*self._ended, *known][-MOST_REMEMBERED:]

    def _recognised(self, faces: Sequence[Observation | None]) -> list[Track | None]:
        """For each new face the ended track of the same person, where that is sure; the surest pairs first."""
        found: list[Track | None] = [None] * len(faces)
        if not self._ended:
            return found
        pairs = []
        for place, face in enumerate(faces):
            if face is None or face.identity is None:
                continue
            alike = sorted(
                ((1 - _cosine_distance(t.identity, face.identity), t.number) for t in self._ended), reverse=True
            )
            if alike and alike[0][0] >= SURE_SAME and (len(alike) < 2 or alike[0][0] - alike[1][0] >= SURE_MARGIN):
                pairs.append((alike[0][0], place, alike[0][1]))
        for _, place, number in sorted(pairs, reverse=True):
            track = next((track for track in self._ended if track.number == number), None)
            if track is not None:
                found[place] = track
                self._ended.remove(track)
        return found

    def _begin(self, pts_ns: int, face: Observation, known: Track | None) -> Track:
        """Begin a track, under the number of a `known` person or a new one."""
        if known is None:
            self._count += 1
        track = Track(known.number if known is not None else self._count, _centre(face.box), face.box[2:], pts_ns)
        if face.embedding is not None:
            track.embedding = _blend(None, face.embedding, 1.0)
        if face.identity is not None:
            held = known.identity if known is not None else None
            track.identity = _blend(held, face.identity, 1.0 if held is None else 0.5)
        self._tracks.append(track)
        return track

    def _match(self, pts_ns: int, faces: Sequence[Observation]) -> list[Track | None]:
        matched: list[Track | None] = [None] * len(faces)
        if not faces or not self._tracks:
            return matched
        tracks, new = self._tracks, [NEW_TRACK_COST] * len(faces)
        costs = [[*(self._cost(pts_ns, track, face) for track in tracks), *new] for face in faces]
        for row, column in enumerate(_cheapest(costs) or assign(np.array(costs))):
            if column < len(tracks) and costs[row][column] < NEW_TRACK_COST:
                matched[row] = tracks[column]
        return matched

    def _cost(self, pts_ns: int, track: Track, face: Observation) -> float:
        gap = _seconds(pts_ns - track.seen_ns)
        expected, centre = track.expected(pts_ns), _centre(face.box)
        side, track_side = math.sqrt(face.box[2] * face.box[3]), math.sqrt(track.size[0] * track.size[1])
        step = math.dist(expected, centre) / ((side + track_side) / 2)
        growth = abs(math.log(side / track_side))
        if step > LARGEST_STEP + REACH_PER_S * gap or growth > math.log(LARGEST_SIZE_RATIO):
            return IMPOSSIBLE
        common = overlap(_box(expected, track.size), face.box)
        difference = _cosine_distance(track.embedding, face.embedding)
        hidden = gap / self._memory_s if self._memory_s > 0 else 0.0
        return step + (1.0 - common) + 0.5 * growth + difference + 0.5 * min(1.0, hidden)


def _seconds(time_ns: int) -> float:
    return max(0, time_ns) / 1e9


def _centre(box: tuple[float, float, float, float]) -> tuple[float, float]:
    return box[0] + box[2] / 2, box[1] + box[3] / 2


def _box(centre: tuple[float, float], size: tuple[float, float]) -> tuple[float, float, float, float]:
    return centre[0] - size[0] / 2, centre[1] - size[1] / 2, size[0], size[1]


def _towards(held: tuple[float, float] | None, new: tuple[float, float], share: float) -> tuple[float, float]:
    if held is None:
        return new[0] * share, new[1] * share
    return held[0] + share * (new[0] - held[0]), held[1] + share * (new[1] - held[1])


def _blend(held: NDArray[np.float32] | None, new: NDArray[np.float32], share: float) -> NDArray[np.float32] | None:
    """Move `held` towards the direction of `new`; one of another length replaces it."""
    length = _length(new)
    if length <= 0:
        return held
    direction = (new / length).astype(np.float32, copy=False)
    if held is None or held.shape != new.shape:
        return direction
    return (held + share * (direction - held)).astype(np.float32, copy=False)


def _cosine_distance(held: NDArray[np.float32] | None, new: NDArray[np.float32] | None) -> float:
    """Cosine distance, 0…2; 0 where one has no embedding or they can't be compared."""
    if held is None or new is None or held.shape != new.shape:
        return 0.0
    lengths = _length(held) * _length(new)
    return 1.0 - float(held.dot(new)) / lengths if lengths > 0 else 0.0


def _length(vector: NDArray[np.float32]) -> float:
    """Euclidean length; np.linalg.norm takes ten times as long for a short vector."""
    return math.sqrt(vector.dot(vector))


# Linear assignment: a column for every row at the least cost.


def _cheapest(costs: Sequence[Sequence[float]]) -> list[int] | None:
    """The cheapest column of each row where no two rows have the same, which is then what `assign` finds; else None."""
    columns = [row.index(min(row)) for row in costs]
    return columns if len(set(columns)) == len(columns) else None


def assign(costs: NDArray[np.float64]) -> list[int]:
    """The column of each row, all different, with the least sum of costs.

    Shortest augmenting paths, O(rows² · columns): Jonker and Volgenant, "A shortest augmenting path algorithm for
    dense and sparse linear assignment problems", Computing 38 (1987). scipy has it too, but is too slow to import
    for a live process.

    Args:
        costs: float64 [rows, columns], finite, rows ≤ columns.
    """
    rows, columns = costs.shape
    if rows == 1:
        return [int(np.argmin(costs[0]))]
    row_price, column_price = np.zeros(rows), np.zeros(columns)
    row_of = np.full(columns, -1)
    for start in range(rows):
        _augment(start, costs, row_price, column_price, row_of)
    column_of = [-1] * rows
    for column, row in enumerate(row_of):
        if row >= 0:
            column_of[row] = column
    return column_of


def _augment(
    start: int,
    costs: NDArray[np.float64],
    row_price: NDArray[np.float64],
    column_price: NDArray[np.float64],
    row_of: NDArray[np.int_],
) -> None:
    """Give row `start` a column, moving other rows along the cheapest path to a free column."""
    columns = costs.shape[1]
    distance = np.full(columns, np.inf)
    came_from = np.full(columns, -1)
    done = np.zeros(columns, dtype=bool)
    row, column, reached = start, -1, 0.0
    while row >= 0:
        through = reached + costs[row] - row_price[row] - column_price
        better = ~done & (through < distance)
        distance[better], came_from[better] = through[better], column
        column = int(np.argmin(np.where(done, np.inf, distance)))
        reached, row = float(distance[column]), int(row_of[column])
        done[column] = True
    row_price[start] += reached
    for passed in np.flatnonzero(done):
        if row_of[passed] >= 0:
            row_price[row_of[passed]] += reached - distance[passed]
        column_price[passed] -= reached - distance[passed]
    while column >= 0:
        previous = int(came_from[column])
        row_of[column] = start if previous < 0 else row_of[previous]
        column = previous
