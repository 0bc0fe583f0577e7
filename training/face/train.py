"""Train face-compact on FER+ soft votes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bimodal.models.architectures.face_compact import FaceCompact, standardise
from bimodal.models.emotions import EMOTIONS
from bimodal.training.config import FaceConfig, learnt_from
from bimodal.training.datasets.fer2013 import LEFT_OUT, Faces
from bimodal.training.errors import DatasetError, TrainingError
from bimodal.training.evaluate.metrics import accuracy, uar
from bimodal.training.loop import Plan, Watched, fingerprint, fit, load, mixed, pick_device

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
    """Select pictures for which at least half of the ten raters named one of the seven emotions."""
    return faces.take(faces.votes.sum(axis=1) >= MINIMUM_SHARE * all_votes)


def soft_targets(votes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normalise votes float32 [N, 7] to sum to 1; single votes count as noise (as in Barsoum et al.)."""
    counted = np.where(votes > 1, votes, 0)
    counted = np.where(counted.sum(axis=1, keepdims=True) > 0, counted, votes)
    return np.asarray(counted / counted.sum(axis=1, keepdims=True), dtype=np.float32)


def smoothed(targets: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Apply label smoothing (Szegedy et al. 2016) to targets [N, 7]: `share` is distributed uniformly."""
    return np.asarray((1 - share) * targets + share / targets.shape[1], dtype=np.float32)


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
        self._augment = augment if config.augmentation == "camera" else move_and_cover
        targets = soft_targets(faces.votes)
        self._weights = draw_weights(targets, config.balance)
        self._targets = smoothed(targets, config.smoothing)
        self.network = FaceCompact(len(EMOTIONS), config.widths, config.depth, config.dropout)
        if config.start_from is not None:
            begin_with(self.network, config.start_from)
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
        config, faces = self._config, self._faces
        for chosen in _batches(self._weights, config.batch, np.random.default_rng((config.seed, number))):
            changed = self._augment(torch.from_numpy(faces.pictures[chosen]), config.sizes[number], self._generator)
            pictures, targets = standardise(changed), torch.from_numpy(self._targets[chosen])
            yield _step(self.network, self.optimizer, pictures.to(self._device), targets.to(self._device), config)
            self.schedule.step()

    def watch(self) -> Watched | None:
        """Measure accuracy and UAR on the held-out pictures."""
        if not len(self._watch):
            return None
        found = logits_of(self.network, self._watch.pictures).argmax(axis=1)
        return Watched(accuracy(self._watch.majority, found), uar(self._watch.majority, found))

    def random_state(self) -> dict[str, Any]:
        """State of the augmentation's generator."""
        return {"augmentation": self._generator.get_state()}

    def set_random_state(self, state: dict[str, Any]) -> None:
        """Restore the state."""
        self._generator.set_state(state["augmentation"])


def begin_with(network: FaceCompact, path: Path) -> None:
    """Load the best weights of another run.

    Raises TrainingError if `path` does not hold weights of this network.
    """
    state = load(path)
    if state is None:
        raise TrainingError(f"there are no weights {path} to start from: run 'bimodal train face' first")
    try:
        network.load_state_dict(state["network"])
    except (KeyError, RuntimeError) as error:
        raise TrainingError(f"the weights in {path} are another network's: give both configs the same sizes") from error


def logits_of(network: FaceCompact, pictures: NDArray[np.uint8], batch: int = 128) -> NDArray[np.float32]:
    """Compute logits float32 [N, 7] of pictures uint8 [N, 48, 48]."""
    network.eval()
    device = next(network.parameters()).device
    rows = []
    with torch.inference_mode():
        for start in range(0, len(pictures), batch):
            part = torch.from_numpy(pictures[start : start + batch])[:, None].to(device, torch.float32)
            rows.append(network(standardise(part))[0].float().cpu().numpy())
    return np.concatenate(rows) if rows else np.zeros((0, len(EMOTIONS)), np.float32)


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


# Augmentation: the effects of a live camera on a face that FER2013's pictures lack. Batches of float32 [N, 1, H, W] in
# 0…255, with an explicit generator, so that a seed repeats a run.

DEGREES = 15.0
SCALES = (0.85, 1.2)
SHIFT = 0.08


def augment(pictures: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Augment uint8 [N, 48, 48] to float32 [N, 1, size, size] in 0…255: move, mirror, blur, relight, noise, cover."""
    moved = move(pictures[:, None].to(torch.float32), size, generator)
    seen = add_noise(relight(blur(moved, generator), generator), generator)
    return cover(torch.round(seen.clamp(0, 255)), generator)


def move_and_cover(pictures: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Augment as `augment`, but only move, mirror and cover."""
    return cover(torch.round(move(pictures[:, None].to(torch.float32), size, generator)), generator)


def uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Draw float32 [count] between low and high."""
    return torch.rand(count, generator=generator) * (high - low) + low


def move(pictures: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Rotate, scale, shift and mirror, sampled at `size`; the border is repeated."""
    count = len(pictures)
    angle = uniform(count, -DEGREES, DEGREES, generator) * math.pi / 180
    scale = uniform(count, *SCALES, generator)
    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    shift = uniform(2 * count, -2 * SHIFT, 2 * SHIFT, generator).view(count, 2)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = scale * mirror * torch.cos(angle)
    theta[:, 0, 1] = -scale * torch.sin(angle)
    theta[:, 1, 0] = scale * mirror * torch.sin(angle)
    theta[:, 1, 1] = scale * torch.cos(angle)
    theta[:, :, 2] = shift
    grid = functional.affine_grid(theta, [count, 1, size, size], align_corners=False)
    return functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def blur(pictures: Tensor, generator: torch.Generator, share: float = 0.35) -> Tensor:
    """Blur a share of the pictures by 0.4–1.4 px (Gaussian), like small or moving faces."""
    count, _, height, width = pictures.shape
    sigma = uniform(count, 0.4, 1.4, generator)
    sigma[torch.rand(count, generator=generator) >= share] = 0.1
    taps = torch.exp(-(torch.arange(-2.0, 3.0) ** 2) / (2 * sigma[:, None] ** 2))
    taps = taps / taps.sum(dim=1, keepdim=True)
    stack = functional.pad(pictures.view(1, count, height, width), (2, 2, 2, 2), mode="replicate")
    stack = functional.conv2d(stack, taps.view(count, 1, 5, 1), groups=count)
    return functional.conv2d(stack, taps.view(count, 1, 1, 5), groups=count).view_as(pictures)


def relight(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Change gamma, side light, contrast and brightness; highlights clip as in a sensor."""
    count, _, height, width = pictures.shape
    gamma = torch.exp(uniform(count, -0.4, 0.4, generator)).view(-1, 1, 1, 1)
    lit = 255 * (pictures / 255).clamp(1e-4, 1) ** gamma
    slope = uniform(2 * count, -0.3, 0.3, generator).view(2, count, 1, 1, 1)
    across = torch.linspace(-1, 1, width).view(1, 1, 1, width)
    down = torch.linspace(-1, 1, height).view(1, 1, height, 1)
    lit = lit * (1 + slope[0] * across + slope[1] * down).clamp(min=0.2)
    contrast = uniform(count, 0.6, 1.3, generator).view(-1, 1, 1, 1)
    brightness = uniform(count, -25, 25, generator).view(-1, 1, 1, 1)
    lit = ((lit - 128) * contrast + 128 + brightness).clamp(0, 255)
    dark = uniform(count, 0.12, 0.4, generator)
    dark[torch.rand(count, generator=generator) >= 0.12] = 1.0
    return lit * dark.view(-1, 1, 1, 1)


def add_noise(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Add sensor noise of 0–6 grey levels to half of the pictures."""
    count = len(pictures)
    level = uniform(count, 0, 6, generator)
    level[torch.rand(count, generator=generator) < 0.5] = 0.0
    return pictures + level.view(-1, 1, 1, 1) * torch.randn(pictures.shape, generator=generator)


def cover(pictures: Tensor, generator: torch.Generator, share: float = 0.4) -> Tensor:
    """Cover a share of the pictures with a grey rectangle of up to 0.4 × 0.4 of the side, like hands or hair."""
    count, _, height, width = pictures.shape
    rows, columns = torch.arange(height).view(1, 1, -1, 1), torch.arange(width).view(1, 1, 1, -1)

    def band(places: Tensor, side: int) -> Tensor:
        length = (uniform(count, 0.1, 0.4, generator) * side).view(-1, 1, 1, 1)
        start = (torch.rand(count, generator=generator) * side).view(-1, 1, 1, 1) - length / 2
        return (places >= start) & (places < start + length)

    covered = band(rows, height) & band(columns, width)
    covered &= (torch.rand(count, generator=generator) < share).view(-1, 1, 1, 1)
    return torch.where(covered, uniform(count, 0, 255, generator).view(-1, 1, 1, 1), pictures)
