"""Train speech models: cross-validation by actor, and resumable runs."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bimodal.export.wheels import download_wheel, extract
from bimodal.models.architectures import speech_compact, speech_voice
from bimodal.models.emotions import EMOTIONS
from bimodal.training.config import SpeechConfig, learnt_from
from bimodal.training.datasets.ravdess import SAMPLE_RATE, Recording, actor_folds
from bimodal.training.errors import DatasetError
from bimodal.training.evaluate.conditions import in_a_room, under_condition
from bimodal.training.evaluate.metrics import accuracy, softmax, uar
from bimodal.training.loop import Elsewhere, Plan, Watched, fingerprint, fit, pick_device
from bimodal.training.speech.sound import (
    LONGEST_S,
    centre_window,
    draw_length,
    live_windows,
    mask,
    mask_power,
    random_window,
)


def cross_validate_run(
    config: SpeechConfig,
    recordings: Sequence[Recording],
    progress: Progress,
    only: int | None = None,
    conditions: Iterable[str] = (),
) -> list[Fold]:
    """Train each fold by actor, and predict the held-out actors. Finished folds are not trained again.

    Args:
        only: number of folds, the first ones; None for all.
        conditions: additional conditions for the held-out actors (training/evaluate/conditions.py).
    """
    folds = []
    splits = list(actor_folds([recording.clip.actor for recording in recordings], config.folds))[:only]
    for number, (training, validation) in enumerate(splits, start=1):
        progress(f"fold {number}/{config.folds}: actors {', '.join(map(str, sorted(validation)))} are left out")
        learnt = [recording for recording in recordings if recording.clip.actor in training]
        parts = train_speech_run(config, learnt, f"fold-{number}", progress)
        left_out = [recording for recording in recordings if recording.clip.actor in validation]
        fold = predict(parts, left_out, conditions)
        progress(f"fold {number}/{config.folds}: UAR {uar(fold.true, fold.logits.argmax(axis=1)):.3f}")
        folds.append(fold)
    return folds


def train_speech_run(config: SpeechConfig, recordings: Sequence[Recording], part: str, progress: Progress) -> Parts:
    """Train the network on all of `recordings`, with checkpoints under `runs`/`name`/`part`.

    Raises DatasetError if there are fewer than two recordings, TrainingError as `fit`.
    """
    learnt, watched = keep_back(recordings, config.watched_speakers)
    if len(learnt) < 2:
        raise DatasetError(f"{config.data} has {len(learnt)} recordings to train on, and training needs at least 2")
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    task = SpeechTask(config, learnt, watched)
    settings = learnt_from(config, "folds")
    names = [(str(recording.clip.path.name), recording.clip.emotion) for recording in recordings]
    plan = Plan(
        f"{config.name}, {part}",
        config.epochs,
        config.runs / config.name / part,
        fingerprint([settings, names]),
        config.patience,
        config.keep,
    )
    seconds = fit(task, plan, progress)
    progress(f"{plan.title}: learning took {seconds:.0f} s")
    return task.trained()


def keep_back(recordings: Sequence[Recording], speakers: int) -> tuple[list[Recording], list[Recording]]:
    """Split into (training, held-out): the last `speakers` of the speakers are held out.

    Raises DatasetError if no speaker would be left to train on.
    """
    actors = sorted({recording.clip.actor for recording in recordings})
    if speakers and speakers >= len(actors):
        raise DatasetError(f"watched_speakers is {speakers}, but there are only {len(actors)} speakers to learn from")
    back = set(actors[len(actors) - speakers :]) if speakers else set()
    learnt = [recording for recording in recordings if recording.clip.actor not in back]
    return learnt, [recording for recording in recordings if recording.clip.actor in back]


class SpeechTask:
    """The training task of a speech network."""

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
        """The network that is trained."""
        return self._parts.network

    @property
    def steps_an_epoch(self) -> int:
        """Number of full batches."""
        return len(self._recordings) // self._batch

    def epoch(self, number: int) -> Iterator[float]:
        """Train on a random window of every clip; yields the losses."""
        if self._parts.backbone is not None:
            self._parts.backbone.requires_grad_(number >= self._config.frozen_epochs)
        order = self._random.permutation(len(self._recordings))
        for start in range(0, len(order) - self._batch + 1, self._batch):
            chosen = [self._augmented(self._recordings[index]) for index in order[start : start + self._batch]]
            yield learn(self._config, self._parts, self.optimizer, chosen, self._random)
            self.schedule.step()

    def _augmented(self, recording: Recording) -> Recording:
        if self._config.reverb and self._rooms.random() < self._config.reverb:
            return in_a_room(recording, self._rooms)
        return recording

    def watch(self) -> Watched | None:
        """Measure accuracy and UAR on the centre windows of the held-out speakers."""
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
        """State of the generators of windows and rooms, as text, since its integers exceed those of tensors."""
        states = {"windows": self._random, "rooms": self._rooms}
        return {name: json.dumps(generator.bit_generator.state) for name, generator in states.items()}

    def set_random_state(self, state: dict[str, Any]) -> None:
        """Restore their state."""
        self._random.bit_generator.state = json.loads(state["windows"])
        self._rooms.bit_generator.state = json.loads(state["rooms"])


# One training step, and predictions.

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Fold:
    """Predictions for the held-out actors of a fold.

    Attributes:
        actors: the held-out actors.
        true: int64 [N], indices into EMOTIONS.
        logits: float32 [N, 7], of the centre window of each clip.
        live: float32 [M, 7], logits of the live windows, clip by clip.
        live_clip: int64 [M], index of the clip of each.
        under: float32 [N, 7] by condition, logits of the centre windows under each of `conditions`.
    """

    actors: frozenset[int]
    true: NDArray[np.int64]
    logits: NDArray[np.float32]
    live: NDArray[np.float32]
    live_clip: NDArray[np.int64]
    under: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def live_true(self) -> NDArray[np.int64]:
        """int64 [M], the emotion of each live window."""
        return self.true[self.live_clip]

    def clip_means(self) -> NDArray[np.float64]:
        """float64 [N, 7], mean over the probabilities of each clip's live windows."""
        probabilities = softmax(self.live)
        return np.stack([probabilities[self.live_clip == clip].mean(axis=0) for clip in range(len(self.true))])


def predict(parts: Parts, recordings: Sequence[Recording], conditions: Iterable[str] = ()) -> Fold:
    """Run a network on recordings: the centre window, also under conditions, and the live windows of each."""
    live = [logits_of(parts, live_windows(recording)) for recording in recordings]
    centre = [centre_window(recording) for recording in recordings]
    return Fold(
        actors=frozenset(recording.clip.actor for recording in recordings),
        true=labels_of(recordings),
        logits=logits_of(parts, centre),
        live=np.concatenate(live),
        live_clip=np.repeat(np.arange(len(recordings)), [len(rows) for rows in live]),
        under={name: logits_of(parts, under_condition(name, centre, SAMPLE_RATE)) for name in conditions},
    )


def labels_of(recordings: Sequence[Recording]) -> NDArray[np.int64]:
    """int64 [N], indices into EMOTIONS."""
    return np.array([recording.clip.emotion for recording in recordings], dtype=np.int64)


def logits_of(parts: Parts, windows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Compute logits float32 [N, 7] of windows float32 [S] of any lengths."""
    parts.network.eval()
    with torch.inference_mode():
        rows = [parts.network(parts.front_end(torch.from_numpy(window)[None]))[0].numpy() for window in windows]
    return np.stack(rows) if rows else np.zeros((0, len(EMOTIONS)), np.float32)


def learn(
    config: SpeechConfig,
    parts: Parts,
    optimizer: torch.optim.Optimizer,
    recordings: Sequence[Recording],
    random: np.random.Generator,
) -> float:
    """Train one step on random windows of these recordings. Returns the loss."""
    full = config.full_windows and random.random() < config.full_windows
    length = round(LONGEST_S * SAMPLE_RATE) if full else draw_length(random)
    windows = np.stack([random_window(recording, length, random) for recording in recordings])
    with torch.no_grad():
        features = parts.mask(parts.front_end(torch.from_numpy(windows)), random)
    targets = functional.one_hot(torch.from_numpy(labels_of(recordings)), len(EMOTIONS)).to(torch.float32)
    if config.mixup:
        share = float(random.beta(config.mixup, config.mixup))
        partner = torch.from_numpy(random.permutation(len(recordings)))
        features = share * features + (1 - share) * features[partner]
        targets = share * targets + (1 - share) * targets[partner]
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=config.precision == "bfloat16"):
        logits = parts.network(features)
    loss = functional.cross_entropy(logits.float(), targets, label_smoothing=config.smoothing)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(parts.network.parameters(), 5.0)
    optimizer.step()
    return float(loss.detach())


# The speech networks: front end, masking, and pretrained part of each.

BACKBONE = "resemblyzer==0.1.4"
BACKBONE_FILE = "resemblyzer/pretrained.pt"
BACKBONE_SHA256 = "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"

Mask = Callable[[Tensor, np.random.Generator], Tensor]


@dataclass(frozen=True)
class Parts:
    """A speech network with its front end.

    Attributes:
        front_end: waveform float32 [N, S] → features.
        network: features → logits [N, classes].
        mask: SpecAugment on these features.
        backbone: the pretrained part, trained later and at a lower rate, else None.
    """

    front_end: nn.Module
    network: nn.Module
    mask: Mask
    backbone: nn.Module | None = None

    def groups(self, config: SpeechConfig) -> tuple[list[dict[str, Any]], list[float]]:
        """(groups of parameters, the highest learning rate of each)."""
        if self.backbone is None:
            return [{"params": list(self.network.parameters())}], [config.learning_rate]
        slow = list(self.backbone.parameters())
        known = {id(parameter) for parameter in slow}
        rest = [parameter for parameter in self.network.parameters() if id(parameter) not in known]
        return [{"params": slow}, {"params": rest}], [config.backbone_learning_rate, config.learning_rate]

    def graph(self, temperature: float) -> nn.Module:
        """The module to export."""
        return speech_compact.SpeechGraph(self.front_end, self.network, temperature)


def parts_of(config: SpeechConfig) -> Parts:
    """Build the network that a config names, with new weights, and those of the backbone if it has one.

    Raises SourceModelError if the backbone can't be fetched, or its checksum differs.
    """
    if config.network == "compact":
        compact = speech_compact.SpeechCompact(len(EMOTIONS), config.channels, config.hidden, config.dropout)
        return Parts(
            speech_compact.FrontEnd(), compact, lambda heard, random: mask(heard, speech_compact.BANDS, random)
        )
    voice = speech_voice.SpeechVoice(len(EMOTIONS), config.dropout)
    voice.start_from(backbone_weights(config.backbone))
    return Parts(speech_voice.VoiceFrontEnd(), voice, mask_power, voice.encoder)


def backbone_weights(wheel: Path | None) -> dict[str, Tensor]:
    """Read the voice encoder's state dict from the wheel of resemblyzer (never installed); None lets pip fetch it.

    Raises SourceModelError if it can't be fetched or read, or holds other weights.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        extract(wheel or download_wheel(BACKBONE, folder), {BACKBONE_FILE: BACKBONE_SHA256}, folder)
        state = torch.load(folder / Path(BACKBONE_FILE).name, map_location="cpu", weights_only=True)
    weights: dict[str, Tensor] = state["model_state"]
    return weights
