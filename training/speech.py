"""One step of learning speech, and what a network says of recordings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from bimodal.models.emotions import EMOTIONS
from bimodal.training.augment_sound import LONGEST_S, draw_length, random_window
from bimodal.training.calibrate import softmax
from bimodal.training.conditions import under_condition
from bimodal.training.config import SpeechConfig
from bimodal.training.datasets.ravdess import SAMPLE_RATE, Recording
from bimodal.training.speech_parts import Parts
from bimodal.training.windows import centre_window, live_windows

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
    """What a network says of recordings: the centre window, also under conditions, and the live windows of each."""
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
    """Windows float32 [S] of any lengths → logits float32 [N, 7]."""
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
    """One step on random windows of these recordings; returns the loss."""
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
