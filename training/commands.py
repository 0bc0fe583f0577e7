"""The commands `bimodal train` and `bimodal data`. Heavy imports wait until a command runs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
import typer

from bimodal.child_process import child_environment, python_command
from bimodal.extras import require
from bimodal.models.commands import one_sentence

if TYPE_CHECKING:
    from bimodal.training.config import Config

    AnyConfig = TypeVar("AnyConfig", bound=Config)

CONFIGS = Path(__file__).parent / "configs"

EXTRA = "training"
PACKAGES = ("torch", "onnx", "onnxscript", "librosa", "scipy", "tqdm")
"""Packages of the extra that every training needs."""

train = typer.Typer(help="Train a model from raw files to an artifact.", no_args_is_help=True)

ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML config; the shipped model's by default.")]
Data = Annotated[Path | None, typer.Option("--data", help="Folder of the data set, in place of the config's.")]
Output = Annotated[Path | None, typer.Option("--output", help="Folder for model.onnx, in place of the config's.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Begin anew, in place of going on with a run that was cut off.")]


@train.command("face")
def train_face(config: ConfigFile = None, data: Data = None, output: Output = None, fresh: Fresh = False) -> None:
    """Train a face-static model on pictures: FER2013 with FER+ votes, AffectNet, faces of videos, or your own.

    Example: bimodal train face --data AffectNet --output my-models/mine
    """
    with one_sentence_errors():
        require("train face", EXTRA, *PACKAGES)
        from bimodal.training.config import FaceConfig
        from bimodal.training.face.artifact import make_face

        make_face(_settings(config or CONFIGS / "face-compact.yaml", FaceConfig, data, output, fresh), typer.echo)


@train.command("face-robust")
def train_face_robust(config: ConfigFile = None, data: Data = None, output: Output = None) -> None:
    """Join face-compact's network and face-api.js's in one model, as a product of experts fitted on held-out pictures.

    Example: bimodal train face-robust
    """
    with one_sentence_errors():
        require("train face-robust", f"{EXTRA},convert", *PACKAGES, "onnxslim")
        from bimodal.training.config import RobustConfig, load_config
        from bimodal.training.face.robust import make_robust

        settings = load_config(config or CONFIGS / "face-robust.yaml", RobustConfig)
        given = {name: value for name, value in (("data", data), ("output", output)) if value is not None}
        make_robust(msgspec.structs.replace(settings, **given), typer.echo)


@train.command("speech")
def train_speech(
    config: ConfigFile = None,
    data: Data = None,
    output: Output = None,
    fresh: Fresh = False,
    leave_one_corpus_out: Annotated[
        bool, typer.Option("--leave-one-corpus-out", help="Only measure: train with each corpus left out altogether.")
    ] = False,
) -> None:
    """Validate a speech model by speaker, then train it on all of them.

    Example: bimodal train speech --data RAVDESS
    """
    with one_sentence_errors():
        require("train speech", EXTRA, *PACKAGES)
        from bimodal.training.config import SpeechConfig
        from bimodal.training.speech.artifact import leave_one_corpus_out as measure
        from bimodal.training.speech.artifact import make_speech

        path = config or CONFIGS / "speech-whisper.yaml"
        settings = _settings(path, SpeechConfig, data, output, fresh)
        if config is None and data is not None:
            # The further corpora of the shipped model's config are not the user's.
            settings = msgspec.structs.replace(settings, also=(), shares={})
        if leave_one_corpus_out:
            measure(settings, typer.echo)
        else:
            make_speech(settings, typer.echo)


@train.command("dynamic")
def train_dynamic(config: ConfigFile = None, data: Data = None, output: Output = None, fresh: Fresh = False) -> None:
    """Train a face-dynamic model on prepared videos, or on sequences composed of pictures.

    Example: bimodal train dynamic --data prepared
    """
    with one_sentence_errors():
        require("train dynamic", EXTRA, *PACKAGES)
        from bimodal.training.config import DynamicConfig
        from bimodal.training.dynamic.artifact import make_dynamic

        path = config or CONFIGS / "face-dynamic-compact.yaml"
        make_dynamic(_settings(path, DynamicConfig, data, output, fresh), typer.echo)


@train.command("fusion")
def train_fusion(config: ConfigFile = None, data: Data = None, output: Output = None, fresh: Fresh = False) -> None:
    """Train the fusion strategy `learned` on prepared videos, or on faces and voices put together by label.

    Example: bimodal train fusion
    """
    with one_sentence_errors():
        require("train fusion", EXTRA, *PACKAGES)
        from bimodal.training.config import FusionConfig
        from bimodal.training.fusion.train import make_fusion

        make_fusion(_settings(config or CONFIGS / "fusion-learned.yaml", FusionConfig, data, output, fresh), typer.echo)


@train.command("keras-speech")
def train_keras_speech(config: ConfigFile = None) -> None:
    """Train the Keras speech model in the form (352, 15), in a process of its own (needs the extra 'convert' too).

    Example: bimodal train keras-speech
    """
    with one_sentence_errors():
        require("train keras-speech", f"{EXTRA},convert", *PACKAGES, "keras", "tensorflow", "tf2onnx", "h5py")
        from bimodal.training.config import KerasSpeechConfig, load_config

        path = config or CONFIGS / "speech-keras.yaml"
        load_config(path, KerasSpeechConfig)  # so that one that is wrong is told before TensorFlow is loaded
    command = python_command("bimodal.training.speech.keras", str(path))
    done = subprocess.run(command, env=child_environment(), check=False)
    raise typer.Exit(done.returncode)


def _settings(path: Path, kind: type[AnyConfig], data: Path | None, output: Path | None, fresh: bool) -> AnyConfig:
    from bimodal.training.config import load_config
    from bimodal.training.loop import forget

    settings = load_config(path, kind)
    given = {name: value for name, value in (("data", data), ("output", output)) if value is not None}
    if fresh:
        forget(settings.runs / settings.name)
    return msgspec.structs.replace(settings, **given)


# The command `bimodal data`.

app = typer.Typer(help="Make data sets ready to train on.", no_args_is_help=True)


class Split(StrEnum):
    """Ways of dividing a data set."""

    AUTO = "auto"
    OFFICIAL = "official"
    SPEAKER = "speaker"
    RANDOM = "random"


@app.command("list")
def list_datasets() -> None:
    """List the data sets that can be read: name, expected files, licence.

    Example: bimodal data list
    """
    with one_sentence_errors():
        from bimodal.training.datasets.readers import READERS

        width = max(len(reader.name) for reader in READERS)
        for reader in READERS:
            typer.echo(f"{reader.name:<{width}}  {'/'.join(reader.media):<21}  {reader.needs} ({reader.licence})")


@app.command()
def prepare(
    name: Annotated[str, typer.Argument(help="A name of `bimodal data list`.")],
    source: Annotated[Path, typer.Argument(help="The folder of the data set as published.", metavar="SRC")],
    target: Annotated[Path, typer.Argument(help="The folder to make.", metavar="DST")],
    split: Annotated[
        Split,
        typer.Option(help="auto: the data set's own parts, else by speaker. random is never chosen by itself."),
    ] = Split.AUTO,
    seed: Annotated[int, typer.Option(help="Of the division.")] = 0,
    interval: Annotated[float, typer.Option(help="Seconds between two faces of a video.", min=0.02, max=10)] = 0.2,
    model: Annotated[str, typer.Option(help="The face-static model whose crop the faces of videos get.")] = (
        "face-compact"
    ),
    emotions: Annotated[
        str | None,
        typer.Option(help="Emotions of your own with commas, as in a training config; the seven by default."),
    ] = None,
) -> None:
    """Write DST/manifest.csv with pictures and sounds. Killed in the middle, the same command goes on.

    Example: bimodal data prepare ravdess-video RAVDESS prepared
    """
    with one_sentence_errors():
        from rich.console import Console
        from rich.progress import Progress

        from bimodal.models.catalog import resolve
        from bimodal.models.emotions import EMOTIONS, EmotionSet, wrong_names
        from bimodal.models.session import open_artifact
        from bimodal.training.datasets.items import divided, summary
        from bimodal.training.datasets.prepare import PROBLEMS
        from bimodal.training.datasets.prepare import prepare as make
        from bimodal.training.datasets.readers import missing_from, reader_named
        from bimodal.training.errors import TrainingError

        words = tuple(word.strip() for word in emotions.split(",")) if emotions is not None else EMOTIONS
        wrong = wrong_names(words)
        if wrong is not None:
            raise TrainingError(f"--emotions: {wrong}")
        among = EmotionSet(words)
        reader = reader_named(name)
        found = reader.read(source, among)
        missing = missing_from(reader, found)
        if missing:
            typer.echo(f"incomplete: {missing}", err=True)
        if split is Split.RANDOM:
            typer.echo(
                "warning: a random split puts the same people on both sides; its figures are too good, and no figures "
                "to report",
                err=True,
            )
        items = divided(found, split.value, seed)
        console = Console(stderr=True)
        with Progress(console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task(name, total=len(items))
            made = make(
                items,
                source,
                target,
                static=lambda: open_artifact(resolve(model), "face-static", provider="cpu"),
                interval_s=interval,
                among=among,
                done=lambda count: bar.update(task, completed=count),
            )
        typer.echo(f"{target}: {summary(made.items, among)}")
        if made.problems:
            typer.echo(f"{len(made.problems)} of {len(items)} could not be had whole: {target / PROBLEMS}", err=True)


# Errors of the commands.


@contextmanager
def one_sentence_errors() -> Iterator[None]:
    """Turn errors of ours into one sentence and exit code 1, and Ctrl-C into exit code 130."""
    try:
        with one_sentence():
            yield
    except KeyboardInterrupt as error:
        typer.echo("stopped; the same command goes on where this one was", err=True)
        raise typer.Exit(130) from error
