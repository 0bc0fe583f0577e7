"""The loop that every training shares: epochs, progress, the best weights, early stop, and going on after a kill."""

from __future__ import annotations

import hashlib
import math
import os
import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from bimodal.training.errors import TrainingError

# The state of a run on disk: written whole or not at all, read without pickle's powers.


State = dict[str, Any]


def save(path: Path, state: State) -> None:
    """Write tensors and plain values to `path` in one move, on disk before the old file goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def load(path: Path) -> State | None:
    """What `save` wrote, or None where there is no file.

    Raises TrainingError where the file is none of ours.
    """
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise TrainingError(f"{path} is no checkpoint of this program: begin anew with --fresh") from error
    if not isinstance(state, dict):
        raise TrainingError(f"{path} is no checkpoint of this program: begin anew with --fresh")
    return state


def fingerprint(parts: Iterable[object]) -> str:
    """A short word that changes with the config and the data of a run."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update((part if isinstance(part, bytes) else repr(part).encode()) + b"\0")
    return digest.hexdigest()[:16]


Say = Callable[[str], None]
CHECKPOINT, BEST = "checkpoint.pt", "best.pt"


class Watched(NamedTuple):
    """What the network makes of examples that it does not learn from."""

    accuracy: float
    uar: float


class Task(Protocol):
    """One network and all that it learns from. An epoch's steps depend on nothing but the state that is saved."""

    @property
    def network(self) -> nn.Module:
        """What learns."""
        ...

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """How it learns."""
        ...

    @property
    def schedule(self) -> torch.optim.lr_scheduler.LRScheduler:
        """How fast."""
        ...

    @property
    def steps_an_epoch(self) -> int:
        """How many steps `epoch` takes."""
        ...

    def epoch(self, number: int) -> Iterator[float]:
        """Learn from everything once; the loss of each step. `number` counts from 0."""
        ...

    def watch(self) -> Watched | None:
        """Measure on examples kept back; None where there are none."""
        ...

    def random_state(self) -> dict[str, Any]:
        """The state of the task's own generators: tensors and plain values."""
        ...

    def set_random_state(self, state: dict[str, Any]) -> None:
        """Put them back."""
        ...


@dataclass(frozen=True)
class Plan:
    """How a run goes.

    Attributes:
        title: what the progress bar says.
        epochs: at most so many.
        folder: gets checkpoint.pt and best.pt.
        fingerprint: of config and data; a checkpoint of another one is not gone on with.
        patience: epochs without a better UAR after which the run stops; 0 never stops it.
        keep: whether the network ends with the best weights or with the last.
    """

    title: str
    epochs: int
    folder: Path
    fingerprint: str
    patience: int = 0
    keep: Literal["best", "last"] = "best"


@dataclass
class _Progress:
    """How far a run is."""

    done: int = 0
    best: float = -math.inf
    best_epoch: int = -1
    seconds: float = 0.0

    def stops(self, plan: Plan) -> bool:
        waited = self.done - 1 - self.best_epoch
        return self.done >= plan.epochs or bool(plan.patience and self.best_epoch >= 0 and waited >= plan.patience)


def fit(task: Task, plan: Plan, say: Say) -> float:
    """Train, or go on with a run that was cut off; the network ends with the weights that `plan.keep` names.

    A checkpoint (weights, optimizer, schedule, all random generators) is written after each epoch in one move, so a
    run that was killed at any moment and started again ends with the same weights as one that was not.

    Returns the seconds that learning took, over all sittings.

    Raises TrainingError where the folder holds the run of another config or of other data.
    """
    progress = _resume(task, plan, say)
    steps = task.steps_an_epoch
    with tqdm(total=plan.epochs * steps, initial=progress.done * steps, desc=plan.title, disable=None) as bar:
        while not progress.stops(plan):
            _epoch(task, plan, progress, bar, say)
    if progress.done < plan.epochs:
        say(f"{plan.title}: stopped early, no better UAR since epoch {progress.best_epoch + 1}")
    if plan.keep == "best" and progress.best_epoch >= 0:
        best = load(plan.folder / BEST)
        if best is None:
            raise TrainingError(f"{plan.folder / BEST} is missing: begin anew with --fresh")
        task.network.load_state_dict(best["network"])
    task.network.eval()
    return progress.seconds


def forget(folder: Path) -> None:
    """Begin anew: remove the checkpoints under a run's folder."""
    for name in (CHECKPOINT, BEST):
        for path in folder.rglob(name):
            path.unlink()


def _epoch(task: Task, plan: Plan, progress: _Progress, bar: Any, say: Say) -> None:
    started, losses = time.monotonic(), []
    task.network.train()
    for loss in task.epoch(progress.done):
        losses.append(loss)
        bar.update()
        bar.set_postfix_str(f"loss {np.mean(losses[-50:]):.3f}", refresh=False)
    if not losses or not math.isfinite(losses[-1]):
        raise TrainingError(f"{plan.title}: the loss is no number any more: lower learning_rate")
    task.network.eval()
    watched = task.watch()
    progress.seconds += time.monotonic() - started
    told = "nothing is kept back to watch"
    if watched is not None:
        told = f"accuracy {watched.accuracy:.3f}, UAR {watched.uar:.3f} (kept back)"
        if watched.uar > progress.best:
            progress.best, progress.best_epoch = watched.uar, progress.done
            save(plan.folder / BEST, {"network": task.network.state_dict()})
    bar.set_postfix_str(f"loss {np.mean(losses):.3f}, {told}")
    progress.done += 1
    _save(task, plan, progress)
    say(f"{plan.title}, epoch {progress.done}/{plan.epochs}: loss {np.mean(losses):.3f}, {told}")


def _save(task: Task, plan: Plan, progress: _Progress) -> None:
    state = {
        "fingerprint": plan.fingerprint,
        "progress": [progress.done, progress.best, progress.best_epoch, progress.seconds],
        "network": task.network.state_dict(),
        "optimizer": task.optimizer.state_dict(),
        "schedule": task.schedule.state_dict(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "task": task.random_state(),
    }
    save(plan.folder / CHECKPOINT, state)


def _resume(task: Task, plan: Plan, say: Say) -> _Progress:
    state = load(plan.folder / CHECKPOINT)
    if state is None:
        return _Progress()
    if state.get("fingerprint") != plan.fingerprint:
        raise TrainingError(
            f"{plan.folder} holds a run with another config or other data: begin anew with --fresh, or set 'runs'"
        )
    task.network.load_state_dict(state["network"])
    task.optimizer.load_state_dict(state["optimizer"])
    task.schedule.load_state_dict(state["schedule"])
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    task.set_random_state(state["task"])
    done, best, best_epoch, seconds = state["progress"]
    progress = _Progress(int(done), float(best), int(best_epoch), float(seconds))
    word = "is complete" if progress.stops(plan) else f"goes on after epoch {progress.done}"
    say(f"{plan.title}: the run in {plan.folder} {word}")
    return progress


# Where a network learns: CPU or CUDA, and with how many bits.


Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["float32", "bfloat16"]


def pick_device(wanted: Device) -> torch.device:
    """`auto` is CUDA where it works. Raises TrainingError where CUDA is asked for and there is none."""
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise TrainingError("'device: cuda' was asked for, but torch finds no CUDA: set 'device: cpu'")
    return torch.device("cuda" if there and wanted != "cpu" else "cpu")


def mixed(device: torch.device, precision: Precision) -> torch.autocast:
    """The context in which a forward pass runs: bfloat16 where asked for (it needs no scaled gradients)."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


class Elsewhere(nn.Module):
    """A network on another device for code that holds its tensors on the CPU: what comes out is on the CPU again."""

    def __init__(self, network: nn.Module, device: torch.device, precision: Precision) -> None:
        super().__init__()
        self.network = network
        self._device, self._precision = device, precision

    def forward(self, features: Tensor) -> Tensor:
        """Features on the CPU → logits float32 on the CPU."""
        with mixed(self._device, self._precision):
            logits: Tensor = self.network(features.to(self._device))
        return logits.float().cpu()
