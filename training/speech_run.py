"""Speech runs that go on after a kill: validation by actor, and learning around a checkpoint each epoch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from bimodal.training.checkpoint import fingerprint
from bimodal.training.config import NOT_LEARNT_FROM, SpeechConfig
from bimodal.training.datasets.ravdess import Recording, actor_folds
from bimodal.training.device import Elsewhere, pick_device
from bimodal.training.errors import DatasetError
from bimodal.training.loop import Plan, Watched, fit
from bimodal.training.metrics import accuracy, uar
from bimodal.training.rooms import in_a_room
from bimodal.training.speech import Fold, Say, labels_of, learn, logits_of, predict
from bimodal.training.speech_parts import Parts, parts_of
from bimodal.training.windows import centre_window


def cross_validate_run(
    config: SpeechConfig,
    recordings: Sequence[Recording],
    say: Say,
    only: int | None = None,
    conditions: Iterable[str] = (),
) -> list[Fold]:
    """Train once a fold, by actor, and predict the actors left out. Folds that are done are not trained again.

    Args:
        only: so many of the folds, the first ones; None means all.
        conditions: under which the actors left out are heard as well (training/conditions.py).
    """
    folds = []
    splits = list(actor_folds([recording.clip.actor for recording in recordings], config.folds))[:only]
    for number, (training, validation) in enumerate(splits, start=1):
        say(f"fold {number}/{config.folds}: actors {', '.join(map(str, sorted(validation)))} are left out")
        learnt = [recording for recording in recordings if recording.clip.actor in training]
        parts = train_speech_run(config, learnt, f"fold-{number}", say)
        left_out = [recording for recording in recordings if recording.clip.actor in validation]
        fold = predict(parts, left_out, conditions)
        say(f"fold {number}/{config.folds}: UAR {uar(fold.true, fold.logits.argmax(axis=1)):.3f}")
        folds.append(fold)
    return folds


def train_speech_run(config: SpeechConfig, recordings: Sequence[Recording], part: str, say: Say) -> Parts:
    """Fit the network on all of `recordings`, with checkpoints under `runs`/`name`/`part`.

    Raises DatasetError where there are not two recordings to learn from, TrainingError as `fit`.
    """
    learnt, watched = keep_back(recordings, config.watched_speakers)
    if len(learnt) < 2:
        raise DatasetError(f"{config.data} has {len(learnt)} recordings to train on, and training needs at least 2")
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    task = SpeechTask(config, learnt, watched)
    settings = config.model_dump(mode="json", exclude=NOT_LEARNT_FROM | {"folds"})
    names = [(str(recording.clip.path.name), recording.clip.emotion) for recording in recordings]
    plan = Plan(
        f"{config.name}, {part}",
        config.epochs,
        config.runs / config.name / part,
        fingerprint([settings, names]),
        config.patience,
        config.keep,
    )
    seconds = fit(task, plan, say)
    say(f"{plan.title}: learning took {seconds:.0f} s")
    return task.trained()


def keep_back(recordings: Sequence[Recording], speakers: int) -> tuple[list[Recording], list[Recording]]:
    """(to learn from, to watch): the last `speakers` of the speakers are watched.

    Raises DatasetError where nobody would be left to learn from.
    """
    actors = sorted({recording.clip.actor for recording in recordings})
    if speakers and speakers >= len(actors):
        raise DatasetError(f"watched_speakers is {speakers}, but there are only {len(actors)} speakers to learn from")
    back = set(actors[len(actors) - speakers :]) if speakers else set()
    learnt = [recording for recording in recordings if recording.clip.actor not in back]
    return learnt, [recording for recording in recordings if recording.clip.actor in back]


class SpeechTask:
    """What `fit` needs to know about a speech network."""

    def __init__(self, config: SpeechConfig, recordings: Sequence[Recording], watched: Sequence[Recording]) -> None:
        self._config, self._recordings, self._watched = config, recordings, watched
        self._random = np.random.default_rng(config.seed)
        self._rooms = np.random.default_rng((config.seed, 1))
        self._batch = min(config.batch, len(recordings))
        self._device = pick_device(config.device)
        self._parts = parts_of(config)
        if self._device.type != "cpu":
            elsewhere = Elsewhere(self._parts.network.to(self._device), self._device, config.precision)
            self._parts = replace(self._parts, network=elsewhere)
        groups, rates = self._parts.groups(config)
        self.optimizer = torch.optim.AdamW(groups, config.learning_rate, weight_decay=config.weight_decay)
        steps = config.epochs * self.steps_an_epoch
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, rates, total_steps=steps + 1, pct_start=config.rise
        )

    @property
    def network(self) -> torch.nn.Module:
        """What learns."""
        return self._parts.network

    @property
    def steps_an_epoch(self) -> int:
        """Whole batches only."""
        return len(self._recordings) // self._batch

    def epoch(self, number: int) -> Iterator[float]:
        """Every clip once, in random windows."""
        if self._parts.backbone is not None:
            self._parts.backbone.requires_grad_(number >= self._config.frozen_epochs)
        order = self._random.permutation(len(self._recordings))
        for start in range(0, len(order) - self._batch + 1, self._batch):
            chosen = [self._heard(self._recordings[index]) for index in order[start : start + self._batch]]
            yield learn(self._config, self._parts, self.optimizer, chosen, self._random)
            self.schedule.step()

    def _heard(self, recording: Recording) -> Recording:
        if self._config.reverb and self._rooms.random() < self._config.reverb:
            return in_a_room(recording, self._rooms)
        return recording

    def watch(self) -> Watched | None:
        """Accuracy and UAR on the centre windows of the speakers kept back."""
        if not self._watched:
            return None
        found = logits_of(self._parts, [centre_window(recording) for recording in self._watched]).argmax(axis=1)
        true = labels_of(self._watched)
        return Watched(accuracy(true, found), uar(true, found))

    def trained(self) -> Parts:
        """The network itself, on the CPU."""
        inner = self.network.network if isinstance(self.network, Elsewhere) else self.network
        return replace(self._parts, network=inner.cpu().eval())

    def random_state(self) -> dict[str, Any]:
        """Of windows and of rooms, as text: their integers are longer than a tensor's."""
        states = {"windows": self._random, "rooms": self._rooms}
        return {name: json.dumps(generator.bit_generator.state) for name, generator in states.items()}

    def set_random_state(self, state: dict[str, Any]) -> None:
        """Put them back."""
        self._random.bit_generator.state = json.loads(state["windows"])
        self._rooms.bit_generator.state = json.loads(state["rooms"])
