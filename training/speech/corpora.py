"""Several speech corpora in one training: balance, labels that a corpus lacks, folds by speaker."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bimodal.models.emotions import EMOTIONS, SEVEN, EmotionSet
from bimodal.training.datasets import names
from bimodal.training.datasets.items import never_shown
from bimodal.training.datasets.loading import load_recordings
from bimodal.training.datasets.ravdess import Recording
from bimodal.training.datasets.readers import reader_named
from bimodal.training.errors import DatasetError


def load_corpora(folders: Sequence[Path], among: EmotionSet = SEVEN) -> tuple[Recording, ...]:
    """Load every sound of several corpora that is labelled with an emotion of the set, one after another.

    Raises DatasetError as `load_recordings`, or if two folders hold corpora of the same name.
    """
    found = [load_recordings(folder, among=among) for folder in folders]
    corpora = [names.corpus_named(corpus) or corpus for recordings in found for corpus in corpora_of(recordings)]
    twice = [name for name, count in Counter(corpora).items() if count > 1]
    if twice:
        raise DatasetError(f"two folders hold a corpus named {twice[0]}, whose speakers would be confused")
    return tuple(recording for recordings in found for recording in recordings)


def corpus_of(recording: Recording) -> str:
    """Name of the corpus, as in an artifact's `trained_on`."""
    return recording.clip.part.partition("/")[0]


def corpora_of(recordings: Sequence[Recording]) -> list[str]:
    """Names of the corpora, in the order in which they first occur."""
    return list(dict.fromkeys(map(corpus_of, recordings)))


LICENSE = "CC-BY-NC-SA-4.0 (non-commercial), as RAVDESS, which it was trained on"


def licence_of(recordings: Sequence[Recording]) -> str:
    """Licence of a model that learns from recordings, in words: name and licence of each corpus."""
    corpora = corpora_of(recordings)
    if corpora == ["ravdess"]:
        return LICENSE
    found = (f"{corpus} ({reader_named(names.corpus_named(corpus) or 'manifest').licence})" for corpus in corpora)
    return f"as the data it was trained on: {', '.join(found)}"


def labels_of(recordings: Sequence[Recording]) -> NDArray[np.int64]:
    """int64 [N], indices into the emotions that are learnt."""
    return np.array([recording.clip.emotion for recording in recordings], dtype=np.int64)


def warn_untold(recordings: Sequence[Recording], name: str, among: EmotionSet, progress: Callable[[str], None]) -> None:
    """Say which emotions a model can't learn, since no recording is of them."""
    absent = never_shown(labels_of(recordings), among)
    if absent:
        progress(f"no recording is of {' or '.join(absent)}: {name} does not learn to tell it")


def labels_of_corpora(recordings: Sequence[Recording]) -> dict[str, tuple[int, ...]]:
    """Indices of the emotions that occur in each corpus."""
    found: dict[str, set[int]] = {}
    for recording in recordings:
        found.setdefault(corpus_of(recording), set()).add(recording.clip.emotion)
    return {corpus: tuple(sorted(labels)) for corpus, labels in found.items()}


def label_offsets(
    recordings: Sequence[Recording],
    known: Mapping[str, Sequence[int]],
    lowered: float,
    emotions: Sequence[str] = EMOTIONS,
) -> NDArray[np.float32]:
    """Offsets float32 [N, E] of the logits in the loss: −`lowered` for emotions that a corpus lacks, else 0.

    A label that a corpus lacks is no negative there. math.inf masks it altogether; a finite value keeps some of its
    share of the softmax, so that voices of a corpus with few labels do not drift to those it lacks.
    """
    offsets = np.zeros((len(recordings), len(emotions)), np.float32)
    for row, recording in zip(offsets, recordings, strict=True):
        row[[label for label in range(len(emotions)) if label not in known[corpus_of(recording)]]] = -lowered
    return offsets


def repeats(recordings: Sequence[Recording]) -> dict[str, int]:
    """Number of times that an epoch takes each recording of a corpus: √(largest corpus / corpus), rounded."""
    counts = Counter(map(corpus_of, recordings))
    largest = max(counts.values())
    return {corpus: max(1, round(math.sqrt(largest / count))) for corpus, count in counts.items()}


def loss_weights(
    recordings: Sequence[Recording], shares: Mapping[str, float], times: Mapping[str, int]
) -> NDArray[np.float32]:
    """Weight of each recording in the loss, float32 [N]; mean 1 over an epoch that takes each corpus so many `times`.

    Each emotion of a corpus has the same total, and each corpus its share: of `shares` if it is named there, else in
    proportion to its number of recordings.
    """
    counts = Counter((corpus_of(recording), recording.clip.emotion) for recording in recordings)
    sizes = Counter(map(corpus_of, recordings))
    kinds = Counter(corpus for corpus, _ in counts)
    given = {names.corpus_named(name) or name: share for name, share in shares.items()}
    raw = [
        given.get(names.corpus_named(corpus) or corpus, sizes[corpus] / len(recordings))
        / kinds[corpus]
        / counts[corpus, label]
        / times.get(corpus, 1)
        for corpus, label in ((corpus_of(recording), recording.clip.emotion) for recording in recordings)
    ]
    often = [times.get(corpus_of(recording), 1) for recording in recordings]
    mean = sum(weight * count for weight, count in zip(raw, often, strict=True)) / sum(often)
    return np.array([weight / mean for weight in raw], np.float32)


def speaker_folds(recordings: Sequence[Recording], folds: int) -> Iterator[tuple[frozenset[str], frozenset[str]]]:
    """(speakers to train on, speakers to validate on) for each fold; every speaker is validated on exactly once.

    The speakers of every corpus are divided over the folds, so that each fold leaves out some of each. Neighbouring
    numbers share a fold: RAVDESS has as many men (odd) as women (even) in each.
    Raises DatasetError if there are fewer than two folds, or a corpus has fewer speakers than that.
    """
    speakers: dict[str, dict[str, int]] = {}
    for recording in recordings:
        speakers.setdefault(corpus_of(recording), {})[recording.clip.part] = recording.clip.actor
    everyone = frozenset(part for parts in speakers.values() for part in parts)
    held: list[set[str]] = [set() for _ in range(folds)]
    for corpus, parts in speakers.items():
        if not 2 <= folds <= len(parts):
            raise DatasetError(
                f"{folds} folds need 2 folds and as many speakers at least, but {corpus} has {len(parts)} speakers"
            )
        ordered = sorted(parts, key=lambda part: (parts[part], part))
        for fold, group in zip(held, np.array_split(np.array(ordered), folds), strict=True):
            fold.update(map(str, group))
    for fold in held:
        yield everyone - fold, frozenset(fold)
