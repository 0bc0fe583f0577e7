"""Train face-compact on FER+ soft votes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bimodal.models.architectures.face_compact import FaceCompact, standardise
from bimodal.models.session import open_artifact
from bimodal.training.config import FaceConfig, learnt_from
from bimodal.training.datasets.fer2013 import LEFT_OUT, Faces
from bimodal.training.errors import DatasetError
from bimodal.training.evaluate.evaluate import face_probabilities
from bimodal.training.evaluate.metrics import accuracy, uar
from bimodal.training.face.augment import augment, augment_hard, move_and_cover
from bimodal.training.face.start import begin_with, marks_of
from bimodal.training.loop import Plan, Watched, fingerprint, fit, mixed, pick_device

Progress = Callable[[str], None]
MINIMUM_SHARE = 0.5


def split_for_calibration(faces: Faces, every: int) -> tuple[Faces, Faces]:
    """Split into (training, calibration): each `every`-th picture, or person if known, is for calibration.

    No known person is on both sides; at least one of several is held out.
    """
    kept_back = np.arange(len(faces)) % every == every - 1
    people = sorted(set(faces.speakers))
    if len(people) > 1:
        back = set(people[every - 1 :: every]) or {people[-1]}
        kept_back = np.array([speaker in back for speaker in faces.speakers])
    return faces.take(~kept_back), faces.take(kept_back)


def trainable(faces: Faces, all_votes: float = 10.0) -> Faces:
    """Select pictures for which at least half of the ten raters named one of the emotions."""
    return faces.take(faces.votes.sum(axis=1) >= MINIMUM_SHARE * all_votes)


def soft_targets(votes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normalise votes float32 [N, 7] to sum to 1; single votes count as noise (as in Barsoum et al.)."""
    counted = np.where(votes > 1, votes, 0)
    counted = np.where(counted.sum(axis=1, keepdims=True) > 0, counted, votes)
    return np.asarray(counted / counted.sum(axis=1, keepdims=True), dtype=np.float32)


def smoothed(targets: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Apply label smoothing (Szegedy et al. 2016) to targets [N, 7]: `share` is distributed uniformly."""
    return np.asarray((1 - share) * targets + share / targets.shape[1], dtype=np.float32)


def taught(targets: NDArray[np.float32], config: FaceConfig, faces: Faces) -> NDArray[np.float32]:
    """Targets [N, E] joined with the teacher's answers to the pictures as they are (distillation after Hinton et al.
    2015), of which the network sees augmented ones. Raises ArtifactError for a teacher that can't be opened."""
    if config.teacher is None:
        return targets
    teacher = open_artifact(config.teacher, "face-static", provider="cpu")
    answers = face_probabilities(teacher, faces, among=config.among)
    return np.asarray((1 - config.teacher_share) * targets + config.teacher_share * answers, np.float32)


def draw_weights(targets: NDArray[np.float32], balance: float) -> NDArray[np.float64]:
    """Sampling weights of pictures, float64 [N] summing to 1: higher for rare emotions."""
    share = np.maximum(targets.mean(axis=0, dtype=np.float64), 1e-6)
    weights = targets.astype(np.float64) @ share**-balance
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def rate_share(config: FaceConfig, epochs: float) -> float:
    """Share of the learning rate after `epochs` (a float), by the curve of the config."""
    places, shares = zip(*config.curve, strict=True)
    return float(np.interp(epochs, places, shares))


def train_face(config: FaceConfig, faces: Faces, watch: Faces, progress: Progress) -> FaceCompact:
    """Train the network on `faces`; the held-out `watch` is measured after each epoch to choose the weights.

    Resumes an interrupted run. Raises DatasetError if there are fewer than two pictures, TrainingError as `fit`.
    """
    if len(faces) < 2:
        raise DatasetError(f"{config.data} has {len(faces)} trainable pictures, and training needs at least 2")
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    task = FaceTask(config, faces, watch)
    plan = Plan(
        config.name,
        len(config.sizes),
        config.runs / config.name,
        fingerprint([learnt_from(config), faces.names, faces.votes.tobytes()]),
        config.patience,
        config.keep,
    )
    seconds = fit(task, plan, progress)
    progress(f"{config.name}: learning took {seconds:.0f} s")
    return task.network.cpu()


class FaceTask:
    """The training task of face-compact."""

    def __init__(self, config: FaceConfig, faces: Faces, watch: Faces) -> None:
        self._config, self._faces = config, faces
        self._watch = watch.take(watch.majority != LEFT_OUT)
        self._device = pick_device(config.device)
        self._generator = torch.Generator().manual_seed(config.seed)
        self._marks = marks_of(config, faces) if config.augmentation == "hard" else None
        targets = soft_targets(faces.votes)
        self._weights = draw_weights(targets, config.balance)
        self._targets = smoothed(taught(targets, config, faces), config.smoothing)
        self.network = new_network(config, faces)
        self.network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), config.learning_rate, momentum=0.9, nesterov=True,
            weight_decay=config.weight_decay,
        )  # fmt: skip
        batches = max(1, len(faces) // config.batch)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: rate_share(config, step / batches)
        )

    @property
    def steps_an_epoch(self) -> int:
        """Number of full batches."""
        return max(1, len(self._faces) // self._config.batch)

    def epoch(self, number: int) -> Iterator[float]:
        """Train on balanced, augmented batches at this epoch's size; yields the losses."""
        config = self._config
        freeze(self.network, config.frozen)
        for chosen in _batches(self._weights, config.batch, np.random.default_rng((config.seed, number))):
            changed = self._augmented(chosen, config.sizes[number])
            pictures, targets = standardise(changed), torch.from_numpy(self._targets[chosen])
            yield _step(self.network, self.optimizer, pictures.to(self._device), targets.to(self._device), config)
            self.schedule.step()

    def _augmented(self, chosen: NDArray[np.int64], size: int) -> Tensor:
        pictures = torch.from_numpy(self._faces.pictures[chosen])
        if self._marks is not None:
            return augment_hard(pictures, size, self._generator, torch.from_numpy(self._marks[chosen]))
        change = augment if self._config.augmentation == "camera" else move_and_cover
        return change(pictures, size, self._generator)

    def watch(self) -> Watched | None:
        """Measure accuracy and UAR on the held-out pictures."""
        if not len(self._watch):
            return None
        found = logits_of(self.network, self._watch.pictures, side=self._config.sizes[-1]).argmax(axis=1)
        return Watched(accuracy(self._watch.majority, found), uar(self._watch.majority, found))

    def random_state(self) -> dict[str, Any]:
        """State of the augmentation's generator."""
        return {"augmentation": self._generator.get_state()}

    def set_random_state(self, state: dict[str, Any]) -> None:
        """Restore the state."""
        self._generator.set_state(state["augmentation"])


def new_network(config: FaceConfig, faces: Faces) -> FaceCompact:
    """The network of a config, with the weights it starts from. Raises TrainingError where there are none."""
    network = FaceCompact(len(config.emotions), config.widths, config.depth, config.dropout)
    if config.start_from is not None:
        begin_with(network, config.start_from, faces.pictures[:: max(1, len(faces) // 2048)])
    return network


def freeze(network: FaceCompact, layers: int) -> None:
    """Keep the first layers as they are, their batch statistics too."""
    for layer in list(network.features)[:layers]:
        layer.eval().requires_grad_(False)


def logits_of(
    network: FaceCompact, pictures: NDArray[np.uint8], batch: int = 128, side: int | None = None
) -> NDArray[np.float32]:
    """Compute logits float32 [N, classes] of pictures uint8 [N, 48, 48], resized to `side` where given."""
    network.eval()
    device = next(network.parameters()).device
    rows = []
    with torch.inference_mode():
        for start in range(0, len(pictures), batch):
            part = torch.from_numpy(pictures[start : start + batch])[:, None].to(device, torch.float32)
            if side is not None and side != part.shape[-1]:
                part = functional.interpolate(part, (side, side), mode="bilinear", antialias=True)
            rows.append(network(standardise(part))[0].float().cpu().numpy())
    return np.concatenate(rows) if rows else np.zeros((0, network.classify.out_features), np.float32)


def _batches(weights: NDArray[np.float64], batch: int, random: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    drawn = random.choice(len(weights), size=len(weights), p=weights)
    batch = min(batch, len(weights))
    for start in range(0, len(drawn) - batch + 1, batch):
        yield drawn[start : start + batch]


def _step(
    network: FaceCompact, optimizer: torch.optim.Optimizer, pictures: Tensor, targets: Tensor, config: FaceConfig
) -> float:
    with mixed(pictures.device, config.precision):
        logits = network(pictures.contiguous(memory_format=torch.channels_last))[0]
    loss = functional.cross_entropy(logits.float(), targets)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimizer.step()
    return float(loss.detach())
