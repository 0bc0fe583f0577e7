"""Evaluate the whole pipeline on clips: run `bimodal analyze` as users do, and read its events."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bimodal.child_process import child_environment, python_command
from bimodal.models.catalog import resolve
from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.models.errors import ModelError
from bimodal.models.session import Artifact, open_artifact
from bimodal.training.datasets import names
from bimodal.training.datasets.items import Item, files_under
from bimodal.training.datasets.loading import voice_of
from bimodal.training.datasets.manifest import NAME as MANIFEST
from bimodal.training.datasets.manifest import read_manifest
from bimodal.training.errors import DatasetError, TrainingError
from bimodal.training.evaluate.evaluate import Evaluation, seen_by
from bimodal.training.evaluate.metrics import measure
from bimodal.training.evaluate.running import emotions_of_config, running

PROTOCOL = "mean over a clip's frames (speech: over its voiced windows); the verdict of the whole pipeline"
WAYS = ("video", "speech", "fused")


@dataclass
class ClipResult:
    """Mean probabilities float64 [E] of one clip by way (video, speech, fused), if any; models by kind."""

    probabilities: dict[str, NDArray[np.float64]]
    models: dict[str, str] = field(default_factory=dict)


def find_videos(folder: Path, among: EmotionSet = SEVEN) -> list[Item]:
    """Find videos labelled with an emotion of a set: those of a manifest.csv, or with the emotion in the name (MEAD,
    RAVDESS, CREMA-D).

    Raises DatasetError if there is none, or two share a name.
    """
    if (folder / MANIFEST).is_file():
        items = [item for item in read_manifest(folder, among) if item.medium == "video" and item.label is not None]
    else:
        items = [item for path in files_under(folder, "video") if (item := _named(path, among)) is not None]
    if not items:
        raise DatasetError(
            f"{folder} holds no video whose name says its emotion (like mead_M003_happy.mp4 or 01-01-03-….mp4), and no "
            "manifest.csv that says it" + ("" if among.is_seven else f", as one of {among.words}")
        )
    stems = [item.path.stem for item in items]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise DatasetError(f"{folder} holds two videos named '{twice}': rename one")
    return items


def _named(path: Path, among: EmotionSet) -> Item | None:
    named = names.clip(path.stem, among)
    label = None if named is None else named.label(str(path), among)
    if named is None or label is None:
        return None
    return Item(path=path, label=label, speaker=named.speaker, corpus=named.corpus)


def analyze(
    paths: Sequence[Path], config: Path | None, among: EmotionSet = SEVEN
) -> tuple[dict[str, ClipResult], float]:
    """Run `bimodal analyze` in a process of its own: (result of each clip, over a set of emotions, by its file's stem,
    seconds).

    Raises TrainingError with the command's own message if a clip can't be analysed.
    """
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bimodal-clips-") as scratch:
        command = python_command("bimodal", "analyze", *(str(path.resolve()) for path in paths), "--out", scratch)
        if config is not None:
            command += ["--config", str(config)]
        done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise TrainingError(f"the analysis failed: {lines[-1] if lines else done.returncode}")
        results = {path.stem: read_events(Path(scratch) / f"{path.stem}.jsonl", among) for path in paths}
    return results, time.monotonic() - begun


def read_events(path: Path, among: EmotionSet = SEVEN) -> ClipResult:
    """Average the events of one clip by way, over a set of emotions. The largest face counts."""
    rows: dict[str, list[NDArray[np.float64]]] = {way: [] for way in WAYS}
    found = ClipResult({})
    hops: set[float] = set()
    with path.open("rb") as file:
        for line in file:
            _add_event(msgspec.json.decode(line), rows, hops, found.models, among)
    found.probabilities = {way: np.mean(values, axis=0) for way, values in rows.items() if values}
    return found


def _add_event(
    event: Mapping[str, Any],
    rows: dict[str, list[NDArray[np.float64]]],
    hops: set[float],
    models: dict[str, str],
    among: EmotionSet,
) -> None:
    models.update(event["models"])
    face = max(event["faces"], key=lambda seen: seen["box"][2] * seen["box"][3], default=None)
    speech = event["speech"] or {}
    probabilities = speech.get("probabilities")
    if face is not None:
        rows["video"].append(in_order(face["video"], among))
        rows["fused"].append(in_order(face["fused"], among))
    elif probabilities:
        rows["fused"].append(in_order(probabilities, among))
    if probabilities:
        ended = round(event["t"] - speech["age_ms"] / 1000, 2)
        if ended not in hops:
            hops.add(ended)
            rows["speech"].append(in_order(probabilities, among))


def in_order(probabilities: Mapping[str, float], among: EmotionSet) -> NDArray[np.float64]:
    """Order probabilities as a set does, float64 [E]; 0 for emotions that the model can't name."""
    return np.array([probabilities.get(emotion, 0.0) for emotion in among.emotions])


def evaluate_clips(folder: Path, config: Path | None = None) -> tuple[list[Evaluation], list[dict[str, object]]]:
    """Measure video alone, speech alone and fused on a folder of labelled videos, over the emotions of the config; also
    a row per clip.

    A clip without an output of one way counts as wrong in it, with uniform probabilities.
    Raises DatasetError as `find_videos`, TrainingError as `analyze`.
    """
    among = emotions_of_config(config)
    items = find_videos(folder, among)
    results, seconds = analyze([item.path for item in items], config, among)
    true = np.array([item.label for item in items], np.int64)
    models = {kind: name for each in results.values() for kind, name in each.models.items()}
    face, voice = ("face-static", "face-dynamic"), ("speech",)
    behind = {"video": face, "speech": voice, "fused": (*face, *voice, "fusion")}
    people = {voice_of(item, folder) for item in items if item.speaker}
    learnt = {
        kind for kind in models if kind in behind["fused"] and seen_by(_artifacts(kind, models[kind], config), people)
    }
    evaluations = []
    for way in WAYS:
        table = np.stack(
            [_answer(results[item.path.stem], way, true[place], among) for place, item in enumerate(items)]
        )
        names = [models[kind] for kind in behind[way] if kind in models]
        evaluations.append(
            Evaluation(
                model=f"{way} ({' + '.join(names) or 'none'})",
                data=folder.name,
                protocol=PROTOCOL,
                seen_in_training=bool(learnt & {*behind[way]}),
                figures=measure(true, table, among.emotions),
                seconds=seconds,
                true=true.tolist(),
                probabilities=table.tolist(),
            )
        )
    return evaluations, list(_rows(items, results, among))


def _artifacts(kind: str, identities: str, config: Path | None) -> list[Artifact]:
    """Open the models of one kind that ran; none if they are only named in a config that was not given here."""
    names = [each.partition("@")[0] for each in identities.split("+")]
    try:
        named = running(kind, config).models if config is not None else names
        return [open_artifact(resolve(name), provider="cpu") for name in named]
    except (TrainingError, ModelError):
        return []


def _answer(results: ClipResult, way: str, true: np.int64, among: EmotionSet) -> NDArray[np.float64]:
    if way in results.probabilities:
        return results.probabilities[way]
    nothing = np.full(len(among.emotions), 1 / len(among.emotions))
    nothing[true] -= 1e-6
    return nothing


def _rows(items: Iterable[Item], results: Mapping[str, ClipResult], among: EmotionSet) -> Iterable[dict[str, object]]:
    for item in items:
        row: dict[str, object] = {"clip": item.path.name, "true": among.emotions[item.label or 0]}
        for way in WAYS:
            answer = results[item.path.stem].probabilities.get(way)
            row[way] = "–" if answer is None else f"{among.emotions[int(answer.argmax())]} {answer.max():.2f}"
        yield row
