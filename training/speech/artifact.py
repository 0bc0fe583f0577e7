"""Make a speech artifact from raw files: cross-validate by actor, calibrate, train on all, export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bimodal.models.contract import CONTRACT_VERSION, Metadata
from bimodal.models.emotions import EMOTIONS
from bimodal.training.config import SpeechConfig
from bimodal.training.datasets.loading import load_recordings
from bimodal.training.datasets.ravdess import SAMPLE_RATE, Recording
from bimodal.training.datasets.readers import reader_of
from bimodal.training.evaluate.conditions import CONDITIONS
from bimodal.training.evaluate.evaluate import LIVE_MEAN_PROTOCOL, LIVE_PROTOCOL, SPEECH_PROTOCOL, voices
from bimodal.training.evaluate.metrics import cross_fitted, fit_temperature, measure, recall_intervals, uar
from bimodal.training.speech.sound import Listening, centre_window
from bimodal.training.speech.train import BACKBONE, Fold, Parts, Progress, cross_validate_run, train_speech_run
from bimodal.training.to_artifact import write_artifact, write_card

LICENSE = "CC-BY-NC-SA-4.0 (non-commercial), as RAVDESS, which it was trained on"
SOURCE = "trained by this project on RAVDESS speech"
BEGINNINGS = {
    "compact": "",
    "voice": f", from the lower two layers of the voice encoder in {BACKBONE} (Resemble AI, Apache-2.0)",
}


def make_speech(config: SpeechConfig, progress: Progress) -> Path:
    """Cross-validate by actor, train on all actors with the same settings, export. Returns the artifact's path.

    Raises DatasetError for the data, TrainingError if the exported graph does not answer as torch does.
    """
    recordings = load_recordings(config.data)
    folds = cross_validate_run(config, recordings, progress, conditions=CONDITIONS)
    metrics = out_of_fold_metrics(folds, config.data.name)
    progress(f"UAR {metrics['uar']} on actors left out, by fold {metrics['uar_folds']}")
    for name, heard in uar_under(folds).items():
        progress(f"  UAR under {name}: {heard}")
    progress("the network that ships learns from all actors")
    parts = train_speech_run(config, recordings, "all", progress)
    metrics["trained_on"] = voices(recordings)
    return ship_speech(config, parts, pooled_temperature(folds), metrics, recordings, progress)


def pooled_temperature(folds: Sequence[Fold]) -> float:
    """Fit one temperature to the live windows of all folds, each predicted by the fold that holds out its actor."""
    logits = np.concatenate([fold.live for fold in folds])
    return round(fit_temperature(logits, np.concatenate([fold.live_true for fold in folds])), 4)


def out_of_fold_metrics(folds: Sequence[Fold], data: str = "RAVDESS speech") -> dict[str, object]:
    """Figures on held-out actors; probabilities of a fold are calibrated on the live windows of the other folds."""
    fitted = [(fold.live, fold.live_true) for fold in folds]
    centre = measure(_stacked([f.true for f in folds]), cross_fitted([f.logits for f in folds], fitted), EMOTIONS)
    live = measure(_stacked([f.live_true for f in folds]), cross_fitted([f.live for f in folds], fitted), EMOTIONS)
    mean = [measure(fold.true, fold.clip_means(), EMOTIONS) for fold in folds]
    by_fold = [measure(fold.true, _exponents(fold.logits), EMOTIONS).uar for fold in folds]
    found = {
        "uar": round(float(np.mean(by_fold)), 4),
        "uar_folds": {_actors(fold): round(uar, 4) for fold, uar in zip(folds, by_fold, strict=True)},
        "accuracy": round(centre.accuracy, 4),
        "macro_f1": round(centre.macro_f1, 4),
        "ece": round(centre.ece, 4),
        "n": centre.n,
        "recall": {label: round(value, 4) for label, value in centre.recall.items()},
        "recall_95": recall_intervals(centre),
        "protocol": f"{data}, {len(folds)} folds by actor: {SPEECH_PROTOCOL}",
        "live": {"protocol": LIVE_PROTOCOL, "uar": round(live.uar, 4), "ece": round(live.ece, 4), "n": live.n},
        "live_mean": {"protocol": LIVE_MEAN_PROTOCOL, "uar": round(float(np.mean([m.uar for m in mean])), 4)},
    }
    return found | ({"conditions": uar_under(folds)} if uar_under(folds) else {})


def uar_under(folds: Sequence[Fold]) -> dict[str, float]:
    """Mean over the folds of the UAR of the centre windows under each condition."""
    return {
        name: round(float(np.mean([uar(fold.true, fold.under[name].argmax(axis=1)) for fold in folds])), 4)
        for name in folds[0].under
    }


def ship_speech(
    config: SpeechConfig,
    parts: Parts,
    temperature: float,
    metrics: dict[str, object],
    recordings: Sequence[Recording],
    progress: Progress,
) -> Path:
    """Export with temperature and figures, and check parity with torch on random and real sound."""
    listening = Listening()
    reader = reader_of(config.data, ["sound"])
    name = config.data.name if reader.name == "manifest" else reader.name
    metadata = Metadata(
        contract=CONTRACT_VERSION,
        kind="speech",
        name=config.name,
        version=config.version,
        license=LICENSE if name == "ravdess" else f"as the data it was trained on: {name}, {reader.licence}",
        source=(SOURCE if name == "ravdess" else f"trained with bimodal on {name}") + BEGINNINGS[config.network],
        labels=EMOTIONS,
        sample_rate=SAMPLE_RATE,
        window_s=listening.window_s,
        minimum_window_s=listening.minimum_s,
        interval_s=listening.hop_s,
        temperature=temperature,
        metrics=metrics,
    )
    path = config.output / "model.onnx"
    example = np.zeros((2, SAMPLE_RATE // 4), np.float32)  # short: the exporter unrolls an LSTM while it looks at it
    checks = _checks(config.seed, recordings)
    graph = parts.graph(temperature)
    difference = write_artifact(graph, metadata, example, {0: "batch", 1: "samples"}, checks, path)
    write_card(config.output, metadata, "bimodal train speech", progress)
    progress(f"{path}: temperature {temperature}, ONNX Runtime and torch differ by {difference:.1e}")
    return path


def _stacked(labels: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate(labels)


def _exponents(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.exp(logits - logits.max(axis=1, keepdims=True)))


def _actors(fold: Fold) -> str:
    return f"actors {min(fold.actors)}-{max(fold.actors)}"


def _checks(seed: int, recordings: Sequence[Recording]) -> list[NDArray[Any]]:
    random = np.random.default_rng(seed)
    noise = (0.1 * random.standard_normal((5, 3 * SAMPLE_RATE))).astype(np.float32)
    real = [centre_window(recording)[None] for recording in recordings[:3]]
    silence = np.zeros((1, SAMPLE_RATE), np.float32)
    return [noise, noise[:1], noise[:, : SAMPLE_RATE + 37], silence, *real]
