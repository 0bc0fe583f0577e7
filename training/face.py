"""Train face-compact: FER+ soft votes in, weights out."""

from __future__ import annotations

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
from bimodal.training.augment_faces import augment, move_and_cover
from bimodal.training.checkpoint import fingerprint, load
from bimodal.training.config import NOT_LEARNT_FROM, FaceConfig
from bimodal.training.datasets.fer2013 import LEFT_OUT, Faces
from bimodal.training.device import mixed, pick_device
from bimodal.training.errors import DatasetError, TrainingError
from bimodal.training.loop import Plan, Watched, fit
from bimodal.training.metrics import accuracy, uar

Say = Callable[[str], None]
MINIMUM_SHARE = 0.5


def split_for_calibration(faces: Faces, every: int) -> tuple[Faces, Faces]:
    """(to train on, to calibrate on): each `every`-th picture is calibration's, or each `every`-th person's pictures.

    People that are known are never on both sides; at least one of several is kept back.
    """
    kept_back = np.arange(len(faces)) % every == every - 1
    people = sorted(set(faces.speakers))
    if len(people) > 1:
        back = set(people[every - 1 :: every]) or {people[-1]}
        kept_back = np.array([speaker in back for speaker in faces.speakers])
    return faces.take(~kept_back), faces.take(kept_back)


def trainable(faces: Faces, all_votes: float = 10.0) -> Faces:
    """Pictures for which at least half of the ten raters named one of the seven emotions."""
    return faces.take(faces.votes.sum(axis=1) >= MINIMUM_SHARE * all_votes)


def soft_targets(votes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Votes float32 [N, 7] → shares that sum to 1; a single vote counts as noise (as in Barsoum et al.)."""
    heard = np.where(votes > 1, votes, 0)
    heard = np.where(heard.sum(axis=1, keepdims=True) > 0, heard, votes)
    return np.asarray(heard / heard.sum(axis=1, keepdims=True), dtype=np.float32)


def smoothed(targets: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Targets [N, 7] of which `share` is given to all emotions alike (label smoothing, Szegedy et al. 2016)."""
    return np.asarray((1 - share) * targets + share / targets.shape[1], dtype=np.float32)


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
    """Fit the network on `faces`; `watch` (never trained on) is measured after each epoch and chooses the weights.

    Goes on with a run that was cut off. Raises DatasetError where there are not two pictures to train on, TrainingError
    as `fit`.
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
        fingerprint([config.model_dump(mode="json", exclude=NOT_LEARNT_FROM), faces.names, faces.votes.tobytes()]),
        config.patience,
        config.keep,
    )
    seconds = fit(task, plan, say)
    say(f"{config.name}: learning took {seconds:.0f} s")
    return task.network.cpu()


class FaceTask:
    """What `fit` needs to know about face-compact."""

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
        """Whole batches only."""
        return max(1, len(self._faces) // self._config.batch)

    def epoch(self, number: int) -> Iterator[float]:
        """Balanced, augmented batches at this epoch's size."""
        config, faces = self._config, self._faces
        for chosen in _batches(self._weights, config.batch, np.random.default_rng((config.seed, number))):
            changed = self._augment(torch.from_numpy(faces.pictures[chosen]), config.sizes[number], self._generator)
            pictures, targets = standardise(changed), torch.from_numpy(self._targets[chosen])
            yield _step(self.network, self.optimizer, pictures.to(self._device), targets.to(self._device), config)
            self.schedule.step()

    def watch(self) -> Watched | None:
        """Accuracy and UAR on the pictures kept back."""
        if not len(self._watch):
            return None
        found = logits_of(self.network, self._watch.pictures).argmax(axis=1)
        return Watched(accuracy(self._watch.majority, found), uar(self._watch.majority, found))

    def random_state(self) -> dict[str, Any]:
        """That of the augmentation."""
        return {"augmentation": self._generator.get_state()}

    def set_random_state(self, state: dict[str, Any]) -> None:
        """Put it back."""
        self._generator.set_state(state["augmentation"])


def begin_with(network: FaceCompact, path: Path) -> None:
    """Give the network the best weights of another run.

    Raises TrainingError where there are none at `path`, or they are another network's.
    """
    state = load(path)
    if state is None:
        raise TrainingError(f"there are no weights {path} to start from: run 'bimodal train face' first")
    try:
        network.load_state_dict(state["network"])
    except (KeyError, RuntimeError) as error:
        raise TrainingError(f"the weights in {path} are another network's: give both configs the same sizes") from error


def logits_of(network: FaceCompact, pictures: NDArray[np.uint8], batch: int = 128) -> NDArray[np.float32]:
    """uint8 [N, 48, 48] → logits float32 [N, 7]."""
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
