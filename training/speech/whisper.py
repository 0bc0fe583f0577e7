"""Train speech-whisper in two steps: first its small networks alone, then the encoder's upper layer with them.

A layer that learns from random heads forgets what it knew before they know anything; heads that were trained on the
layer as it came are a start from which few and small steps suffice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bimodal.models.architectures.speech_whisper import SpeechWhisper
from bimodal.training.config import SpeechConfig, Tuning, learnt_from
from bimodal.training.datasets.ravdess import Recording
from bimodal.training.evaluate.metrics import accuracy, uar
from bimodal.training.loop import Elsewhere, Plan, Progress, Watched, fingerprint, fit, pick_device
from bimodal.training.speech.corpora import corpus_of, labels_of, repeats
from bimodal.training.speech.networks import Parts, parts_of
from bimodal.training.speech.pool import (
    KINDS,
    Pool,
    in_batches,
    states_batches,
    statistics_batches,
)
from bimodal.training.speech.step import Targets, learn

Batches = Iterator[tuple[NDArray[np.int64], Tensor]]


def train_whisper(
    config: SpeechConfig, learnt: Sequence[Recording], watched: Sequence[Recording], plan: Plan, progress: Progress
) -> Parts:
    """Train on recordings; `plan` is the first step's, and the second has its own checkpoints in `tuned` below it."""
    parts = parts_of(config)
    heads = HeadsTask(config, parts, learnt, watched)
    plan = replace(plan, fingerprint=fingerprint([plan.fingerprint, "heads"]))
    seconds = fit(heads, plan, progress)
    heads.finish()
    progress(f"{plan.title}: learning took {seconds:.0f} s")
    if config.tuning is None:
        return parts
    tuned = TunedTask(config, config.tuning, parts, learnt, watched)
    tuned_plan = replace(
        plan,
        title=f"{plan.title}, with the encoder",
        epochs=config.tuning.epochs,
        folder=plan.folder / "tuned",
        fingerprint=fingerprint([plan.fingerprint, learnt_from(config)["tuning"]]),
    )
    seconds = fit(tuned, tuned_plan, progress)
    tuned.finish()
    progress(f"{tuned_plan.title}: learning took {seconds:.0f} s")
    return parts


def clip_logits(parts: Parts, pool: Pool, recordings: Sequence[Recording]) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """Logits of the centre window [N, 7], and of each clip's live windows [windows, 7]."""
    parts.network.eval()
    clips = [pool.windows(recording) for recording in recordings]
    centre = in_batches(parts.network, [clip.centre[0] for clip in clips])
    live = in_batches(parts.network, [states for clip in clips for states in clip.live])
    ends = np.cumsum([len(clip.live) for clip in clips])[:-1]
    return centre.numpy(), np.split(live.numpy(), ends)


def pool_of(config: SpeechConfig, parts: Parts) -> Pool:
    """The windows that a config takes of a clip."""
    return Pool(parts.front_end, config.copies, config.reverb, config.seed)


class WhisperTask:
    """What both steps share: recordings, optimizer, one step a batch.

    Args:
        trained: the module that learns.
        groups: its parameters, and `rates`, the highest learning rate of each group.
        epochs: and `steps` of each, for the schedule.
    """

    def __init__(
        self,
        config: SpeechConfig,
        parts: Parts,
        watched: Sequence[Recording],
        trained: nn.Module,
        groups: Sequence[tuple[nn.Module, float]],
        epochs: int,
        steps: int,
    ) -> None:
        self.config, self.parts, self._watched = config, parts, watched
        self.random = np.random.default_rng(config.seed)
        self.pool = pool_of(config, parts)
        self._inner, device = trained, pick_device(config.device)
        on_cpu = device.type == "cpu"
        self.network = trained if on_cpu else Elsewhere(trained.to(device), device, config.precision)
        self.optimizer = torch.optim.AdamW(
            [{"params": list(module.parameters())} for module, _ in groups],
            config.learning_rate,
            weight_decay=config.weight_decay,
        )
        self.steps_an_epoch = steps
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, [rate for _, rate in groups], total_steps=epochs * steps + 1, pct_start=config.rise
        )

    def learn_from(self, batches: Batches, targets: Targets) -> Iterator[float]:
        """Train one step on each batch; yields the losses."""
        for rows, features in batches:
            yield learn(self.config, self.network, self.optimizer, features, targets.take(rows), self.random)
            self.schedule.step()

    def watch(self) -> Watched | None:
        """Measure accuracy and UAR on the centre windows of the held-out speakers."""
        if not self._watched:
            return None
        network = self.parts.network.cpu()
        found = clip_logits(replace(self.parts, network=network), self.pool, self._watched)[0].argmax(axis=1)
        if isinstance(self.network, Elsewhere):
            self._inner.to(pick_device(self.config.device))
        true = labels_of(self._watched)
        return Watched(accuracy(true, found), uar(true, found))

    def finish(self) -> None:
        """Bring the network back to the CPU, ready to be used."""
        self._inner.cpu()
        self.parts.network.eval()

    def random_state(self) -> dict[str, Any]:
        """State of the generator, as text, since its integers exceed those of tensors."""
        return {"windows": json.dumps(self.random.bit_generator.state)}

    def set_random_state(self, state: dict[str, Any]) -> None:
        """Restore its state."""
        self.random.bit_generator.state = json.loads(state["windows"])


class HeadsTask(WhisperTask):
    """The small networks alone, on statistics of the encoder as it came."""

    def __init__(
        self, config: SpeechConfig, parts: Parts, recordings: Sequence[Recording], watched: Sequence[Recording]
    ) -> None:
        network = _network(parts)
        steps = KINDS * len(recordings) // min(config.batch, len(recordings))
        groups = [(network.heads, config.learning_rate)]
        super().__init__(config, parts, watched, network.heads, groups, config.epochs, steps)
        self._targets = Targets.of(config, recordings, {})
        self._batch = min(config.batch, len(recordings))
        network.eval()
        self._summaries = [self.pool.summary(recording, network.statistics) for recording in recordings]
        network.heads.normalise_by(
            torch.cat([torch.cat([each.centre, each.live[::2], each.changed[:1]]) for each in self._summaries])
        )

    def epoch(self, _number: int) -> Iterator[float]:
        """Train on a window of each kind of every clip; yields the losses."""
        return self.learn_from(statistics_batches(self._summaries, self._batch, self.random), self._targets)


class TunedTask(WhisperTask):
    """The encoder's upper layer and the small networks together, at low rates."""

    def __init__(
        self,
        config: SpeechConfig,
        tuning: Tuning,
        parts: Parts,
        recordings: Sequence[Recording],
        watched: Sequence[Recording],
    ) -> None:
        network, times = _network(parts), repeats(recordings)
        self._epoch = np.repeat(np.arange(len(recordings)), [times[corpus_of(each)] for each in recordings])
        self._batch = min(tuning.batch, len(recordings))
        groups = [(network.layers, tuning.encoder_rate), (network.heads, tuning.learning_rate)]
        super().__init__(config, parts, watched, network, groups, tuning.epochs, len(self._epoch) // self._batch)
        self._targets = Targets.of(config, recordings, times)
        self._clips = [self.pool.windows(recording) for recording in recordings]

    def epoch(self, _number: int) -> Iterator[float]:
        """Train on one window of every clip, of a small corpus' several times; yields the losses."""
        batches = states_batches(self._clips, self._epoch, self._batch, self.random)
        return self.learn_from(batches, self._targets)


def _network(parts: Parts) -> SpeechWhisper:
    if not isinstance(parts.network, SpeechWhisper):
        raise TypeError("speech-whisper's own network is trained here")
    return parts.network
