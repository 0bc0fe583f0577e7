"""Measure all that a config runs on every data set of a folder: one table, one page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.models.errors import ArtifactError
from bimodal.training.datasets.items import Medium
from bimodal.training.datasets.loading import ALL, has_split
from bimodal.training.datasets.readers import reader_of
from bimodal.training.errors import DatasetError, TrainingError
from bimodal.training.evaluate.clips import evaluate_clips, find_videos
from bimodal.training.evaluate.evaluate import Evaluation, evaluate_face, find_model
from bimodal.training.evaluate.face_conditions import CONDITIONS as SEEN
from bimodal.training.evaluate.metrics import Figures
from bimodal.training.evaluate.running import emotions_of_config, fusing, running
from bimodal.training.evaluate.speech import evaluate_speech
from bimodal.training.fusion.evaluate import STRATEGIES, evaluate_fusion

Progress = Callable[[str], None]
HELD_OUT = ("valid", "test")
"""Splits that are measured, the first that there is; a data set without splits is measured as a whole."""


class DataSet(NamedTuple):
    """A data set of a folder, and its medium."""

    folder: Path
    medium: Medium


def find_data_sets(folder: Path, among: EmotionSet = SEVEN) -> list[DataSet]:
    """Find the data sets in a folder with labels of a set: its subfolders in the order of their names, or itself.

    It is one data set itself where all that its subfolders hold has the same form: actors, splits, classes.
    Raises DatasetError if there is none.
    """
    whole = _form(folder, among)
    parts = {}
    for place in sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []:
        form = _form(place, among)
        if form is not None:
            parts[place] = form
    if whole is not None and set(parts.values()) <= {whole}:
        return [DataSet(folder, whole[1])]
    if not parts:
        raise DatasetError(f"{folder} holds no data set that bimodal knows: see 'bimodal data list'")
    return [DataSet(place, medium) for place, (_, medium) in parts.items()]


def _form(folder: Path, among: EmotionSet) -> tuple[str, Medium] | None:
    """(reader, medium) of a folder with labelled items; None if it is no data set."""
    media: tuple[Medium, ...] = ("picture", "sound")
    for medium in media:
        try:
            reader = reader_of(folder, [medium], among)
            items = reader.read(folder, among)
        except DatasetError:
            continue
        if any(item.medium == medium and item.label is not None for item in items):
            return reader.name, medium
    try:
        find_videos(folder, among)
    except DatasetError:
        return None
    return "videos", "video"


def evaluate_everything(
    folder: Path, conditions: bool, progress: Progress, config: Path | None = None
) -> list[Evaluation]:
    """Measure the models of a config (else of the default one) on each data set: faces on pictures, speech on sounds,
    the whole pipeline on videos; all three and fusion on prepared videos.

    What can't be measured is said by `progress`, and the rest goes on. Raises DatasetError if there is no data set.
    """
    evaluations: list[Evaluation] = []
    for found in find_data_sets(folder, emotions_of_config(config)):
        progress(f"{found.folder.name} …")
        for what, measure in _measurements(found, conditions, config):
            try:
                evaluations += measure()
            except (TrainingError, ArtifactError) as error:
                progress(f"{what}{found.folder.name} is left out: {error}")
    if not evaluations:
        raise DatasetError(f"nothing in {folder} could be measured")
    return evaluations


def _measurements(
    found: DataSet, conditions: bool, config: Path | None
) -> Iterator[tuple[str, Callable[[], list[Evaluation]]]]:
    """Yield the measurements of a data set: (words before its name, the measurement)."""
    match found.medium:
        case "picture":
            yield "", lambda: [_faces(found.folder, conditions, config)]
            items = reader_of(found.folder, ["picture"]).read(found.folder, emotions_of_config(config))
            heard = [item for item in items if item.medium == "sound" and item.label is not None]
            if heard:
                yield "speech of ", lambda: [_speech(found.folder, config, held_out=True)]
            if any(item.clip for item in heard):
                yield "fusion of ", lambda: [_fusion(found.folder, config)]
        case "sound":
            yield "", lambda: [_speech(found.folder, config, held_out=False)]
        case "video":
            yield "", lambda: evaluate_clips(found.folder, config)[0]


def _faces(folder: Path, conditions: bool, config: Path | None) -> Evaluation:
    chosen = running("face-static", config)
    models, under = [find_model(name) for name in chosen.models], tuple(SEEN) if conditions else ()
    split = _split(folder, chosen.among)
    return evaluate_face(models, folder, split, conditions=under, among=chosen.among, joined=chosen.joined)


def _speech(folder: Path, config: Path | None, *, held_out: bool) -> Evaluation:
    chosen = running("speech", config)
    models = [find_model(name) for name in chosen.models]
    split = _split(folder, chosen.among) if held_out else ALL
    return evaluate_speech(
        models, folder, split=None if split == ALL else split, among=chosen.among, joined=chosen.joined
    )


def _fusion(folder: Path, config: Path | None) -> Evaluation:
    chosen, sides = fusing(config), (running("face-static", config), running("speech", config))
    path = chosen.model if chosen.model in STRATEGIES else find_model(chosen.model)
    return evaluate_fusion(path, folder, _split(folder, sides[0].among), sides, chosen.weights, chosen.among)


def _split(folder: Path, among: EmotionSet) -> str:
    return next((split for split in HELD_OUT if has_own_split(folder, split, among)), ALL)


def has_own_split(folder: Path, split: str, among: EmotionSet = SEVEN) -> bool:
    """True if a picture data set itself has that split."""
    splits = {item.split for item in reader_of(folder, ["picture"], among).read(folder, among)}
    return split in splits and has_split(folder, split, among)


COLUMNS = ("data", "model", "under", "n", "accuracy", "UAR", "ECE", "AURC", "note")


def table_rows(evaluations: Iterable[Evaluation]) -> list[dict[str, object]]:
    """One row for each evaluation, for each of its further protocols, and for each condition."""
    rows = []
    for each in evaluations:
        note = "seen in training: no figures to report" if each.seen_in_training else ""
        parts: list[tuple[str, Figures]] = [("", each.figures), *each.further.items(), *each.under.items()]
        for under, figures in parts:
            values = (
                each.data, each.model, under, figures.n, f"{figures.accuracy:.3f}", f"{figures.uar:.3f}",
                f"{figures.ece:.3f}", f"{figures.aurc:.3f}", note,
            )  # fmt: skip
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def markdown(rows: Sequence[dict[str, object]]) -> Iterator[str]:
    """Yield the rows as a Markdown table."""
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "|---" * len(COLUMNS) + "|"
    for row in rows:
        yield "| " + " | ".join(str(row[name]) for name in COLUMNS) + " |"
