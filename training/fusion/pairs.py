"""Pairs of face and voice outputs for fusion: from recordings with both, or composed by label."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from bimodal.models.emotions import EMOTIONS, SEVEN, EmotionSet, wrong_names
from bimodal.models.faces.quality import sharpness
from bimodal.models.session import Artifact
from bimodal.training.datasets.fer2013 import LEFT_OUT
from bimodal.training.datasets.items import Item, label_of
from bimodal.training.datasets.loading import colour, picture_items, tracks, votes_of
from bimodal.training.datasets.manifest import read_manifest
from bimodal.training.datasets.ravdess import SAMPLE_RATE, Clip, Recording, decode, record
from bimodal.training.errors import DatasetError
from bimodal.training.evaluate.evaluate import ALONE, Joined, known_to, over_emotions, sized
from bimodal.training.evaluate.evaluate import expert_probabilities as face_probabilities
from bimodal.training.evaluate.metrics import fit_temperature, softmax
from bimodal.training.evaluate.speech import expert_probabilities as speech_probabilities
from bimodal.training.evaluate.speech import listening_of
from bimodal.training.speech.sound import live_ends, live_windows, voice_shares

if TYPE_CHECKING:
    from bimodal.training.config import SpeechConfig
    from bimodal.training.loop import Progress

DELAY_S = 0.12
"""Least time between the end of a speech window and the frame it is joined with, as in config.yaml."""
BLURRED = 0.5
MEASURED_SHARE = 0.2
Opinions = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]
"""(opinions float32 [N, E + 1], labels int64 [N], a number for the person int64 [N])."""


def face_opinions(
    static: Artifact,
    folder: Path,
    split: str,
    labels: str,
    random: np.random.Generator,
    among: EmotionSet = SEVEN,
) -> Opinions:
    """Outputs on held-out pictures, half of them blurred, so that their worth varies."""
    items = picture_items(folder, split, among)
    _, majority = votes_of(items, labels, folder, among)  # type: ignore[arg-type]  # a word of Labels
    decided = [item for item, label in zip(items, majority, strict=True) if label != LEFT_OUT]
    side = static.inputs[0].shape[1]
    size = side if isinstance(side, int) else 112
    faces = np.stack([_blurred(colour(item, size), random) for item in decided])
    people = np.arange(len(decided))
    rows = [static.run(faces=faces[start : start + 64])["probabilities"] for start in range(0, len(faces), 64)]
    opinions = _with_worth(over_emotions(static.metadata, np.concatenate(rows), among), map(sharpness, faces))
    return opinions, majority[majority != LEFT_OUT], people


def _blurred(face: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    if random.random() >= BLURRED:
        return face
    return np.asarray(cv2.GaussianBlur(face, (0, 0), float(random.uniform(0.5, 3.0))), np.uint8)


def _with_worth(probabilities: NDArray[np.floating], worth: Iterable[float]) -> NDArray[np.float32]:
    return np.hstack([probabilities, np.array(list(worth))[:, None]]).astype(np.float32)


def speech_opinions(
    config: SpeechConfig, recordings: Sequence[Recording], folds: int | None, progress: Progress
) -> Opinions:
    """Outputs on every live window of every speaker, by the network of the fold that holds out the speaker.

    Probabilities of a fold are calibrated on the other folds if there are several, else on its own. Of several corpora
    only the first one's voices are taken: the others train the folds.
    """
    from bimodal.training.speech.corpora import corpus_of  # only composing pairs needs torch
    from bimodal.training.speech.train import cross_validate_run

    found = cross_validate_run(config, recordings, progress, folds)
    first = corpus_of(recordings[0])
    rows, labels, people = [], [], []
    for fold in found:
        others = [other for other in found if other is not fold] or [fold]
        temperature = fit_temperature(
            np.concatenate([other.live for other in others]), np.concatenate([other.live_true for other in others])
        )
        heard = [recording for recording in recordings if recording.clip.part in fold.speakers]
        worth = np.concatenate([voice_shares(recording) for recording in heard])
        taken = np.array([corpus_of(heard[clip]) == first for clip in fold.live_clip])
        rows.append(np.hstack([softmax(fold.live, temperature), worth[:, None]])[taken])
        labels.append(fold.live_true[taken])
        people.append(np.array([heard[clip].clip.actor for clip in fold.live_clip[taken]], np.int64))
    return np.concatenate(rows).astype(np.float32), np.concatenate(labels), np.concatenate(people)


def compose_pairs(faces: Opinions, voices: Opinions, count: int, random: np.random.Generator) -> dict[str, Pairs]:
    """Combine faces and voices of the same label, each emotion equally often; `test` from other pictures and speakers.

    Raises DatasetError if the two share no label, or no speaker is left for `test`.
    """
    measured_faces = random.random(len(faces[1])) < MEASURED_SHARE
    everyone = np.unique(voices[2])
    back = everyone[-max(1, round(MEASURED_SHARE * len(everyone))) :]
    measured_voices = np.isin(voices[2], back)
    if len(everyone) < 2:
        raise DatasetError("pairs need at least two speakers: one of them is measured on")
    test = round(MEASURED_SHARE * count)
    return {
        "train": _put_together(faces, voices, ~measured_faces, ~measured_voices, count - test, random),
        "test": _put_together(faces, voices, measured_faces, measured_voices, test, random),
    }


def _put_together(
    faces: Opinions, voices: Opinions, seen: NDArray[np.bool_], heard: NDArray[np.bool_], count: int,
    random: np.random.Generator,
) -> Pairs:  # fmt: skip
    classes = faces[0].shape[1] - 1
    sides = [[np.flatnonzero(mask & (labels == emotion)) for emotion in range(classes)]
             for mask, labels in ((seen, faces[1]), (heard, voices[1]))]  # fmt: skip
    there = [emotion for emotion in range(classes) if all(len(side[emotion]) for side in sides)]
    if not there:
        raise DatasetError("faces and voices share no label, so there are no pairs")
    emotions = np.array([there[number % len(there)] for number in range(count)], np.int64)
    face, voice = (np.array([random.choice(side[emotion]) for emotion in emotions]) for side in sides)
    return Pairs(faces[0][face], voices[0][voice], emotions)


class Experts(NamedTuple):
    """Models of one kind, which become one as in their worker."""

    artifacts: tuple[Artifact, ...]
    joined: Joined = ALONE

    @property
    def identity(self) -> str:
        """`name@version` of each."""
        return "+".join(artifact.identity for artifact in self.artifacts)

    def knows(self, among: EmotionSet) -> NDArray[np.bool_]:
        """Mark the emotions of a set that any of them knows, bool [E]."""
        known = {name for artifact in self.artifacts for name in known_to(artifact.metadata, among).known}
        return np.isin(among.emotions, list(known))


def recorded_pairs(faces: Experts, voices: Experts, folder: Path, split: str, among: EmotionSet = SEVEN) -> Pairs:
    """Compute pairs of a prepared video tree: each face with the newest speech window that ended before it.

    Raises DatasetError if no recording of the split has both.
    """
    sounds = {
        item.clip: item for item in read_manifest(folder, among) if item.medium == "sound" and item.split == split
    }
    found = [
        pairs
        for track in tracks(folder, split, among)
        if track[0].label is not None and track[0].clip in sounds
        if (pairs := _of_recording(faces, voices, track, sounds[track[0].clip], among)) is not None
    ]
    if not found:
        raise DatasetError(f"{folder} has no recording of the split '{split}' with a face and a voice at the same time")
    return Pairs(
        video=np.concatenate([pairs.video for pairs in found]),
        speech=np.concatenate([pairs.speech for pairs in found]),
        labels=np.concatenate([pairs.labels for pairs in found]),
        known=np.stack([faces.knows(among), voices.knows(among)]),
    )


def _of_recording(faces: Experts, voices: Experts, track: list[Item], sound: Item, among: EmotionSet) -> Pairs | None:
    rate = voices.artifacts[0].metadata.sample_rate or SAMPLE_RATE
    recording = record(Clip(sound.path, 0, sound.label or 0), decode(sound.path, rate), rate)
    listening = listening_of(voices.artifacts)
    ends = np.array(live_ends(recording, listening)) / rate
    if not len(ends):
        return None
    windows = live_windows(recording, listening)
    heard = speech_probabilities(voices.artifacts, windows, among, voices.joined)
    speech = _with_worth(heard, voice_shares(recording, listening))
    joined = [(item, int(np.searchsorted(ends, item.time_s - DELAY_S, side="right")) - 1) for item in track]
    joined = [(item, hop) for item, hop in joined if hop >= 0]
    if not joined:
        return None
    items = [item for item, _ in joined]
    seen = face_probabilities(faces.artifacts, items, among=among, joined=faces.joined)
    video = _with_worth(seen, map(sharpness, sized(faces.artifacts[0], items)))
    return Pairs(video, speech[[hop for _, hop in joined]], np.full(len(joined), track[0].label, np.int64))


# The table of pairs, from which fusion learns: `pairs.csv` with `label`, `split`, and for `video_` and `speech_` each
# emotion's probability and `worth`. Its columns say the set of emotions.

NAME = "pairs.csv"
WORTH = "worth"


def columns_of(among: EmotionSet) -> tuple[str, ...]:
    """Columns of the table for a set of emotions."""
    opinion = (*among.emotions, WORTH)
    return ("label", "split", *(f"{side}_{name}" for side in ("video", "speech") for name in opinion))


def emotions_of_pairs(folder: Path) -> EmotionSet:
    """The set of emotions of `folder`/pairs.csv. Raises DatasetError if there is no table, or it names no set."""
    table = _table_in(folder)
    with table.open(newline="", encoding="utf-8") as file:
        header = next(csv.reader(file), [])
    names = [name.removeprefix("video_") for name in header if name.startswith("video_")]
    found = tuple(name for name in names if name != WORTH)
    if set(found) == set(EMOTIONS):  # in any order of the columns
        return SEVEN
    wrong = wrong_names(found)
    if wrong is not None:
        raise DatasetError(
            f"{table} needs the columns {', '.join(columns_of(SEVEN))}, or those of another set: {wrong}"
        )
    return EmotionSet(found)


def _table_in(folder: Path) -> Path:
    table = folder / NAME
    if not table.is_file():
        raise DatasetError(f"{folder} holds no {NAME}: 'bimodal train fusion' writes one under its runs")
    return table


@dataclass(frozen=True)
class Pairs:
    """Outputs of both modalities, and labels.

    Attributes:
        video, speech: float32 [N, E + 1]: calibrated probabilities over the emotions and, last, their worth (0…1).
        labels: int64 [N], indices into the emotions.
        known: bool [2, E], the emotions that each of the two knows; None: all of them.
    """

    video: NDArray[np.float32]
    speech: NDArray[np.float32]
    labels: NDArray[np.int64]
    known: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.labels)

    def take(self, chosen: NDArray[np.generic]) -> Pairs:
        """Select pairs by indices or mask."""
        return replace(self, video=self.video[chosen], speech=self.speech[chosen], labels=self.labels[chosen])

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Of both, float64 [2, N, E]."""
        return np.stack([self.video[:, :-1], self.speech[:, :-1]]).astype(np.float64)

    @property
    def knowing(self) -> NDArray[np.bool_]:
        """`known`, with True for all where it is None."""
        return np.ones((2, self.video.shape[1] - 1), np.bool_) if self.known is None else self.known

    def weights(self, video_weight: float, speech_weight: float, power: float = 1.0) -> NDArray[np.float64]:
        """Weights of both, float64 [2, N]: the configured ones, scaled by worth to a power; alone where both are 0."""
        configured = np.array([[video_weight], [speech_weight]])
        scaled = configured * np.stack([self.video[:, -1], self.speech[:, -1]]).astype(np.float64) ** power
        return np.where(scaled.sum(axis=0) > 0, scaled, configured)


# The strategies of workers/fusion/combine.py, which fuses one moment so, for pairs: [N, E] at once.

SOFT, CONTRADICT, AGREE, FLOOR = 0.3, 0.2, 0.6, 1e-6


def averaged(pairs: Pairs, video_weight: float, speech_weight: float) -> NDArray[np.float64]:
    """Fuse pairs with the strategy `average`, float64 [N, E]: weights scaled by worth."""
    return _average(pairs, pairs.weights(video_weight, speech_weight))


def multiplied(pairs: Pairs, video_weight: float, speech_weight: float) -> NDArray[np.float64]:
    """Fuse pairs with the strategy `product`, float64 [N, E]: the weighted mean of logarithms."""
    shares = _shares(pairs, pairs.weights(video_weight, speech_weight))
    logs = (shares * np.log(np.maximum(pairs.probabilities, FLOOR))).sum(axis=0)
    return softmax(np.where(shares.sum(axis=0) > 0, logs, -np.inf))


def by_worth(pairs: Pairs, video_weight: float, speech_weight: float) -> NDArray[np.float64]:
    """Fuse pairs with the strategy `worth`, float64 [N, E]: multiplied where they agree, averaged where they don't."""
    exponents = pairs.weights(video_weight, speech_weight, SOFT) / max(video_weight, speech_weight)
    pooled, both = _average(pairs, exponents), pairs.knowing.all(axis=0)
    sides = pairs.probabilities[:, :, both]
    masses = sides.sum(axis=2)
    comparable = (exponents > 0).all(axis=0) & (masses > 0).all(axis=0)
    if not comparable.any():
        return pooled
    alike = agreements(*(sides / np.where(masses > 0, masses, 1)[:, :, None]))
    joint = np.where(comparable, np.clip((alike - CONTRADICT) / (AGREE - CONTRADICT), 0, 1), 0)[:, None]
    product = softmax((exponents[:, :, None] * np.log(np.maximum(sides, FLOOR))).sum(axis=0))
    shared = pooled[:, both]
    fused = pooled.copy()
    fused[:, both] = shared + joint * (shared.sum(axis=1, keepdims=True) * product - shared)
    return np.asarray(fused / fused.sum(axis=1, keepdims=True))


def _average(pairs: Pairs, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    fused = (_shares(pairs, weights) * pairs.probabilities).sum(axis=0)
    return np.asarray(fused / fused.sum(axis=1, keepdims=True))


def _shares(pairs: Pairs, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares of both in each emotion, float64 [2, N, E], of weights [2, N]: who does not know it abstains."""
    counted = weights[:, :, None] * pairs.knowing[:, None, :]
    total = counted.sum(axis=0)
    return np.asarray(counted / np.where(total > 0, total, 1))


def agreements(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """1 − the Jensen–Shannon divergence (base 2) of rows of probabilities [N, C], float64 [N]."""
    middle = (first + second) / 2

    def part(p: NDArray[np.floating]) -> NDArray[np.float64]:
        logs = np.log2(np.maximum(p, 1e-300) / np.maximum(middle, 1e-300))
        return np.asarray(np.where(p > 0, p * logs, 0.0).sum(axis=1))

    return np.asarray(1 - (part(first) + part(second)) / 2)


def write_pairs(folder: Path, parts: dict[str, Pairs], among: EmotionSet = SEVEN) -> Path:
    """Write `folder`/pairs.csv, of a set of emotions, in one move; `parts` by split."""
    folder.mkdir(parents=True, exist_ok=True)
    fresh, table = folder / f".{NAME}.new", folder / NAME
    with fresh.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns_of(among))
        for split, pairs in parts.items():
            for label, video, speech in zip(pairs.labels, pairs.video, pairs.speech, strict=True):
                writer.writerow([among.emotions[label], split, *(f"{value:.6g}" for value in (*video, *speech))])
    fresh.replace(table)
    return table


def read_pairs(folder: Path, split: str, among: EmotionSet = SEVEN) -> Pairs:
    """Read one split of `folder`/pairs.csv, of a set of emotions. Raises DatasetError if a column or the split is
    missing."""
    table, columns = _table_in(folder), columns_of(among)
    with table.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if set(columns) - set(rows.fieldnames or ()):
            raise DatasetError(f"{table} needs the columns {', '.join(columns)}")
        chosen = [row for row in rows if row["split"] == split]
    if not chosen:
        raise DatasetError(f"{table} has no rows of the split '{split}'")
    try:
        values = np.array([[float(row[name]) for name in columns[2:]] for row in chosen], np.float32)
    except ValueError as error:
        raise DatasetError(f"{table} holds something that is no number: {error}") from error
    labels = [label_of(row["label"], str(table), among) for row in chosen]
    if None in labels:
        raise DatasetError(f"{table} has a label that is none of {among.words}")
    size = len(among.emotions) + 1
    return Pairs(values[:, :size], values[:, size:], np.array(labels, np.int64))
