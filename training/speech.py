"""Train speech-compact: recordings of actors in, weights and out-of-fold predictions out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from models.architectures.speech_compact import BANDS, FrontEnd, SpeechCompact
from models.emotions import EMOTIONS
from training.augment_sound import draw_length, mask, random_window
from training.calibrate import softmax
from training.config import SpeechConfig
from training.datasets.ravdess import Recording, actor_folds
from training.errors import DatasetError
from training.metrics import uar
from training.windows import centre_window, live_windows

Say = Callable[[str], None]


@dataclass(frozen=True)
class Fold:
    """Predictions for actors that the network of this fold never heard.

    Attributes:
        actors: those validated on.
        true: int64 [N], indices into EMOTIONS.
        logits: float32 [N, 7], of the centre window of each clip.
        live: float32 [M, 7], logits of the windows that a live worker would have cut, clip by clip.
        live_clip: int64 [M], which of the N clips each of them comes from.
    """

    actors: frozenset[int]
    true: NDArray[np.int64]
    logits: NDArray[np.float32]
    live: NDArray[np.float32]
    live_clip: NDArray[np.int64]

    @property
    def live_true(self) -> NDArray[np.int64]:
        """int64 [M], the emotion of each live window."""
        return self.true[self.live_clip]

    def clip_means(self) -> NDArray[np.float64]:
        """float64 [N, 7], mean over the probabilities of each clip's live windows."""
        probabilities = softmax(self.live)
        return np.stack([probabilities[self.live_clip == clip].mean(axis=0) for clip in range(len(self.true))])


def cross_validate(config: SpeechConfig, recordings: Sequence[Recording], say: Say) -> list[Fold]:
    """Train once a fold, by actor, and predict the actors left out."""
    folds = []
    for number, (training, validation) in enumerate(actor_folds([r.clip.actor for r in recordings], config.folds)):
        say(f"fold {number + 1}/{config.folds}: actors {', '.join(map(str, sorted(validation)))} are left out")
        network = train_speech(config, [r for r in recordings if r.clip.actor in training], say)
        fold = predict(network, [r for r in recordings if r.clip.actor in validation])
        say(f"fold {number + 1}/{config.folds}: UAR {uar(fold.true, fold.logits.argmax(axis=1)):.3f}")
        folds.append(fold)
    return folds


def predict(network: SpeechCompact, recordings: Sequence[Recording]) -> Fold:
    """What a network says of recordings: the centre window and the live windows of each."""
    live = [logits_of(network, live_windows(recording)) for recording in recordings]
    return Fold(
        actors=frozenset(recording.clip.actor for recording in recordings),
        true=labels_of(recordings),
        logits=logits_of(network, [centre_window(recording) for recording in recordings]),
        live=np.concatenate(live),
        live_clip=np.repeat(np.arange(len(recordings)), [len(rows) for rows in live]),
    )


def train_speech(config: SpeechConfig, recordings: Sequence[Recording], say: Say) -> SpeechCompact:
    """Fit the network on all of `recordings`.

    Raises DatasetError where there are not two recordings.
    """
    if len(recordings) < 2:
        raise DatasetError(f"{config.data} has {len(recordings)} recordings to train on, and training needs at least 2")
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    random = np.random.default_rng(config.seed)
    network, front_end = SpeechCompact(len(EMOTIONS), config.channels, config.hidden, config.dropout), FrontEnd()
    batch = min(config.batch, len(recordings))
    optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    steps = config.epochs * (len(recordings) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=steps + 1)
    for epoch in range(config.epochs):
        started, losses = time.monotonic(), []
        network.train()
        order = random.permutation(len(recordings))
        for start in range(0, len(order) - batch + 1, batch):
            chosen = [recordings[index] for index in order[start : start + batch]]
            losses.append(_step(config, network, front_end, optimizer, chosen, random))
            schedule.step()
        if epoch % 10 == 9 or epoch == config.epochs - 1:
            say(f"epoch {epoch + 1}/{config.epochs}: loss {np.mean(losses):.3f}, {time.monotonic() - started:.1f} s")
    return network.eval()


def labels_of(recordings: Sequence[Recording]) -> NDArray[np.int64]:
    """int64 [N], indices into EMOTIONS."""
    return np.array([recording.clip.emotion for recording in recordings], dtype=np.int64)


def logits_of(network: SpeechCompact, windows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Windows float32 [S] of any lengths → logits float32 [N, 7]."""
    network.eval()
    front_end = FrontEnd()
    with torch.inference_mode():
        rows = [network(front_end(torch.from_numpy(window)[None]))[0].numpy() for window in windows]
    return np.stack(rows) if rows else np.zeros((0, len(EMOTIONS)), np.float32)


def _step(
    config: SpeechConfig,
    network: SpeechCompact,
    front_end: FrontEnd,
    optimizer: torch.optim.Optimizer,
    recordings: Sequence[Recording],
    random: np.random.Generator,
) -> float:
    length = draw_length(random)
    windows = np.stack([random_window(recording, length, random) for recording in recordings])
    with torch.no_grad():
        features = mask(front_end(torch.from_numpy(windows)), BANDS, random)
    targets = functional.one_hot(torch.from_numpy(labels_of(recordings)), len(EMOTIONS)).to(torch.float32)
    if config.mixup:
        share = float(random.beta(config.mixup, config.mixup))
        partner = torch.from_numpy(random.permutation(len(recordings)))
        features = share * features + (1 - share) * features[partner]
        targets = share * targets + (1 - share) * targets[partner]
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=config.precision == "bfloat16"):
        logits = network(features)
    loss = functional.cross_entropy(logits.float(), targets, label_smoothing=config.smoothing)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimizer.step()
    return float(loss.detach())
