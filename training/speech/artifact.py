"""Make a speech artifact from raw files: cross-validate by speaker, calibrate, train on all, export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bimodal.export.pretrained.smart_turn import WHEEL
from bimodal.models.contract import CONTRACT_VERSION, Metadata
from bimodal.models.emotions import SEVEN, EmotionSet, own_names
from bimodal.training.config import SpeechConfig
from bimodal.training.datasets.ravdess import SAMPLE_RATE, Recording
from bimodal.training.evaluate.conditions import CONDITIONS
from bimodal.training.evaluate.evaluate import LIVE_MEAN_PROTOCOL, LIVE_PROTOCOL, speech_protocol, voices
from bimodal.training.evaluate.metrics import (
    Figures,
    cross_fitted,
    fit_temperature,
    measure,
    recall_intervals,
    softmax,
    uar,
)
from bimodal.training.evaluate.speech import LONE_PROTOCOL, TURN_PROTOCOL, turn_figures
from bimodal.training.loop import Progress
from bimodal.training.speech.corpora import corpora_of, licence_of, load_corpora, warn_untold
from bimodal.training.speech.networks import BACKBONE, Parts
from bimodal.training.speech.sound import Listening, centre_window
from bimodal.training.speech.train import Fold, cross_validate_run, leave_corpora_out, train_speech_run
from bimodal.training.to_artifact import write_artifact, write_card

SOURCE = "trained by this project on RAVDESS speech"
BEGINNINGS = {
    "compact": "",
    "whisper": f", from the lower layers of the encoder in {WHEEL} (Daily, BSD-2-Clause; OpenAI's Whisper, MIT)",
    "voice": f", from the lower two layers of the voice encoder in {BACKBONE} (Resemble AI, Apache-2.0)",
}


def make_speech(config: SpeechConfig, progress: Progress) -> Path:
    """Cross-validate by speaker, train on all speakers with the same settings, export. Returns the artifact's path.

    With several corpora each is also left out altogether, for its figures and for the temperature of unlike voices.
    Raises DatasetError for the data, TrainingError if the exported graph does not answer as torch does.
    """
    recordings = load_corpora([config.data, *config.also], config.among)
    warn_untold(recordings, config.name, config.among, progress)
    folds = cross_validate_run(config, recordings, progress, conditions=CONDITIONS if config.conditions else ())
    left_out = leave_corpora_out(config, recordings, progress) if config.also else {}
    temperature = strangers_temperature(left_out) if left_out else pooled_temperature(folds)
    if config.also:
        metrics = corpora_metrics(folds, left_out, config.among)
    else:
        metrics = out_of_fold_metrics(folds, config.data.name, config.among)
    by = "corpus" if config.also else "fold"
    progress(f"UAR {metrics['uar']} on speakers left out, by {by} {metrics['uar_folds']}")
    for name, heard in uar_under(folds).items():
        progress(f"  UAR under {name}: {heard}")
    progress("the network that ships learns from all speakers")
    parts = train_speech_run(config, recordings, "all", progress)
    metrics["trained_on"] = voices(recordings)
    return ship_speech(config, parts, temperature, metrics, recordings, progress)


def leave_one_corpus_out(config: SpeechConfig, progress: Progress) -> dict[str, object]:
    """Train with each corpus left out altogether, and measure it: UAR and ECE of each, and their means.

    Raises DatasetError for the data, or if the config names one corpus only.
    """
    recordings = load_corpora([config.data, *config.also], config.among)
    found = left_out_metrics(leave_corpora_out(config, recordings, progress), config.among)
    progress(f"mean UAR of a corpus that was left out: {found['uar']}, mean ECE {found['ece']}")
    return found


def pooled_temperature(folds: Sequence[Fold]) -> float:
    """Fit one temperature to the live windows of folds, each predicted by a network that never heard its speakers."""
    logits = np.concatenate([fold.live for fold in folds])
    return round(fit_temperature(logits, np.concatenate([fold.live_true for fold in folds])), 4)


def strangers_temperature(left_out: Mapping[str, Fold]) -> float:
    """Temperature for voices of a corpus that nobody trained on: geometric mean of those of the left-out corpora.

    Each is fitted to live windows. Users' voices are of no corpus at all: held-out speakers of known ones, who speak
    the same sentences before the same microphone, would make the model too sure of them.
    """
    fits = [fit_temperature(fold.live, fold.live_true) for fold in left_out.values()]
    return round(float(np.exp(np.mean(np.log(fits)))), 4)


def corpora_metrics(
    folds: Sequence[Fold], left_out: Mapping[str, Fold], among: EmotionSet = SEVEN
) -> dict[str, object]:
    """Figures by corpus: of held-out speakers (by fold), and of the corpus left out altogether.

    Probabilities of a fold are calibrated on the left-out corpora (without any: on the other folds); those of a
    left-out corpus on the other left-out ones.
    """
    if left_out:
        fits = [strangers_temperature(left_out)] * len(folds)
    else:
        fits = [pooled_temperature([each for each in folds if each is not fold]) for fold in folds]
    centre = np.concatenate([softmax(fold.logits, fit) for fit, fold in zip(fits, folds, strict=True)])
    live = np.concatenate([softmax(fold.live, fit) for fit, fold in zip(fits, folds, strict=True)])
    true, live_true = _stacked([f.true for f in folds]), _stacked([f.live_true for f in folds])
    corpus = np.concatenate([np.array(f.corpus) for f in folds])
    live_corpus = np.concatenate([np.array(f.corpus)[f.live_clip] for f in folds])
    found: dict[str, dict[str, float]] = {}
    recalls: dict[str, list[float]] = {label: [] for label in among.emotions}
    for name in dict.fromkeys(corpus.tolist()):
        rows, heard = corpus == name, live_corpus == name
        middle, window = (
            measure(true[rows], centre[rows], among.emotions),
            measure(live_true[heard], live[heard], among.emotions),
        )
        turns = turns_of(folds, fits, name, among)
        for label, value in middle.recall.items():
            recalls[label].append(value)
        found[name] = {
            "uar": round(middle.uar, 4), "accuracy": round(middle.accuracy, 4), "ece": round(middle.ece, 4),
            "n": middle.n, "live_uar": round(window.uar, 4), "live_ece": round(window.ece, 4), "live_n": window.n,
            **{key: round(turns[protocol].uar, 4) for key, protocol in TURNS.items() if protocol in turns},
        }  # fmt: skip
    by_corpus = {name: figures["uar"] for name, figures in found.items()}
    metrics: dict[str, object] = {
        "uar": round(float(np.mean(list(by_corpus.values()))), 4),
        "uar_folds": by_corpus,
        "accuracy": round(float(np.mean([figures["accuracy"] for figures in found.values()])), 4),
        "recall": {label: round(float(np.mean(values)), 4) for label, values in recalls.items() if values},
        "corpora": found,
        "protocol": f"{', '.join(found)}, {len(folds)} folds by speaker: {speech_protocol(among)}; "
        f"live: {LIVE_PROTOCOL}",
    }
    if left_out:
        metrics["left_out"] = left_out_metrics(left_out, among)
    return metrics | ({"conditions": uar_under(folds)} if uar_under(folds) else {})


def turns_of(
    folds: Sequence[Fold], temperatures: Sequence[float], corpus: str, among: EmotionSet = SEVEN
) -> dict[str, Figures]:
    """Figures of composed turns of one corpus (`turn_figures`), each clip predicted by the fold without its speaker."""
    voices_, true, live = list[str](), list[int](), list[NDArray[np.float64]]()
    for fold, temperature in zip(folds, temperatures, strict=True):
        probabilities = softmax(fold.live, temperature)
        for clip, voice in enumerate(fold.voices):
            if fold.corpus[clip] == corpus:
                voices_.append(voice)
                true.append(int(fold.true[clip]))
                live.append(probabilities[fold.live_clip == clip])
    return turn_figures(voices_, np.array(true, np.int64), live, Listening().hop_s, among)


TURNS = {"turn_uar": TURN_PROTOCOL, "turn_window_uar": LONE_PROTOCOL}
"""Names of the figures of turns in the metadata: gathered, and each window for itself."""


def left_out_metrics(left_out: Mapping[str, Fold], among: EmotionSet = SEVEN) -> dict[str, object]:
    """UAR and ECE of each corpus that was left out, calibrated on the other left-out ones, and their means."""
    rows = {}
    for name, fold in left_out.items():
        fit = strangers_temperature({other: each for other, each in left_out.items() if other != name})
        found = measure(fold.true, softmax(fold.logits, fit), among.emotions)
        rows[name] = {"uar": round(found.uar, 4), "ece": round(found.ece, 4), "n": found.n}
    means = {key: round(float(np.mean([row[key] for row in rows.values()])), 4) for key in ("uar", "ece")}
    return {**means, "corpora": rows}


def out_of_fold_metrics(
    folds: Sequence[Fold], data: str = "RAVDESS speech", among: EmotionSet = SEVEN
) -> dict[str, object]:
    """Figures on held-out actors; probabilities of a fold are calibrated on the live windows of the other folds."""
    fitted = [(fold.live, fold.live_true) for fold in folds]
    centre = measure(_stacked([f.true for f in folds]), cross_fitted([f.logits for f in folds], fitted), among.emotions)
    live = measure(
        _stacked([f.live_true for f in folds]), cross_fitted([f.live for f in folds], fitted), among.emotions
    )
    mean = [measure(fold.true, fold.clip_means(), among.emotions) for fold in folds]
    by_fold = [measure(fold.true, _exponents(fold.logits), among.emotions).uar for fold in folds]
    found = {
        "uar": round(float(np.mean(by_fold)), 4),
        "uar_folds": {_actors(fold): round(uar, 4) for fold, uar in zip(folds, by_fold, strict=True)},
        "accuracy": round(centre.accuracy, 4),
        "macro_f1": round(centre.macro_f1, 4),
        "ece": round(centre.ece, 4),
        "n": centre.n,
        "recall": {label: round(value, 4) for label, value in centre.recall.items()},
        "recall_95": recall_intervals(centre),
        "protocol": f"{data}, {len(folds)} folds by actor: {speech_protocol(among)}",
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
    corpora = corpora_of(recordings)
    metadata = Metadata(
        contract=CONTRACT_VERSION,
        kind="speech",
        name=config.name,
        version=config.version,
        license=licence_of(recordings),
        source=(SOURCE if corpora == ["ravdess"] else f"trained with bimodal on {', '.join(corpora)}")
        + BEGINNINGS[config.network],
        labels=config.emotions,
        categories=own_names(config.emotions) or None,
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
    difference = write_artifact(
        graph, metadata, example, {0: "batch", 1: "samples"}, checks, path, config.network == "whisper"
    )
    write_card(config.output, metadata, "bimodal train speech", progress)
    progress(f"{path}: temperature {temperature}, ONNX Runtime and torch differ by {difference:.1e}")
    return path


def _stacked(labels: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate(labels)


def _exponents(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.exp(logits - logits.max(axis=1, keepdims=True)))


def _actors(fold: Fold) -> str:
    numbers = [int(speaker.rpartition("_")[2]) for speaker in fold.speakers if speaker.startswith("ravdess/Actor_")]
    return f"actors {min(numbers)}-{max(numbers)}" if numbers else ", ".join(sorted(fold.speakers))


def _checks(seed: int, recordings: Sequence[Recording]) -> list[NDArray[Any]]:
    random = np.random.default_rng(seed)
    noise = (0.1 * random.standard_normal((5, 3 * SAMPLE_RATE))).astype(np.float32)
    real = [centre_window(recording)[None] for recording in recordings[:3]]
    silence = np.zeros((1, SAMPLE_RATE), np.float32)
    return [noise, noise[:1], noise[:, : SAMPLE_RATE + 37], silence, *real]
