"""Sequences of faces for a dynamic model: cut out of real recordings, or composed of single pictures.

A composed sequence is no recording: its frames are other people. One emotion rises out of neutral frames (onset), holds
(peak) and may fall again (offset), with a distractor of another emotion here and there. A picture stays for one to four
steps, as a face that is misread stays misread in a video.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bimodal.models.emotions import EMOTIONS
from bimodal.training.errors import DatasetError

NEUTRAL = EMOTIONS.index("neutral")
LONGEST_HOLD = 4
DISTRACTED = 0.15
SHORTEST_PEAK = 0.3
"""Of the window: what must at least show the emotion that the sequence is named by."""


@dataclass(frozen=True)
class Sequences:
    """Windows of a track.

    Attributes:
        places: int64 [M, T], which picture each step shows.
        labels: int64 [M], indices into EMOTIONS.
    """

    places: NDArray[np.int64]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        """How many windows."""
        return len(self.labels)


def compose(labels: NDArray[np.int64], count: int, steps: int, random: np.random.Generator) -> Sequences:
    """`count` sequences out of pictures with these labels (int64 [N]), every emotion that occurs equally often.

    Raises DatasetError where there is no neutral picture or no other emotion.
    """
    by_emotion = {emotion: np.flatnonzero(labels == emotion) for emotion in range(len(EMOTIONS))}
    there = [emotion for emotion, places in by_emotion.items() if len(places)]
    if NEUTRAL not in there or len(there) < 2:
        raise DatasetError("sequences are composed of neutral pictures and others: this data lacks one of the two")
    rows, named = [], []
    for number in range(count):
        emotion = there[number % len(there)]
        shown = _course(emotion, there, steps, random)
        rows.append(_held(shown, by_emotion, random))
        named.append(emotion)
    return Sequences(np.stack(rows), np.array(named, np.int64))


def _course(emotion: int, there: Sequence[int], steps: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Which emotion each step shows, int64 [steps]."""
    shortest = max(1, round(SHORTEST_PEAK * steps))
    peak = int(random.integers(shortest, steps + 1))
    onset = int(random.integers(0, steps - peak + 1))
    shown = np.full(steps, NEUTRAL, np.int64)
    shown[onset : onset + peak] = emotion
    if peak > shortest and random.random() < DISTRACTED * 2:
        others = [other for other in there if other != emotion]
        place = int(random.integers(steps))
        shown[place] = others[int(random.integers(len(others)))]
    return shown


def _held(
    shown: NDArray[np.int64], by_emotion: dict[int, NDArray[np.int64]], random: np.random.Generator
) -> NDArray[np.int64]:
    """A picture for each step; the same one stays while its emotion stays, for at most LONGEST_HOLD steps."""
    places = np.zeros(len(shown), np.int64)
    left = 0
    for step, emotion in enumerate(shown):
        if left and emotion == shown[step - 1]:
            places[step] = places[step - 1]
            left -= 1
        else:
            places[step] = random.choice(by_emotion[int(emotion)])
            left = int(random.integers(0, LONGEST_HOLD))
    return places


def windows(
    tracks: Sequence[Sequence[tuple[int, float]]], labels: Sequence[int], steps: int, interval_s: float
) -> Sequences:
    """Every window of real recordings, one a step, as fusion feeds them.

    Args:
        tracks: of each recording, (place of the picture, its moment in seconds) in the order of time.
        labels: of each recording.

    A face that was out of sight keeps its last picture for the steps it missed. A recording shorter than a window
    begins with its first picture repeated, so that short clips count too.
    """
    rows, named = [], []
    for track, label in zip(tracks, labels, strict=True):
        line = _line(track, interval_s)
        line = [line[0]] * (steps - len(line)) + line
        for end in range(steps, len(line) + 1):
            rows.append(line[end - steps : end])
            named.append(label)
    return Sequences(np.array(rows, np.int64).reshape(-1, steps), np.array(named, np.int64))


def _line(track: Sequence[tuple[int, float]], interval_s: float) -> list[int]:
    """The picture at each multiple of the interval between the first and the last."""
    first, last = round(track[0][1] / interval_s), round(track[-1][1] / interval_s)
    line, newest = [], 0
    for step in range(first, last + 1):
        while newest + 1 < len(track) and round(track[newest + 1][1] / interval_s) <= step:
            newest += 1
        line.append(track[newest][0])
    return line
