"""Train face-dynamic-compact on sequences of embeddings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from tqdm import tqdm

from bimodal.models.architectures.face_dynamic_compact import FaceDynamicCompact
from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.models.session import Artifact
from bimodal.training.config import DynamicConfig
from bimodal.training.datasets.items import Item
from bimodal.training.datasets.loading import colour
from bimodal.training.errors import DatasetError, TrainingError
from bimodal.training.evaluate.evaluate import over_emotions
from bimodal.training.evaluate.metrics import accuracy, uar
from bimodal.training.loop import Watched, fingerprint, mixed, pick_device


class DynamicTask:
    """The training task; without real recordings, sequences are composed anew in each epoch.

    Args:
        faces: embedded training pictures.
        labels: int64 [N] of each face, for composing.
        real: windows of real recordings, or None to compose.
        watched: held-out (faces, sequences).
    """

    def __init__(
        self,
        config: DynamicConfig,
        faces: Embedded,
        labels: NDArray[np.int64],
        real: Sequences | None,
        watched: tuple[Embedded, Sequences],
    ) -> None:
        self._config, self._faces, self._labels, self._real, self._watched = config, faces, labels, real, watched
        self._random = np.random.default_rng(config.seed)
        self._device = pick_device(config.device)
        self.network = FaceDynamicCompact(
            faces.embeddings.shape[1], len(config.emotions), config.hidden, config.dropout
        )
        self.network.to(self._device)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
        total = config.epochs * self.steps_an_epoch
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, config.learning_rate, total_steps=total + 1)

    @property
    def steps_an_epoch(self) -> int:
        """Number of full batches, at least one."""
        count = len(self._real) if self._real is not None else self._config.sequences
        return max(1, count // self._config.batch)

    def epoch(self, _number: int) -> Iterator[float]:
        """Train on every window once; yields the losses."""
        config = self._config
        learnt = self._real
        if learnt is None:
            learnt = compose(self._labels, config.sequences, config.steps, self._random, config.among)
        order = self._random.permutation(len(learnt))
        for step in range(self.steps_an_epoch):
            chosen = order[step * config.batch : (step + 1) * config.batch]
            embeddings = self._faces.embeddings[learnt.places[chosen]]
            level = config.noise * embeddings.std()
            noise = level * self._random.standard_normal(embeddings.shape, dtype=np.float32)
            yield self._step(np.maximum(embeddings + noise, 0).astype(np.float32), learnt.labels[chosen])
            self.schedule.step()

    def _step(self, embeddings: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
        with mixed(self._device, self._config.precision):
            logits = self.network(torch.from_numpy(embeddings).to(self._device))
        targets = torch.from_numpy(labels).to(self._device)
        loss = functional.cross_entropy(logits.float(), targets, label_smoothing=self._config.smoothing)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        return float(loss.detach())

    def watch(self) -> Watched | None:
        """Measure accuracy and UAR on the held-out sequences."""
        faces, sequences = self._watched
        if not len(sequences):
            return None
        found = logits_of(self.network, faces, sequences).argmax(axis=1)
        return Watched(accuracy(sequences.labels, found), uar(sequences.labels, found))

    def random_state(self) -> dict[str, Any]:
        """State of composing and noise, as text, since its integers exceed those of tensors."""
        return {"sequences": json.dumps(self._random.bit_generator.state)}

    def set_random_state(self, state: dict[str, Any]) -> None:
        """Restore the state."""
        self._random.bit_generator.state = json.loads(state["sequences"])


def logits_of(
    network: FaceDynamicCompact, faces: Embedded, sequences: Sequences, batch: int = 256
) -> NDArray[np.float32]:
    """Compute logits float32 [M, E] of every sequence."""
    network.eval()
    device = next(network.parameters()).device
    rows = []
    with torch.inference_mode():
        for start in range(0, len(sequences), batch):
            part = faces.embeddings[sequences.places[start : start + batch]]
            rows.append(network(torch.from_numpy(part).to(device)).float().cpu().numpy())
    return np.concatenate(rows)


def static_means(faces: Embedded, sequences: Sequences) -> NDArray[np.float64]:
    """Average the static probabilities over each window, float64 [M, E]: the baseline."""
    return np.asarray(faces.probabilities[sequences.places].mean(axis=1, dtype=np.float64))


# Sequences of faces, from real recordings or composed of single pictures. In a composed sequence the frames show
# different people: one emotion rises out of neutral frames (onset), holds (peak) and may fall again (offset), with an
# occasional distractor. Where a set has no neutral, it rises out of another emotion and holds for most of the window,
# so that the label is what the window shows most.
# A picture is kept for one to four steps, as a misread face stays misread in a video.

LONGEST_HOLD = 4
DISTRACTED = 0.15
SHORTEST_PEAK = 0.3
"""Least share of the window that shows the emotion of the sequence's label."""


@dataclass(frozen=True)
class Sequences:
    """Windows of a track.

    Attributes:
        places: int64 [M, T], index of the picture of each step.
        labels: int64 [M], indices into the emotions.
    """

    places: NDArray[np.int64]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.labels)


def compose(
    labels: NDArray[np.int64], count: int, steps: int, random: np.random.Generator, among: EmotionSet = SEVEN
) -> Sequences:
    """Compose `count` sequences of pictures with these labels (int64 [N]), with equal numbers of each emotion.

    Raises DatasetError if there is no neutral picture, though the set has a neutral, or no other emotion.
    """
    by_emotion = {emotion: np.flatnonzero(labels == emotion) for emotion in range(len(among.emotions))}
    there = [emotion for emotion, places in by_emotion.items() if len(places)]
    neutral = neutral_of(among)
    if neutral is not None and (neutral not in there or len(there) < 2):
        raise DatasetError("sequences are composed of neutral pictures and others: this data lacks one of the two")
    if len(there) < 2:
        raise DatasetError(f"sequences are composed of two of {among.words} at least: this data has fewer")
    rows, named = [], []
    for number in range(count):
        emotion = there[number % len(there)]
        shown = _course(emotion, there, steps, random, neutral)
        rows.append(_held(shown, by_emotion, random))
        named.append(emotion)
    return Sequences(np.stack(rows), np.array(named, np.int64))


def neutral_of(among: EmotionSet) -> int | None:
    """Index of the emotion of a set that means neutral; None where there is none."""
    name = among.meant_by("neutral")
    return among.emotions.index(name) if name in among.emotions else None


def _course(
    emotion: int, there: Sequence[int], steps: int, random: np.random.Generator, neutral: int | None
) -> NDArray[np.int64]:
    """Draw the emotion of each step, int64 [steps]."""
    shortest = max(1, round(SHORTEST_PEAK * steps)) if neutral is not None else steps // 2 + 1
    peak = int(random.integers(shortest, steps + 1))
    onset = int(random.integers(0, steps - peak + 1))
    ground = neutral
    if ground is None:
        others = [other for other in there if other != emotion]
        ground = others[int(random.integers(len(others)))]
    shown = np.full(steps, ground, np.int64)
    shown[onset : onset + peak] = emotion
    if peak > shortest and random.random() < DISTRACTED * 2:
        others = [other for other in there if other != emotion]
        place = int(random.integers(steps))
        shown[place] = others[int(random.integers(len(others)))]
    return shown


def _held(
    shown: NDArray[np.int64], by_emotion: dict[int, NDArray[np.int64]], random: np.random.Generator
) -> NDArray[np.int64]:
    """Draw a picture for each step; it is kept while its emotion stays, for at most LONGEST_HOLD steps."""
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
    """Make every window of real recordings, one per step, as in fusion.

    Args:
        tracks: of each recording, (index of the picture, time in seconds) in order of time.
        labels: of each recording.

    A lost face keeps its last picture for the missing steps. A recording shorter than a window begins with its first
    picture repeated.
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
    """Index of the picture at each multiple of the interval between the first and the last."""
    first, last = round(track[0][1] / interval_s), round(track[-1][1] / interval_s)
    line, newest = [], 0
    for step in range(first, last + 1):
        while newest + 1 < len(track) and round(track[newest + 1][1] / interval_s) <= step:
            newest += 1
        line.append(track[newest][0])
    return line


# Outputs of a face-static artifact on pictures, cached beside the runs.

BATCH = 64


@dataclass(frozen=True)
class Embedded:
    """Outputs of a static model on pictures.

    Attributes:
        embeddings: float32 [N, D].
        probabilities: float32 [N, E] over the emotions.
    """

    embeddings: NDArray[np.float32]
    probabilities: NDArray[np.float32]

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.embeddings)


def embed(artifact: Artifact, items: Sequence[Item], cache: Path, among: EmotionSet = SEVEN) -> Embedded:
    """Run the model on every picture, cached in `cache` for the same model, pictures and set.

    Raises TrainingError if the artifact has no embedding output, ArtifactError if it knows none of the set,
    DatasetError if a picture can't be read.
    """
    if not any(output.name == "embedding" for output in artifact.outputs):
        raise TrainingError(f"{artifact.path} gives no embedding, and a dynamic model needs one: name another 'static'")
    names = [(str(item.path), item.time_s) for item in items]
    asked = [] if among.is_seven else [among.emotions]
    path = cache / f"embeddings-{fingerprint([artifact.identity, artifact.path.stat().st_size, names, *asked])}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as known:
            return Embedded(known["embeddings"], known["probabilities"])
    found = _run(artifact, items, among)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.stem}.new.npz")
    np.savez(fresh, embeddings=found.embeddings, probabilities=found.probabilities)
    fresh.replace(path)
    return found


def _run(artifact: Artifact, items: Sequence[Item], among: EmotionSet) -> Embedded:
    side = artifact.inputs[0].shape[1]
    size = side if isinstance(side, int) else colour(items[0], 112).shape[0]
    embeddings, probabilities = [], []
    for start in tqdm(range(0, len(items), BATCH), desc="embeddings", unit="batch", disable=None):
        faces = np.stack([colour(item, size) for item in items[start : start + BATCH]])
        answer = artifact.run(faces=faces)
        embeddings.append(answer["embedding"].astype(np.float16).astype(np.float32))  # as face workers send them
        probabilities.append(over_emotions(artifact.metadata, answer["probabilities"], among).astype(np.float32))
    return Embedded(np.concatenate(embeddings), np.concatenate(probabilities))
