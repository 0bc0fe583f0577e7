"""Train a Keras speech model in the form (352, 15), by actor and on all, and export it as `bimodal export keras`.

Runs in a process of its own (`python -m bimodal.training.speech.keras CONFIG`), so that no other loads TensorFlow. The
front end is the preset `seed-mel15`: 1 s at 16 kHz, 15 mel bands in dB, standardised, 32 steps stretched to 352.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bimodal.errors import BimodalError

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import msgspec
import numpy as np
from numpy.typing import NDArray

from bimodal.export.frontends.presets import SEED_MEL15
from bimodal.export.frontends.reference import features
from bimodal.export.keras.convert import export_keras
from bimodal.export.keras.recipe import read_preset, with_words
from bimodal.models.emotions import EMOTIONS, SEVEN, EmotionSet, LabelMap, emotion_of, own_names
from bimodal.models.session import open_artifact
from bimodal.training.config import KerasSpeechConfig, learnt_from, load_config
from bimodal.training.datasets import names
from bimodal.training.datasets.loading import load_recordings
from bimodal.training.datasets.ravdess import Recording, actor_folds
from bimodal.training.errors import TrainingError
from bimodal.training.evaluate.evaluate import voices
from bimodal.training.evaluate.metrics import Figures, fit_temperature, measure, softmax
from bimodal.training.loop import Progress, fingerprint
from bimodal.training.speech.corpora import corpora_of, licence_of, warn_untold
from bimodal.training.speech.sound import Listening, centre_window, live_windows, random_window
from bimodal.training.to_artifact import set_metadata, write_card

LISTENING = Listening(window_s=1.0, minimum_s=1.0, hop_s=0.5)
STEPS, BANDS = 352, 15
FINGERPRINT = "fingerprint.txt"


def make_keras_speech(config: KerasSpeechConfig, progress: Progress) -> Path:
    """Cross-validate by actor, train on all, calibrate on the folds' outputs, export. Returns the artifact's path.

    Raises DatasetError for the data, TrainingError if the folder of the runs holds those of another config or other
    data.
    """
    keras.utils.set_random_seed(config.seed)
    recordings = load_recordings(config.data, among=config.among)
    warn_untold(recordings, config.name, config.among, progress)
    runs = config.runs / config.name
    claim(runs, config, recordings)
    folds = []
    parts = actor_folds([recording.clip.actor for recording in recordings], config.folds)
    for number, (training, validation) in enumerate(parts, start=1):
        learnt = [recording for recording in recordings if recording.clip.actor in training]
        network = fitted(config, learnt, runs / f"fold-{number}.keras", progress)
        left_out = [recording for recording in recordings if recording.clip.actor in validation]
        fold = answers(network, left_out, config.among)
        folds.append(fold)
        progress(f"fold {number}/{config.folds}: UAR {fold.by_clip().uar:.3f} for the mean over a clip's live windows")
    truth = np.concatenate([fold.exact for fold in folds])
    temperature = round(fit_temperature(np.concatenate([fold.logits for fold in folds]), truth), 4)
    network = fitted(config, recordings, runs / "all.keras", progress)
    cooled = runs / "calibrated.keras"
    calibrated(network, temperature).save(cooled)
    return ship(config, cooled, temperature, _metrics(folds, recordings, temperature), recordings, progress)


def claim(runs: Path, config: KerasSpeechConfig, recordings: Sequence[Recording]) -> None:
    """Note in a folder which config and data its runs are of: only those go on.

    A folder with runs and no such note is of a version that learnt the seven emotions only.
    Raises TrainingError if it holds runs of others.
    """
    learnt = [(recording.clip.path.name, recording.clip.emotion) for recording in recordings]
    same, note = fingerprint([learnt_from(config), learnt]), runs / FINGERPRINT
    if note.is_file():
        known = note.read_text(encoding="utf-8") == same
    else:
        known = config.among.is_seven or not any(runs.glob("*"))
    if not known:
        raise TrainingError(f"{runs} holds a run with another config or other data: remove it, or set 'runs'")
    runs.mkdir(parents=True, exist_ok=True)
    note.write_text(same, encoding="utf-8")


class Answers(msgspec.Struct, frozen=True):
    """Outputs of a network on held-out speakers.

    Attributes:
        among: the emotions that are learnt.
        logits: float [M, C] over its classes (`classes_of`) of every live window; `clip` int [M], the clip of each.
        exact: int [M], indices into the classes; true: int [N], indices into the emotions, of each clip.
        centre: float [N, C], logits of the middle second of each clip.
    """

    among: EmotionSet
    logits: NDArray[np.float64]
    clip: NDArray[np.int64]
    exact: NDArray[np.int64]
    true: NDArray[np.int64]
    centre: NDArray[np.float64]

    def by_clip(self, temperature: float = 1.0) -> Figures:
        """Figures of the mean over each clip's live windows."""
        rows = softmax(self.logits, temperature)
        means = np.stack([rows[self.clip == clip].mean(axis=0) for clip in range(len(self.true))])
        return self.measured(means)

    def by_centre(self, temperature: float) -> Figures:
        """Figures of the middle second of each clip."""
        return self.measured(softmax(self.centre, temperature))

    def measured(self, probabilities: NDArray[np.floating]) -> Figures:
        """Figures of probabilities [N, C] over the classes, one row a clip."""
        classes = classes_of(self.among)
        mapped = LabelMap(classes, own_names(classes), self.among).apply(probabilities)
        rows = np.array([[row[emotion] for emotion in self.among.emotions] for row in mapped])
        return measure(self.true, rows, self.among.emotions)


def classes_of(among: EmotionSet) -> tuple[str, ...]:
    """Classes of the network: the emotions themselves; of the seven those of the preset, which knows calm, too."""
    return SEED_MEL15.labels if among.is_seven else among.emotions


def class_of(recording: Recording, among: EmotionSet = SEVEN) -> int:
    """Index into the classes: of the seven, RAVDESS's own names distinguish calm from neutral."""
    if not among.is_seven:
        return recording.clip.emotion
    match = names.RAVDESS.fullmatch(recording.clip.path.stem)
    word = names.RAVDESS_EMOTIONS[match[3]] if match else EMOTIONS[recording.clip.emotion]
    classes = classes_of(among)
    if word in classes:
        return classes.index(word)
    return next(place for place, label in enumerate(classes) if emotion_of(label) == emotion_of(word))


def network_of(config: KerasSpeechConfig) -> Any:
    """Build the network: strided convolutions, then an LSTM (a GRU would become a slow ONNX Loop)."""
    return keras.Sequential(
        [
            keras.layers.Input((STEPS, BANDS)),
            keras.layers.Conv1D(config.width, 11, strides=11, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Conv1D(config.width, 3, padding="same", activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(config.dropout),
            keras.layers.Bidirectional(keras.layers.LSTM(config.width)),
            keras.layers.Dropout(config.dropout),
            keras.layers.Dense(len(classes_of(config.among)), activation="softmax"),
        ]
    )


def fitted(config: KerasSpeechConfig, recordings: Sequence[Recording], path: Path, progress: Progress) -> Any:
    """Train a network, or load it from `path`; an interrupted training resumes after its last epoch."""
    if path.is_file():
        return keras.models.load_model(path, compile=False, safe_mode=True)
    random = np.random.default_rng(config.seed)
    windows = [random_window(recording, 16_000, random) for recording in recordings for _ in range(config.windows)]
    inputs = np.stack([features(SEED_MEL15.frontend, window) for window in windows])
    places = np.repeat([class_of(recording, config.among) for recording in recordings], config.windows)
    order = random.permutation(len(places))
    network = network_of(config)
    schedule = keras.optimizers.schedules.CosineDecay(
        config.learning_rate, config.epochs * (len(places) // config.batch + 1)
    )
    network.compile(
        keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay), "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )  # fmt: skip
    history = network.fit(
        inputs[order], places[order], batch_size=config.batch, epochs=config.epochs,
        verbose=1 if sys.stderr.isatty() else 0,
        callbacks=[keras.callbacks.BackupAndRestore(str(path.with_suffix(".backup")), delete_checkpoint=True)],
    )  # fmt: skip
    fresh = path.with_suffix(".new.keras")
    network.save(fresh)
    fresh.replace(path)
    loss = history.history["loss"][-1] if history.history.get("loss") else float("nan")
    progress(f"{path.stem}: {len(places)} windows, loss {loss:.3f} in the end")
    return network


def answers(network: Any, recordings: Sequence[Recording], among: EmotionSet = SEVEN) -> Answers:
    """Run the network on each recording."""
    live = [live_windows(recording, LISTENING) for recording in recordings]
    clip = np.repeat(np.arange(len(recordings)), [len(windows) for windows in live])
    exact = np.array([class_of(recording, among) for recording in recordings], np.int64)
    return Answers(
        among=among,
        logits=_logits(network, [window for windows in live for window in windows]),
        clip=clip,
        exact=exact[clip],
        true=np.array([recording.clip.emotion for recording in recordings], np.int64),
        centre=_logits(network, [centre_window(recording, LISTENING) for recording in recordings]),
    )


def _logits(network: Any, windows: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    inputs = np.stack([features(SEED_MEL15.frontend, window) for window in windows])
    probabilities = network.predict(inputs, batch_size=256, verbose=0)
    return np.asarray(np.log(np.maximum(probabilities, 1e-9)), np.float64)


def calibrated(network: Any, temperature: float) -> Any:
    """Divide the logits of the network's last layer by the temperature."""
    kernel, bias = network.layers[-1].get_weights()
    network.layers[-1].set_weights([kernel / temperature, bias / temperature])
    return network


def ship(
    config: KerasSpeechConfig, path: Path, temperature: float, metrics: dict[str, object],
    recordings: Sequence[Recording], progress: Progress,
) -> Path:  # fmt: skip
    """Export as any Keras file, then add temperature, figures and card."""
    corpora, classes = corpora_of(recordings), classes_of(config.among)
    whose = "by this project on RAVDESS speech" if corpora == ["ravdess"] else f"with bimodal on {', '.join(corpora)}"
    recipe = with_words(
        read_preset("seed-mel15"),
        labels=classes,
        categories=own_names(classes),
        license=licence_of(recordings),
        source=f"trained {whose} with Keras",
    )
    real = [recording.clip.path for recording in recordings[:2]]
    made = export_keras(
        path,
        recipe,
        config.name,
        config.output.parent,
        progress,
        version=config.version,
        real=real,
        tolerance=1e-3,
        card=False,
    )
    known = open_artifact(made, "speech", provider="cpu").metadata
    metadata = msgspec.structs.replace(
        known, source=recipe.source, temperature=temperature, interval_s=LISTENING.hop_s,
        metrics={**(known.metrics or {}), **metrics},
    )  # fmt: skip
    set_metadata(made, metadata)
    open_artifact(made, "speech", provider="cpu")
    write_card(made.parent, metadata, "bimodal train keras-speech", progress)
    return made


def _metrics(folds: Sequence[Answers], recordings: Sequence[Recording], temperature: float) -> dict[str, object]:
    clip = [fold.by_clip() for fold in folds]
    centre = [fold.by_centre(temperature) for fold in folds]
    calm = "; calm counts as neutral" if folds[0].among.is_seven else ""
    return {
        "uar": round(float(np.mean([figures.uar for figures in clip])), 4),
        "uar_folds": [round(figures.uar, 4) for figures in clip],
        "accuracy": round(float(np.mean([figures.accuracy for figures in clip])), 4),
        "n": sum(figures.n for figures in clip),
        "centre": {
            "protocol": "the middle second of each clip",
            "uar": round(float(np.mean([figures.uar for figures in centre])), 4),
            "ece": round(float(np.mean([figures.ece for figures in centre])), 4),
        },
        "protocol": f"{len(folds)} folds by actor, mean over a clip's live windows of 1 s{calm}",
        "trained_on": voices(recordings),
    }


def main() -> None:
    """Run the process; errors are printed as one sentence."""
    try:
        config = load_config(Path(sys.argv[1]), KerasSpeechConfig)
        made = make_keras_speech(config, lambda line: print(line, flush=True))
    except BimodalError as error:
        print(f"bimodal: {error}", file=sys.stderr)
        sys.exit(1)
    print(f"{made} is ready")


if __name__ == "__main__":
    main()
