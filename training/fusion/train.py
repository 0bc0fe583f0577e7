"""Make the artifact of fusion `learned` from pairs: collect, train, calibrate, export, compare with averaging."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from bimodal.models.architectures.fusion_learned import FusionLearned, FusionLearnedGraph
from bimodal.models.contract import CONTRACT_VERSION, Metadata
from bimodal.models.emotions import EmotionSet, own_names
from bimodal.models.session import Artifact, open_artifact
from bimodal.training.config import FusionConfig, SpeechConfig, learnt_from, load_config
from bimodal.training.datasets.items import never_shown
from bimodal.training.datasets.loading import corpus_of_item, sound_items
from bimodal.training.dynamic.artifact import is_video, unknown_to
from bimodal.training.errors import TrainingError
from bimodal.training.evaluate.evaluate import find_model, parts_of
from bimodal.training.evaluate.metrics import Figures, accuracy, fit_temperature, measure, softmax, uar
from bimodal.training.fusion.evaluate import recorded_parts
from bimodal.training.fusion.pairs import (
    Experts,
    Pairs,
    averaged,
    compose_pairs,
    face_opinions,
    recorded_pairs,
    speech_opinions,
    write_pairs,
)
from bimodal.training.loop import Plan, Progress, Watched, fingerprint, fit, mixed, pick_device
from bimodal.training.speech.corpora import load_corpora
from bimodal.training.to_artifact import write_artifact, write_card

COMPOSED = (
    "Its pairs are composed: a face and a voice of the same label, of different people, who never met; what a face and "
    "a voice of one person have in common beyond the label was not there to learn"
)
KEPT_BACK = 0.1


def make_fusion(config: FusionConfig, progress: Progress) -> Path:
    """Train and export. Returns the path of the artifact; the pairs are under `runs`/`name`/pairs.

    Raises DatasetError for the data, TrainingError for models that do not know all of the emotions, or if the exported
    graph does not answer as torch does.
    """
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    parts = collect(config, progress)
    write_pairs(config.runs / config.name / "pairs", parts, config.among)
    absent = never_shown(parts["train"].labels, config.among)
    if absent:
        progress(f"no pair is of {' or '.join(absent)}: {config.name} does not learn to tell it")
    kept_back = np.random.default_rng(config.seed).random(len(parts["train"])) < KEPT_BACK
    learnt, watched = parts["train"].take(~kept_back), parts["train"].take(kept_back)
    task = FusionTask(config, learnt, watched)
    settings = learnt_from(config)
    same = fingerprint([settings, learnt.video.tobytes(), learnt.speech.tobytes()])
    plan = Plan(config.name, config.epochs, config.runs / config.name, same, config.patience, config.keep)
    seconds = fit(task, plan, progress)
    progress(f"{config.name}: learning took {seconds:.0f} s")
    return ship_fusion(config, task.network.cpu(), watched, parts["test"], progress)


def collect(config: FusionConfig, progress: Progress) -> dict[str, Pairs]:
    """Collect `train` and `test` pairs: of recordings if the data are a prepared video tree, else composed by label."""
    among = config.among
    static = open_artifact(find_model(config.face), "face-static", provider="cpu", threads=config.threads)
    must_know(static, among)
    if is_video(config.data, among):
        speech = open_artifact(find_model(config.speech), "speech", provider="cpu", threads=config.threads)
        must_know(speech, among)
        names = (("train", "train"), ("test", "valid"))
        models = Experts((static,)), Experts((speech,))
        return {part: recorded_pairs(*models, config.data, split, among) for part, split in names}
    if config.sounds is None or config.speech_config is None:
        raise TrainingError(f"{config.data} holds pictures only: name 'sounds' and 'speech_config' in the config too")
    random = np.random.default_rng(config.seed)
    faces = face_opinions(static, config.data, "valid", config.labels, random, among)
    # The folds must be trained on the data of the pairs; this config determines the folder of their runs.
    speech_config = msgspec.structs.replace(
        load_config(config.speech_config, SpeechConfig), data=config.sounds, runs=config.runs
    )
    if speech_config.emotions != config.emotions:
        raise TrainingError(
            f"{config.speech_config} learns {speech_config.among.words}, and this config {among.words}: give both the "
            "same 'emotions', in the same order"
        )
    recordings = load_corpora([config.sounds, *speech_config.also], among)
    voices = speech_opinions(speech_config, recordings, config.speech_folds, progress)
    return compose_pairs(faces, voices, config.pairs, random)


def must_know(artifact: Artifact, among: EmotionSet) -> None:
    """Raise TrainingError unless a model knows all of a set: live, others are averaged, and the fusion model is not
    asked."""
    missing = unknown_to(artifact, among)
    if missing:
        raise TrainingError(
            f"{artifact.identity} does not know {', '.join(missing)}, and live a fusion model is asked only where face "
            f"and voice know all of {among.words}: name a model that does, or leave these out of 'emotions'"
        )


class FusionTask:
    """The training task of the learned fusion."""

    def __init__(self, config: FusionConfig, pairs: Pairs, watched: Pairs) -> None:
        self._config, self._pairs, self._watched = config, pairs, watched
        self._random = np.random.default_rng(config.seed)
        self._device = pick_device(config.device)
        self.network = FusionLearned(len(config.emotions), config.hidden, config.video_weight, config.speech_weight)
        self.network.to(self._device)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
        total = config.epochs * self.steps_an_epoch
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, config.learning_rate, total_steps=total + 1)

    @property
    def steps_an_epoch(self) -> int:
        """Number of full batches, at least one."""
        return max(1, len(self._pairs) // self._config.batch)

    def epoch(self, _number: int) -> Iterator[float]:
        """Train on every pair once; yields the losses."""
        order = self._random.permutation(len(self._pairs))
        for step in range(self.steps_an_epoch):
            chosen = self._pairs.take(order[step * self._config.batch : (step + 1) * self._config.batch])
            with mixed(self._device, self._config.precision):
                logits = self.network(*(side.to(self._device) for side in _tensors(chosen)))
            targets = torch.from_numpy(chosen.labels).to(self._device)
            loss = functional.cross_entropy(logits.float(), targets, label_smoothing=self._config.smoothing)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.schedule.step()
            yield float(loss.detach())

    def watch(self) -> Watched | None:
        """Measure accuracy and UAR on the held-out pairs."""
        if not len(self._watched):
            return None
        found = logits_of(self.network, self._watched).argmax(axis=1)
        return Watched(accuracy(self._watched.labels, found), uar(self._watched.labels, found))

    def random_state(self) -> dict[str, Any]:
        """State of the order's generator, as text, since its integers exceed those of tensors."""
        return {"order": json.dumps(self._random.bit_generator.state)}

    def set_random_state(self, state: dict[str, Any]) -> None:
        """Restore the state."""
        self._random.bit_generator.state = json.loads(state["order"])


def logits_of(network: FusionLearned, pairs: Pairs) -> NDArray[np.float32]:
    """Compute logits float32 [N, E]."""
    network.eval()
    device = next(network.parameters()).device
    with torch.inference_mode():
        logits = network(*(side.to(device) for side in _tensors(pairs)))
    return np.asarray(logits.float().cpu().numpy())


def _tensors(pairs: Pairs) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(pairs.video), torch.from_numpy(pairs.speech)


def ship_fusion(
    config: FusionConfig, network: FusionLearned, kept_back: Pairs, test: Pairs, progress: Progress
) -> Path:
    """Calibrate on held-out pairs, export, and compare with each modality and with averaging."""
    temperature = round(fit_temperature(logits_of(network, kept_back), kept_back.labels), 4)
    ways: dict[str, NDArray[np.floating]] = {
        "learned": softmax(logits_of(network, test), temperature),
        "average": averaged(test, config.video_weight, config.speech_weight),
        "video": test.video[:, :-1],
        "speech": test.speech[:, :-1],
    }
    figures = {name: measure(test.labels, table, config.emotions) for name, table in ways.items()}
    metadata = _metadata(config, temperature, figures)
    path = config.output / "model.onnx"
    random, size = np.random.default_rng(config.seed), len(config.emotions) + 1
    noise = tuple(random.dirichlet(np.ones(size), size=5).astype(np.float32) for _ in range(2))
    some = test.take(np.arange(min(5, len(test))))
    nothing = np.zeros((1, size), np.float32)
    checks = [noise, (some.video, some.speech), (some.video[:1], some.speech[:1]), (nothing, nothing)]
    difference = write_artifact(
        FusionLearnedGraph(network, temperature), metadata, (noise[0][:2], noise[1][:2]), {0: "batch"}, checks, path
    )
    about = "" if is_video(config.data, config.among) else f"{COMPOSED}."
    write_card(config.output, metadata, "bimodal train fusion", progress, about)
    progress(f"{path}: temperature {temperature}, ONNX Runtime and torch differ by {difference:.1e}")
    for name, found in figures.items():
        progress(f"{name}: accuracy {found.accuracy:.4f}, UAR {found.uar:.4f}, ECE {found.ece:.4f} (n = {found.n})")
    return path


def _metadata(config: FusionConfig, temperature: float, figures: dict[str, Figures]) -> Metadata:
    real = is_video(config.data, config.among)
    learned = figures["learned"]
    how = "recordings" if real else "pairs composed by label"
    data = config.data.name if config.sounds is None else f"{config.data.name} and {config.sounds.name}"
    return Metadata(
        contract=CONTRACT_VERSION,
        kind="fusion",
        name=config.name,
        version=config.version,
        license=f"as the data it was trained on ({data}); RAVDESS's own is CC BY-NC-SA 4.0, FER2013 is for research",
        source=f"trained by this project on {how} of {data}, through {config.face} and {config.speech}",
        labels=config.emotions,
        categories=own_names(config.emotions) or None,
        temperature=temperature,
        metrics={
            "accuracy": round(learned.accuracy, 4),
            "uar": round(learned.uar, 4),
            "macro_f1": round(learned.macro_f1, 4),
            "ece": round(learned.ece, 4),
            "n": learned.n,
            "recall": {label: round(value, 4) for label, value in learned.recall.items()},
            "compared": {
                name: {"uar": round(found.uar, 4), "ece": round(found.ece, 4)}
                for name, found in figures.items()
                if name != "learned"
            },
            "protocol": f"{how} of {data}, pictures and speakers that were not learnt from",
            "trained_on": _trained_on(config, real),
        },
    )


def _trained_on(config: FusionConfig, real: bool) -> list[str]:
    if real:
        return sorted(recorded_parts(config.data, "train", config.among))
    if config.sounds is None:
        return [f"{config.data.name}/train"]
    heard = {corpus_of_item(item, config.sounds) for item in sound_items(config.sounds, config.among)}
    return [
        *sorted(parts_of(config.data, "valid", config.among)),
        *(f"{corpus}, speakers of the folds, heard by networks of other folds" for corpus in sorted(heard)),
    ]
