"""`bimodal train …`. Heavy imports wait until a command runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from bimodal.training.told import one_sentence_errors

if TYPE_CHECKING:
    from bimodal.training.config import Config

    AnyConfig = TypeVar("AnyConfig", bound=Config)

CONFIGS = Path(__file__).parent / "configs"

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
        from bimodal.training.config import FaceConfig
        from bimodal.training.face_artifact import make_face

        make_face(_settings(config or CONFIGS / "face-compact.yaml", FaceConfig, data, output, fresh), typer.echo)


@train.command("speech")
def train_speech(config: ConfigFile = None, data: Data = None, output: Output = None, fresh: Fresh = False) -> None:
    """Validate a speech model by speaker, then train it on all of them.

    Example: bimodal train speech --data RAVDESS
    """
    with one_sentence_errors():
        from bimodal.training.config import SpeechConfig
        from bimodal.training.speech_artifact import make_speech

        make_speech(_settings(config or CONFIGS / "speech-voice.yaml", SpeechConfig, data, output, fresh), typer.echo)


@train.command("dynamic")
def train_dynamic(config: ConfigFile = None, data: Data = None, output: Output = None, fresh: Fresh = False) -> None:
    """Train a face-dynamic model on prepared videos, or on sequences composed of pictures.

    Example: bimodal train dynamic --data prepared
    """
    with one_sentence_errors():
        from bimodal.training.config_derived import DynamicConfig
        from bimodal.training.dynamic_artifact import make_dynamic

        path = config or CONFIGS / "face-dynamic-compact.yaml"
        make_dynamic(_settings(path, DynamicConfig, data, output, fresh), typer.echo)


@train.command("fusion")
def train_fusion(config: ConfigFile = None, data: Data = None, output: Output = None, fresh: Fresh = False) -> None:
    """Train the fusion strategy `learned` on prepared videos, or on faces and voices put together by label.

    Example: bimodal train fusion
    """
    with one_sentence_errors():
        from bimodal.training.config_derived import FusionConfig
        from bimodal.training.fusion import make_fusion

        make_fusion(_settings(config or CONFIGS / "fusion-learned.yaml", FusionConfig, data, output, fresh), typer.echo)


@train.command("keras-speech")
def train_keras_speech(config: ConfigFile = None) -> None:
    """Train the Keras speech model in the form (352, 15), in a process of its own (needs the extra 'convert' too).

    Example: bimodal train keras-speech
    """
    path = config or CONFIGS / "speech-keras.yaml"
    done = subprocess.run([sys.executable, "-m", "bimodal.training.keras_speech", str(path)], check=False)
    raise typer.Exit(done.returncode)


def _settings(path: Path, kind: type[AnyConfig], data: Path | None, output: Path | None, fresh: bool) -> AnyConfig:
    from bimodal.training.config import load_config
    from bimodal.training.loop import forget

    settings = load_config(path, kind)
    given = {name: value for name, value in (("data", data), ("output", output)) if value is not None}
    if fresh:
        forget(settings.runs / settings.name)
    return settings.model_copy(update=given)
