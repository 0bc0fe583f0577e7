"""Pairs of what a face shows and what a voice carries at the same moment: what fusion learns from and is measured on.

On disk: `pairs.csv` with `label`, `split`, and for `video_` and `speech_` each emotion's probability and `worth`.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bimodal.models.emotions import EMOTIONS
from bimodal.training.datasets.items import label_of
from bimodal.training.errors import DatasetError

NAME = "pairs.csv"
OPINION = (*EMOTIONS, "worth")
COLUMNS = ("label", "split", *(f"{side}_{name}" for side in ("video", "speech") for name in OPINION))


@dataclass(frozen=True)
class Pairs:
    """Opinions and the truth.

    Attributes:
        video, speech: float32 [N, 8]: calibrated probabilities over EMOTIONS and, last, their worth (0…1).
        labels: int64 [N], indices into EMOTIONS.
    """

    video: NDArray[np.float32]
    speech: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        """How many pairs."""
        return len(self.labels)

    def take(self, chosen: NDArray[np.generic]) -> Pairs:
        """Those at `chosen` (places or a mask)."""
        return Pairs(self.video[chosen], self.speech[chosen], self.labels[chosen])


def averaged(pairs: Pairs, video_weight: float, speech_weight: float) -> NDArray[np.float64]:
    """What the strategy `average` makes of pairs, float64 [N, 7]: weights scaled by worth."""
    weights = np.stack([video_weight * pairs.video[:, -1], speech_weight * pairs.speech[:, -1]]).astype(np.float64)
    total = weights.sum(axis=0)
    weights = np.where(total > 0, weights / np.maximum(total, 1e-9), [[video_weight], [speech_weight]])
    fused = weights[0][:, None] * pairs.video[:, :-1] + weights[1][:, None] * pairs.speech[:, :-1]
    return np.asarray(fused / fused.sum(axis=1, keepdims=True))


def write_pairs(folder: Path, parts: dict[str, Pairs]) -> Path:
    """Write `folder`/pairs.csv in one move; `parts` by split."""
    folder.mkdir(parents=True, exist_ok=True)
    fresh, table = folder / f".{NAME}.new", folder / NAME
    with fresh.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for split, pairs in parts.items():
            for label, video, speech in zip(pairs.labels, pairs.video, pairs.speech, strict=True):
                writer.writerow([EMOTIONS[label], split, *(f"{value:.6g}" for value in (*video, *speech))])
    fresh.replace(table)
    return table


def read_pairs(folder: Path, split: str) -> Pairs:
    """One split of `folder`/pairs.csv. Raises DatasetError where a column or the split is missing."""
    table = folder / NAME
    if not table.is_file():
        raise DatasetError(f"{folder} holds no {NAME}: 'bimodal train fusion' writes one under its runs")
    with table.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if set(COLUMNS) - set(rows.fieldnames or ()):
            raise DatasetError(f"{table} needs the columns {', '.join(COLUMNS)}")
        chosen = [row for row in rows if row["split"] == split]
    if not chosen:
        raise DatasetError(f"{table} has no rows of the split '{split}'")
    try:
        values = np.array([[float(row[name]) for name in COLUMNS[2:]] for row in chosen], np.float32)
    except ValueError as error:
        raise DatasetError(f"{table} holds something that is no number: {error}") from error
    labels = [label_of(row["label"], str(table)) for row in chosen]
    if None in labels:
        raise DatasetError(f"{table} has a label outside the seven emotions")
    size = len(OPINION)
    return Pairs(values[:, :size], values[:, size:], np.array(labels, np.int64))
