"""Train face-compact: FER+ soft votes in, weights out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.architectures.face_compact import FaceCompact, standardise
from models.emotions import EMOTIONS
from training.augment_faces import augment
from training.config import FaceConfig
from training.datasets.fer2013 import LEFT_OUT, Faces
from training.errors import DatasetError
from training.metrics import accuracy, uar

Say = Callable[[str], None]
MINIMUM_SHARE = 0.5


def split_for_calibration(faces: Faces, every: int) -> tuple[Faces, Faces]:
    """(to train on, to calibrate on): each `every`-th picture is calibration's."""
    kept_back = np.arange(len(faces)) % every == every - 1
    return faces.take(~kept_back), faces.take(kept_back)


def trainable(faces: Faces, all_votes: float = 10.0) -> Faces:
    """Pictures for which at least half of the ten raters named one of the seven emotions."""
    return faces.take(faces.votes.sum(axis=1) >= MINIMUM_SHARE * all_votes)


def soft_targets(votes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Votes float32 [N, 7] → shares that sum to 1; a single vote counts as noise (as in Barsoum et al.)."""
    heard = np.where(votes > 1, votes, 0)
    heard = np.where(heard.sum(axis=1, keepdims=True) > 0, heard, votes)
    return np.asarray(heard / heard.sum(axis=1, keepdims=True), dtype=np.float32)


def draw_weights(targets: NDArray[np.float32], balance: float) -> NDArray[np.float64]:
    """How often each picture is drawn, float64 [N] summing to 1: pictures of rare emotions more often."""
    share = np.maximum(targets.mean(axis=0, dtype=np.float64), 1e-6)
    weights = targets.astype(np.float64) @ share**-balance
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def rate_share(config: FaceConfig, epochs: float) -> float:
    """Share of the learning rate after so many epochs (a float): the curve of the config."""
    places, shares = zip(*config.curve, strict=True)
    return float(np.interp(epochs, places, shares))


def train_face(config: FaceConfig, faces: Faces, watch: Faces, say: Say) -> FaceCompact:
    """Fit the network on `faces`; `watch` (never trained on) is only measured after each epoch.

    Raises DatasetError where there are not two pictures to train on.
    """
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    generator = torch.Generator().manual_seed(config.seed)
    targets = soft_targets(faces.votes)
    if len(faces) < 2:
        raise DatasetError(f"{config.data} has {len(faces)} trainable pictures, and training needs at least 2")
    network = FaceCompact(len(EMOTIONS), config.widths, config.depth, config.dropout)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    optimizer = torch.optim.SGD(
        network.parameters(), config.learning_rate, momentum=0.9, nesterov=True, weight_decay=config.weight_decay
    )
    batches = max(1, len(faces) // config.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_share(config, step / batches))
    weights = draw_weights(targets, config.balance)
    for epoch, size in enumerate(config.sizes):
        started, losses = time.monotonic(), []
        for chosen in _batches(weights, config.batch, np.random.default_rng((config.seed, epoch))):
            pictures = standardise(augment(torch.from_numpy(faces.pictures[chosen]), size, generator))
            losses.append(_step(network, optimizer, pictures, torch.from_numpy(targets[chosen]), config.precision))
            schedule.step()
        save_weights(network, config)
        say(
            f"epoch {epoch + 1}/{len(config.sizes)} at {size} px: loss {np.mean(losses):.3f}, "
            f"{_watched(network, watch)}, {time.monotonic() - started:.0f} s"
        )
    return network.eval()


def save_weights(network: FaceCompact, config: FaceConfig) -> None:
    """A plain state dict under the runs folder."""
    folder = config.runs / config.name
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), folder / "weights.pt")


def logits_of(network: FaceCompact, pictures: NDArray[np.uint8], batch: int = 128) -> NDArray[np.float32]:
    """uint8 [N, 48, 48] → logits float32 [N, 7]."""
    network.eval()
    rows = []
    with torch.inference_mode():
        for start in range(0, len(pictures), batch):
            part = torch.from_numpy(pictures[start : start + batch])[:, None].to(torch.float32)
            rows.append(network(standardise(part))[0].float().numpy())
    return np.concatenate(rows) if rows else np.zeros((0, len(EMOTIONS)), np.float32)


def _batches(weights: NDArray[np.float64], batch: int, random: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    drawn = random.choice(len(weights), size=len(weights), p=weights)
    batch = min(batch, len(weights))
    for start in range(0, len(drawn) - batch + 1, batch):
        yield drawn[start : start + batch]


def _step(
    network: FaceCompact, optimizer: torch.optim.Optimizer, pictures: Tensor, targets: Tensor, precision: str
) -> float:
    network.train()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        logits = network(pictures.contiguous(memory_format=torch.channels_last))[0]
    loss = functional.cross_entropy(logits.float(), targets)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimizer.step()
    return float(loss.detach())


def _watched(network: FaceCompact, watch: Faces) -> str:
    decided = watch.take(watch.majority != LEFT_OUT)
    if not len(decided):
        return "nothing to watch"
    found = logits_of(network, decided.pictures).argmax(axis=1)
    return f"accuracy {accuracy(decided.majority, found):.3f}, UAR {uar(decided.majority, found):.3f} (kept back)"
