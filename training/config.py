"""Training configs as typed models; an unknown or misspelt key is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from training.errors import TrainingError

CONFIGS = Path(__file__).parent / "configs"


class Config(BaseModel):
    """What every training shares.

    Attributes:
        name, version: of the artifact.
        data: folder of the data set, relative to the working directory.
        output: folder that gets model.onnx.
        runs: folder for weights and logs, never committed.
        threads: torch threads.
        precision: of the forward pass in training; the artifact is float32 either way.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str
    data: Path
    output: Path
    runs: Path = Path("runs")
    seed: int = 0
    threads: PositiveInt = 1
    precision: Literal["float32", "bfloat16"] = "float32"
    batch: PositiveInt = 64
    learning_rate: PositiveFloat
    weight_decay: float = Field(ge=0)


class FaceConfig(Config):
    """face-compact.

    Attributes:
        sizes: side of the pictures in each epoch; small ones first save time (progressive resizing).
        curve: (epoch, share of learning_rate) points, joined by straight lines.
        widths, depth, dropout: see FaceCompact.
        balance: pictures are drawn with (share of their emotion) ** -balance; 0 draws all alike.
        calibration_every: each n-th training picture is kept for calibration and never trained on.
        crop_scale, crop_shift_y, crop_rotate: how live faces must be cut to look like FER2013's; learn them with
            `python -m training.crop`.
    """

    sizes: tuple[int, ...] = Field(min_length=1)
    curve: tuple[tuple[float, float], ...] = Field(default=((0, 0.04), (3, 1), (10, 0)), min_length=2)
    widths: tuple[int, ...] = (64, 128, 224)
    depth: PositiveInt = 2
    dropout: float = Field(default=0.2, ge=0, lt=1)
    balance: float = Field(default=0.0, ge=0, le=1)
    calibration_every: int = Field(default=20, ge=2)
    crop_scale: PositiveFloat = 1.2
    crop_shift_y: float = 0.0
    crop_rotate: bool = True


class SpeechConfig(Config):
    """speech-compact.

    Attributes:
        epochs: passes over the clips, of a fold and of the network that ships alike.
        folds: of the validation by actor.
        channels, hidden, dropout: see SpeechCompact.
        mixup: alpha of the Beta distribution that mixes pairs; 0 mixes none.
        smoothing: label smoothing.
    """

    epochs: PositiveInt
    folds: int = Field(default=5, ge=2)
    channels: PositiveInt = 128
    hidden: PositiveInt = 96
    dropout: float = Field(default=0.3, ge=0, lt=1)
    mixup: float = Field(default=0.3, ge=0)
    smoothing: float = Field(default=0.1, ge=0, lt=1)


AnyConfig = TypeVar("AnyConfig", bound=Config)


def load_config(path: Path, kind: type[AnyConfig]) -> AnyConfig:
    """Read and check a YAML config.

    Raises TrainingError, naming the first wrong key, where the file is missing or does not fit `kind`.
    """
    if not path.is_file():
        raise TrainingError(f"there is no training config {path}")
    try:
        return kind.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except yaml.YAMLError as error:
        raise TrainingError(f"{path} is not YAML: {str(error).splitlines()[0]}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise TrainingError(f"{path}: '{where}' is wrong: {first['msg'].lower()}") from error
