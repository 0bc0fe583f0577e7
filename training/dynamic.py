"""Train face-dynamic-compact on sequences of embeddings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from bimodal.models.architectures.face_dynamic_compact import FaceDynamicCompact
from bimodal.models.emotions import EMOTIONS
from bimodal.training.config_derived import DynamicConfig
from bimodal.training.device import mixed, pick_device
from bimodal.training.embeddings import Embedded
from bimodal.training.loop import Watched
from bimodal.training.metrics import accuracy, uar
from bimodal.training.sequences import Sequences, compose


class DynamicTask:
    """What `fit` needs to know: composed anew each epoch where there are no real recordings.

    Args:
        faces: what is learnt from.
        labels: int64 [N] of each face, for composing.
        real: windows of real recordings, or None to compose.
        watched: (faces, sequences) that are only measured.
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
        self.network = FaceDynamicCompact(faces.embeddings.shape[1], len(EMOTIONS), config.hidden, config.dropout)
        self.network.to(self._device)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
        total = config.epochs * self.steps_an_epoch
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, config.learning_rate, total_steps=total + 1)

    @property
    def steps_an_epoch(self) -> int:
        """Whole batches only, one at least."""
        count = len(self._real) if self._real is not None else self._config.sequences
        return max(1, count // self._config.batch)

    def epoch(self, _number: int) -> Iterator[float]:
        """Every window once."""
        config = self._config
        learnt = self._real
        if learnt is None:
            learnt = compose(self._labels, config.sequences, config.steps, self._random)
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
        """Accuracy and UAR on the sequences kept back."""
        faces, sequences = self._watched
        if not len(sequences):
            return None
        found = logits_of(self.network, faces, sequences).argmax(axis=1)
        return Watched(accuracy(sequences.labels, found), uar(sequences.labels, found))

    def random_state(self) -> dict[str, Any]:
        """Of composing and of noise, as text: its integers are longer than a tensor's."""
        return {"sequences": json.dumps(self._random.bit_generator.state)}

    def set_random_state(self, state: dict[str, Any]) -> None:
        """Put it back."""
        self._random.bit_generator.state = json.loads(state["sequences"])


def logits_of(
    network: FaceDynamicCompact, faces: Embedded, sequences: Sequences, batch: int = 256
) -> NDArray[np.float32]:
    """Logits float32 [M, 7] of every sequence."""
    network.eval()
    device = next(network.parameters()).device
    rows = []
    with torch.inference_mode():
        for start in range(0, len(sequences), batch):
            part = faces.embeddings[sequences.places[start : start + batch]]
            rows.append(network(torch.from_numpy(part).to(device)).float().cpu().numpy())
    return np.concatenate(rows)


def static_means(faces: Embedded, sequences: Sequences) -> NDArray[np.float64]:
    """What averaging the static probabilities over each window gives, float64 [M, 7]: the mark to beat."""
    return np.asarray(faces.probabilities[sequences.places].mean(axis=1, dtype=np.float64))
