"""Train speech models: cross-validation by speaker, one corpus left out, and resumable runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bimodal.training.config import SpeechConfig, learnt_from
from bimodal.training.datasets.ravdess import SAMPLE_RATE, Recording
from bimodal.training.errors import DatasetError
from bimodal.training.evaluate.conditions import in_a_room, under_condition
from bimodal.training.evaluate.metrics import accuracy, softmax, uar
from bimodal.training.loop import Elsewhere, Plan, Progress, Watched, fingerprint, fit, pick_device
from bimodal.training.speech.corpora import corpora_of, corpus_of, labels_of, repeats, speaker_folds
from bimodal.training.speech.networks import Parts, logits_of, parts_of
from bimodal.training.speech.pool import Pool
from bimodal.training.speech.sound import LONGEST_S, centre_window, draw_length, live_windows, random_window
from bimodal.training.speech.step import Targets, learn
from bimodal.training.speech.whisper import clip_logits, pool_of, train_whisper


def cross_validate_run(
    config: SpeechConfig,
    recordings: Sequence[Recording],
    progress: Progress,
    only: int | None = None,
    conditions: Iterable[str] = (),
) -> list[Fold]:
    """Train each fold by speaker, and predict the held-out speakers. Finished folds are not trained again.

    Args:
        only: number of folds, the first ones; None for all.
        conditions: additional conditions for the held-out speakers (training/evaluate/conditions.py).
    """
    folds = []
    splits = list(speaker_folds(recordings, config.folds))[:only]
    for number, (training, validation) in enumerate(splits, start=1):
        progress(f"fold {number}/{config.folds}: {', '.join(sorted(validation))} are left out")
        learnt = [recording for recording in recordings if recording.clip.part in training]
        parts = train_speech_run(config, learnt, f"fold-{number}", progress)
        left_out = [recording for recording in recordings if recording.clip.part in validation]
        fold = predict(parts, left_out, conditions, _pool(config, parts))
        for corpus, (true, logits) in fold.by_corpus().items():
            progress(f"fold {number}/{config.folds}: {corpus}: UAR {uar(true, logits.argmax(axis=1)):.3f}")
        folds.append(fold)
    return folds


def leave_corpora_out(config: SpeechConfig, recordings: Sequence[Recording], progress: Progress) -> dict[str, Fold]:
    """Train with each corpus left out altogether, and predict it. Finished runs are not trained again.

    Raises DatasetError if there is one corpus only.
    """
    names = corpora_of(recordings)
    if len(names) < 2:
        raise DatasetError(f"leaving a corpus out needs two corpora at least, and there is {names[0]} only")
    found = {}
    for name in names:
        progress(f"{name} is left out")
        learnt = [recording for recording in recordings if corpus_of(recording) != name]
        parts = train_speech_run(config, learnt, f"without-{name}", progress)
        left_out = [recording for recording in recordings if corpus_of(recording) == name]
        fold = predict(parts, left_out, pool=_pool(config, parts))
        progress(f"{name}: UAR {uar(fold.true, fold.logits.argmax(axis=1)):.3f}")
        found[name] = fold
    return found


def train_speech_run(config: SpeechConfig, recordings: Sequence[Recording], part: str, progress: Progress) -> Parts:
    """Train the network on all of `recordings`, with checkpoints under `runs`/`name`/`part`.

    Raises DatasetError if there are fewer than two recordings, TrainingError as `fit`.
    """
    learnt, watched = keep_back(recordings, config.watched_speakers)
    if len(learnt) < 2:
        raise DatasetError(f"{config.data} has {len(learnt)} recordings to train on, and training needs at least 2")
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    settings = learnt_from(config, "folds", "tuning")
    names = [(str(recording.clip.path.name), recording.clip.emotion) for recording in recordings]
    plan = Plan(
        f"{config.name}, {part}",
        config.epochs,
        config.runs / config.name / part,
        fingerprint([settings, names]),
        config.patience,
        config.keep,
    )
    if config.network == "whisper":
        return train_whisper(config, learnt, watched, plan, progress)
    task = SpeechTask(config, learnt, watched)
    seconds = fit(task, plan, progress)
    progress(f"{plan.title}: learning took {seconds:.0f} s")
    return task.trained()


def keep_back(recordings: Sequence[Recording], speakers: int) -> tuple[list[Recording], list[Recording]]:
    """Split into (training, held-out): the last `speakers` of the speakers are held out.

    Raises DatasetError if no speaker would be left to train on.
    """
    everyone = sorted({(recording.clip.actor, recording.clip.part) for recording in recordings})
    if speakers and speakers >= len(everyone):
        raise DatasetError(f"watched_speakers is {speakers}, but there are only {len(everyone)} speakers to learn from")
    back = {part for _, part in everyone[len(everyone) - speakers :]} if speakers else set()
    learnt = [recording for recording in recordings if recording.clip.part not in back]
    return learnt, [recording for recording in recordings if recording.clip.part in back]


def _pool(config: SpeechConfig, parts: Parts) -> Pool | None:
    return pool_of(config, parts) if config.network == "whisper" else None


class SpeechTask:
    """The training task of speech-compact and speech-voice."""

    def __init__(self, config: SpeechConfig, recordings: Sequence[Recording], watched: Sequence[Recording]) -> None:
        self._config, self._recordings, self._watched = config, recordings, watched
        self._random = np.random.default_rng(config.seed)
        self._rooms = np.random.default_rng((config.seed, 1))
        times = repeats(recordings)
        self._epoch = np.repeat(np.arange(len(recordings)), [times[corpus_of(each)] for each in recordings])
        self._targets = Targets.of(config, recordings, times)
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
        return len(self._epoch) // self._batch

    def epoch(self, number: int) -> Iterator[float]:
        """Train on a random window of every clip; yields the losses."""
        if self._parts.backbone is not None:
            self._parts.backbone.requires_grad_(number >= self._config.frozen_epochs)
        for rows, windows in self._drawn():
            with torch.no_grad():
                features = self._parts.mask(self._parts.front_end(torch.from_numpy(windows)), self._random)
            yield learn(self._config, self.network, self.optimizer, features, self._targets.take(rows), self._random)
            self.schedule.step()

    def _drawn(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Rows and windows of each batch: random windows of one length, augmented."""
        order = self._random.permutation(self._epoch)
        for start in range(0, len(order) - self._batch + 1, self._batch):
            rows = order[start : start + self._batch]
            chosen = [self._augmented(self._recordings[index]) for index in rows.tolist()]
            full = self._config.full_windows and self._random.random() < self._config.full_windows
            length = round(LONGEST_S * SAMPLE_RATE) if full else draw_length(self._random)
            yield rows, np.stack([random_window(recording, length, self._random) for recording in chosen])

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


# Predictions.


@dataclass(frozen=True)
class Fold:
    """Predictions for the held-out speakers of a fold.

    Attributes:
        speakers: the held-out speakers, as parts of their corpora (`ravdess/Actor_01`).
        voices: speaker of each clip, as in `speakers`; the part before the slash is its corpus.
        true: int64 [N], indices into EMOTIONS.
        logits: float32 [N, 7], of the centre window of each clip.
        live: float32 [M, 7], logits of the live windows, clip by clip.
        live_clip: int64 [M], index of the clip of each.
        under: float32 [N, 7] by condition, logits of the centre windows under each of `conditions`.
    """

    speakers: frozenset[str]
    voices: tuple[str, ...]
    true: NDArray[np.int64]
    logits: NDArray[np.float32]
    live: NDArray[np.float32]
    live_clip: NDArray[np.int64]
    under: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def corpus(self) -> tuple[str, ...]:
        """Name of each clip's corpus."""
        return tuple(voice.partition("/")[0] for voice in self.voices)

    @property
    def live_true(self) -> NDArray[np.int64]:
        """int64 [M], the emotion of each live window."""
        return self.true[self.live_clip]

    def clip_means(self) -> NDArray[np.float64]:
        """float64 [N, 7], mean over the probabilities of each clip's live windows."""
        probabilities = softmax(self.live)
        return np.stack([probabilities[self.live_clip == clip].mean(axis=0) for clip in range(len(self.true))])

    def by_corpus(self) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """(true labels, logits of the centre windows) of each corpus."""
        places = {name: [at for at, corpus in enumerate(self.corpus) if corpus == name] for name in self.corpus}
        return {name: (self.true[rows], self.logits[rows]) for name, rows in places.items()}


def predict(
    parts: Parts, recordings: Sequence[Recording], conditions: Iterable[str] = (), pool: Pool | None = None
) -> Fold:
    """Run a network on recordings: the centre window, also under conditions, and the live windows of each.

    pool: of states that were computed before, on which it runs instead of the sound.
    """
    middles = [centre_window(recording) for recording in recordings]
    if pool is not None:
        centre, live = clip_logits(parts, pool, recordings)
    else:
        centre = logits_of(parts, middles)
        live = [logits_of(parts, live_windows(recording)) for recording in recordings]
    return Fold(
        speakers=frozenset(recording.clip.part for recording in recordings),
        voices=tuple(recording.clip.part for recording in recordings),
        true=labels_of(recordings),
        logits=centre,
        live=np.concatenate(live),
        live_clip=np.repeat(np.arange(len(recordings)), [len(windows) for windows in live]),
        under={name: logits_of(parts, under_condition(name, middles, SAMPLE_RATE)) for name in conditions},
    )
