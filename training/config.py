"""Training configs as typed models; an unknown or misspelt key is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from bimodal.training.datasets.loading import Labels
from bimodal.training.errors import TrainingError
from bimodal.training.loop import Device, Precision

CONFIGS = Path(__file__).parent / "configs"


class Config(BaseModel):
    """Settings of every training.

    Attributes:
        name, version: of the artifact.
        data: folder of the data set, relative to the working directory.
        output: folder that gets model.onnx and card.md.
        runs: folder for checkpoints, never committed.
        threads: torch threads.
        device: to train on; auto is CUDA if it works.
        precision: of the forward pass in training; the artifact is float32 either way.
        patience: epochs without a better validation UAR after which training stops; 0 never stops it.
        keep: ship the best or the last weights.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str
    data: Path
    output: Path
    runs: Path = Path("runs")
    seed: int = 0
    threads: PositiveInt = 1
    device: Device = "auto"
    precision: Precision = "float32"
    patience: int = Field(default=0, ge=0)
    keep: Literal["best", "last"] = "best"
    batch: PositiveInt = 64
    learning_rate: PositiveFloat
    weight_decay: float = Field(ge=0)


class FaceConfig(Config):
    """face-compact.

    Attributes:
        sizes: side of the pictures in each epoch; small ones first save time (progressive resizing).
        curve: (epoch, share of learning_rate) points, joined by straight lines.
        widths, depth, dropout: see FaceCompact.
        balance: pictures are drawn with (share of their emotion) ** -balance; 0 draws uniformly.
        calibration_every: each n-th training picture is kept for calibration and never trained on.
        crop_scale, crop_shift_y, crop_rotate: crop of live faces that looks like FER2013's; measure it with
            `python -m bimodal.training.face.framing`.
        labels: the votes of FER+ (as soft labels) or the one label of FER2013, where a data set has both.
        start_from: best.pt of another run of the same network, to fine-tune; None trains from scratch.
        augmentation: everything that a live camera does to a face, or only moves and covers, for a benchmark's
            pictures, which no camera takes.
        smoothing: label smoothing.
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
    labels: Labels = "auto"
    start_from: Path | None = None
    augmentation: Literal["camera", "moves"] = "camera"
    smoothing: float = Field(default=0.0, ge=0, lt=1)


class SpeechConfig(Config):
    """A speech network.

    Attributes:
        epochs: passes over the clips, of each fold and of the shipped network.
        folds: of the cross-validation by actor.
        network: `compact`, trained from scratch, or `voice`, which starts from a speaker encoder's lower layers.
        channels, hidden: see SpeechCompact.
        dropout: of either.
        backbone: the wheel of resemblyzer 0.1.4 with the speaker encoder; None lets pip fetch it.
        backbone_learning_rate: highest rate of the speaker encoder; `learning_rate` is that of the rest.
        frozen_epochs: epochs in which the speaker encoder is not trained.
        rise: share of the steps of learning-rate warm-up.
        full_windows: share of the batches that are as long as the longest window.
        mixup: alpha of the Beta distribution of mixup; 0 for none.
        smoothing: label smoothing.
        reverb: share of the training clips that are convolved with a room (exponentially decaying noise).
        watched_speakers: number of training speakers held out for choosing the best weights and early stopping; 0
            trains on all and ships the last weights. Speakers of the measured fold are never used for that.
    """

    epochs: PositiveInt
    folds: int = Field(default=5, ge=2)
    network: Literal["compact", "voice"] = "compact"
    channels: PositiveInt = 128
    hidden: PositiveInt = 96
    dropout: float = Field(default=0.3, ge=0, lt=1)
    backbone: Path | None = None
    backbone_learning_rate: PositiveFloat = 4e-4
    frozen_epochs: int = Field(default=0, ge=0)
    rise: float = Field(default=0.3, gt=0, lt=1)
    full_windows: float = Field(default=0.0, ge=0, le=1)
    mixup: float = Field(default=0.3, ge=0)
    smoothing: float = Field(default=0.1, ge=0, lt=1)
    reverb: float = Field(default=0.0, ge=0, le=1)
    watched_speakers: int = Field(default=0, ge=0)


NOT_LEARNT_FROM = {
    "backbone",
    "output",
    "runs",
    "data",
    "threads",
    "device",
    "crop_scale",
    "crop_shift_y",
    "crop_rotate",
}
"""Fields of a config that do not change the weights: a run may continue with other values."""

AnyConfig = TypeVar("AnyConfig", bound=Config)


def load_config(path: Path, kind: type[AnyConfig]) -> AnyConfig:
    """Read and check a YAML config.

    Raises TrainingError, naming the first wrong key, if the file is missing or does not fit `kind`.
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


# Configs of models that learn from other models' outputs (face-dynamic, fusion), and of the Keras speech model.


class DynamicConfig(Config):
    """face-dynamic-compact.

    Attributes:
        static: name or path of the face-static artifact that computes the embeddings.
        labels: as of FaceConfig.
        steps, interval_s: number of embeddings in a window, and the seconds between two of them.
        epochs, sequences: number of epochs, and of composed sequences in each.
        measured: number of composed sequences for validation, of the split `valid`.
        calibration_every: each n-th picture of `train` is kept for choosing weights and for calibration.
        hidden, dropout: see FaceDynamicCompact.
        noise: added to embeddings in training, in their standard deviations.
        smoothing: label smoothing.
    """

    static: str = "face-compact"
    labels: Labels = "auto"
    steps: int = Field(default=10, ge=2, le=100)
    interval_s: PositiveFloat = 0.2
    epochs: PositiveInt = 12
    sequences: PositiveInt = 10_000
    measured: PositiveInt = 4_000
    calibration_every: int = Field(default=10, ge=2)
    hidden: PositiveInt = 64
    dropout: float = Field(default=0.3, ge=0, lt=1)
    noise: float = Field(default=0.2, ge=0)
    smoothing: float = Field(default=0.1, ge=0, lt=1)


class FusionConfig(Config):
    """fusion `learned`.

    Attributes:
        data: a prepared video tree (pairs are real), or a picture data set (pairs are composed by label).
        sounds: a speech data set, for composed pairs only.
        face: name or path of the face-static artifact.
        speech: name or path of the speech artifact, for real pairs.
        speech_config: training config of the speech model, for composed pairs: each fold predicts its held-out speakers
            (trained first if its runs are missing).
        speech_folds: number of folds to use, if not all.
        labels: as of FaceConfig.
        pairs: number of composed pairs, a fifth of them to measure on.
        epochs, hidden, smoothing: of the network.
        video_weight, speech_weight: of the average to compare with, as in config.yaml.
    """

    sounds: Path | None = None
    face: str = "face-compact"
    speech: str = "speech-voice"
    speech_config: Path | None = None
    speech_folds: int | None = Field(default=None, ge=1)
    labels: Labels = "auto"
    pairs: PositiveInt = 20_000
    epochs: PositiveInt = 20
    hidden: PositiveInt = 24
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    video_weight: PositiveFloat = 0.7
    speech_weight: PositiveFloat = 0.3


class KerasSpeechConfig(Config):
    """The Keras speech model.

    Attributes:
        epochs, folds: as of SpeechConfig.
        windows: number of random one-second training windows per clip.
        width, dropout: of its layers.
    """

    epochs: PositiveInt = 20
    folds: int = Field(default=5, ge=2)
    windows: PositiveInt = 5
    width: PositiveInt = 64
    dropout: float = Field(default=0.3, ge=0, lt=1)
