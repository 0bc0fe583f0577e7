"""`bimodal evaluate …`. Heavy imports wait until a command runs."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.errors import TrainingError
from training.told import one_sentence_errors

if TYPE_CHECKING:
    from training.evaluate import Evaluation

evaluate = typer.Typer(help="Measure an artifact on labelled data, as it runs live.", no_args_is_help=True)


class Labels(StrEnum):
    """Which labels count, where a data set has two."""

    AUTO = "auto"
    FERPLUS = "ferplus"
    FER2013 = "fer2013"


Data = Annotated[Path, typer.Option("--data", help="Folder of the data set, in any form of `bimodal data list`.")]
Model = Annotated[str, typer.Option("--model", help="Name of a model or path of an .onnx file.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder for report.html and its pictures.")]


@evaluate.command("face")
def evaluate_face(
    data: Data,
    model: Model = "face-compact",
    split: Annotated[str, typer.Option(help="train, valid, test, or a name of the data set's own.")] = "valid",
    labels: Annotated[Labels, typer.Option(help="auto: the FER+ majority where there are votes.")] = Labels.AUTO,
    out: Out = None,
    json: Json = None,
) -> None:
    """Measure a face-static model on labelled pictures."""
    with one_sentence_errors():
        from training import evaluate as measuring

        found = measuring.evaluate_face(measuring.find_model(model), data, split, labels.value)
        tell(found, out, json)


@evaluate.command("speech")
def evaluate_speech(
    data: Data,
    model: Model = "speech-compact",
    split: Annotated[str, typer.Option(help="'all', actors as in '1-4,9', or train, valid, test.")] = "all",
    out: Out = None,
    json: Json = None,
) -> None:
    """Measure a speech model on labelled speech."""
    with one_sentence_errors():
        from training import evaluate as measuring

        actors, part = split_words(split)
        tell(measuring.evaluate_speech(measuring.find_model(model), data, actors, part), out, json)


@evaluate.command("fusion")
def evaluate_fusion(
    data: Annotated[Path, typer.Option("--data", help="A folder with pairs.csv, or a prepared video tree.")],
    model: Annotated[str, typer.Option(help="Name or path of a fusion model; 'average' is the default strategy.")] = (
        "fusion-learned"
    ),
    split: Annotated[str, typer.Option(help="Of the pairs (train, test) or of the videos (train, valid).")] = "test",
    face: Annotated[str, typer.Option(help="The face-static model, for videos.")] = "face-compact",
    speech: Annotated[str, typer.Option(help="The speech model, for videos.")] = "speech-compact",
    out: Out = None,
    json: Json = None,
) -> None:
    """Measure a fusion model beside each modality alone and the average."""
    with one_sentence_errors():
        from training import evaluate_fusion as measuring
        from training.evaluate import find_model

        path = None if model == "average" else find_model(model)
        tell(measuring.evaluate_fusion(path, data, split, face, speech), out, json)


@evaluate.command("clips")
def evaluate_clips(
    folder: Annotated[Path, typer.Argument(help="Videos whose names, or a manifest.csv, say the emotion.")],
    config: Annotated[Path | None, typer.Option(help="config.yaml for the pipeline.")] = None,
    out: Out = None,
    json: Json = None,
) -> None:
    """Run the whole pipeline on labelled videos: video alone, speech alone and fused, side by side."""
    with one_sentence_errors():
        from training.clips import evaluate_clips as measure_clips
        from training.report import figures_json, write_json, write_report

        evaluations, rows = measure_clips(folder, config)
        for row in rows:
            typer.echo("  ".join(f"{name} {value}" for name, value in row.items()))
        for found in evaluations:
            figures = found.figures
            typer.echo(
                f"{found.model}: n = {figures.n}, accuracy {figures.accuracy:.4f}  UAR {figures.uar:.4f}  macro F1 "
                f"{figures.macro_f1:.4f}  ECE {figures.ece:.4f}"
            )
        if json is not None:
            ways = ("video", "speech", "fused")
            write_json(json, {way: figures_json(each) for way, each in zip(ways, evaluations, strict=True)})
        if out is not None:
            typer.echo(f"report: {write_report(out, f'Clips of {folder.name}', evaluations, rows)}")


def actors_of(split: str) -> tuple[int, ...] | None:
    """'all' → None; '1-4,9' → (1, 2, 3, 4, 9). Raises TrainingError for anything else."""
    if split == "all":
        return None
    actors: list[int] = []
    for part in split.split(","):
        span = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        if span is None:
            raise TrainingError(f"--split '{split}' must be 'all', a part of the data set, or actors as in '1-4,9'")
        actors.extend(range(int(span[1]), int(span[2] or span[1]) + 1))
    return tuple(actors)


def split_words(split: str) -> tuple[tuple[int, ...] | None, str | None]:
    """--split → (actors or None for all, part of the data set or None). Raises TrainingError as `actors_of`."""
    if re.fullmatch(r"[A-Za-z]\w*", split) and split != "all":
        return None, split
    return actors_of(split), None


def tell(evaluation: Evaluation, out: Path | None, json: Path | None) -> None:
    """Print an evaluation, and write what was asked for."""
    from training.report import figures_json, per_class, write_json, write_report

    figures = evaluation.figures
    typer.echo(f"{evaluation.model} on {evaluation.data}, n = {figures.n}: {evaluation.protocol}")
    if evaluation.seen_in_training:
        typer.echo("the model was trained on some of this data: these are no figures to report")
    typer.echo(
        f"accuracy {figures.accuracy:.4f}  UAR {figures.uar:.4f}  macro F1 {figures.macro_f1:.4f}  "
        f"ECE {figures.ece:.4f}"
    )
    for label, row in per_class(figures).items():
        typer.echo(
            f"  recall of {label:<9}{row['recall']:.3f}  ({row['low']:.3f} to {row['high']:.3f}, n = {row['n']})"
        )
    for protocol, other in evaluation.further.items():
        typer.echo(f"{protocol} (n = {other.n}): accuracy {other.accuracy:.4f}  UAR {other.uar:.4f}")
    typer.echo("confusion (rows true, columns found)")
    width = max(len(label) for label in figures.labels)
    for label, counts in zip(figures.labels, figures.confusion, strict=True):
        typer.echo(f"  {label:>{width}} " + " ".join(f"{count:5d}" for count in counts))
    if json is not None:
        write_json(json, figures_json(evaluation))
    if out is not None:
        typer.echo(f"report: {write_report(out, f'{evaluation.model} on {evaluation.data}', [evaluation])}")
