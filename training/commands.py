"""`bimodal train …` and `bimodal evaluate …`. Heavy imports wait until a command runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from models.errors import ModelError
from training.errors import TrainingError

if TYPE_CHECKING:
    from training.evaluate import Evaluation

CONFIGS = Path(__file__).parent / "configs"

train = typer.Typer(help="Train a model from raw files to an artifact.", no_args_is_help=True)
evaluate = typer.Typer(help="Measure an artifact on labelled data, as it runs live.", no_args_is_help=True)

ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML config; the shipped model's by default.")]
Data = Annotated[Path, typer.Option("--data", help="Folder of the data set.")]
OtherData = Annotated[Path | None, typer.Option("--data", help="Folder of the data set, in place of the config's.")]
Output = Annotated[Path | None, typer.Option("--output", help="Folder for model.onnx, in place of the config's.")]
Model = Annotated[str, typer.Option("--model", help="Name of a model or path of an .onnx file.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")]


@train.command("face")
def train_face(config: ConfigFile = None, data: OtherData = None, output: Output = None) -> None:
    """Train a face-static model on FER2013 pictures with FER+ votes."""
    with _one_sentence_errors():
        from training.config import FaceConfig, load_config
        from training.face_artifact import make_face

        settings = load_config(config or CONFIGS / "face-compact.yaml", FaceConfig)
        make_face(settings.model_copy(update=_given(data, output)), typer.echo)


@train.command("speech")
def train_speech(config: ConfigFile = None, data: OtherData = None, output: Output = None) -> None:
    """Validate a speech model on RAVDESS by actor, then train it on all actors."""
    with _one_sentence_errors():
        from training.config import SpeechConfig, load_config
        from training.speech_artifact import make_speech

        settings = load_config(config or CONFIGS / "speech-compact.yaml", SpeechConfig)
        make_speech(settings.model_copy(update=_given(data, output)), typer.echo)


@evaluate.command("face")
def evaluate_face(
    data: Data,
    model: Model = "face-compact",
    split: Annotated[str, typer.Option(help="Name of the CSV file and folder.")] = "valid",
    json: Json = None,
) -> None:
    """Measure a face-static model on pictures in FER2013's form with FER+ votes."""
    with _one_sentence_errors():
        from training import evaluate as measuring

        _tell(measuring.evaluate_face(measuring.find_model(model), data, split), json)


@evaluate.command("speech")
def evaluate_speech(
    data: Data,
    model: Model = "speech-compact",
    split: Annotated[str, typer.Option(help="'all', or actors as in '1-4,9'.")] = "all",
    json: Json = None,
) -> None:
    """Measure a speech model on RAVDESS speech."""
    with _one_sentence_errors():
        from training import evaluate as measuring

        _tell(measuring.evaluate_speech(measuring.find_model(model), data, actors_of(split)), json)


def actors_of(split: str) -> tuple[int, ...] | None:
    """'all' → None; '1-4,9' → (1, 2, 3, 4, 9). Raises TrainingError for anything else."""
    if split == "all":
        return None
    actors: list[int] = []
    for part in split.split(","):
        span = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        if span is None:
            raise TrainingError(f"--split '{split}' must be 'all' or name actors, as in '1-4,9'")
        actors.extend(range(int(span[1]), int(span[2] or span[1]) + 1))
    return tuple(actors)


def _given(data: Path | None, output: Path | None) -> dict[str, Path]:
    return {name: value for name, value in (("data", data), ("output", output)) if value is not None}


@contextmanager
def _one_sentence_errors() -> Iterator[None]:
    try:
        yield
    except (TrainingError, ModelError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


def _tell(evaluation: Evaluation, json: Path | None) -> None:
    figures = evaluation.figures
    typer.echo(f"{evaluation.model} on {evaluation.data}, n = {figures.n}: {evaluation.protocol}")
    if evaluation.seen_in_training:
        typer.echo("the model was trained on some of this data: these are no figures to report")
    typer.echo(
        f"accuracy {figures.accuracy:.4f}  UAR {figures.uar:.4f}  macro F1 {figures.macro_f1:.4f}  "
        f"ECE {figures.ece:.4f}"
    )
    typer.echo("recall " + "  ".join(f"{label} {value:.3f}" for label, value in figures.recall.items()))
    for protocol, other in evaluation.further.items():
        typer.echo(f"{protocol} (n = {other.n}): accuracy {other.accuracy:.4f}  UAR {other.uar:.4f}")
    typer.echo("confusion (rows true, columns found)")
    width = max(len(label) for label in figures.labels)
    for label, row in zip(figures.labels, figures.confusion, strict=True):
        typer.echo(f"  {label:>{width}} " + " ".join(f"{count:5d}" for count in row))
    if json is not None:
        json.parent.mkdir(parents=True, exist_ok=True)
        json.write_bytes(msgspec.json.format(msgspec.json.encode(evaluation), indent=2))
