"""Configs of what learns from other models' answers, face-dynamic and fusion, and of the Keras speech model."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, PositiveFloat, PositiveInt

from bimodal.training.config import Config
from bimodal.training.datasets.loading import Labels


class DynamicConfig(Config):
    """face-dynamic-compact.

    Attributes:
        static: name or path of the face-static artifact whose embeddings are learnt from.
        labels: as of FaceConfig.
        steps, interval_s: how many embeddings the model sees, and the seconds between two of them.
        epochs, sequences: how often, and how many composed sequences each time.
        measured: composed sequences for validation, of the split `valid`.
        calibration_every: each n-th picture of `train` is kept for choosing weights and for calibration.
        hidden, dropout: see FaceDynamicCompact.
        noise: of the embeddings in training, in their standard deviations.
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
        speech_config: training config of the speech model, for composed pairs: its folds answer for speakers that they
            never heard (trained first where its runs are not there).
        speech_folds: so many of these folds, where not all are wanted.
        labels: as of FaceConfig.
        pairs: how many are composed, a fifth of them to measure on.
        epochs, hidden, smoothing: of the network.
        video_weight, speech_weight: of the average that it must beat, as in config.yaml.
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
        windows: random windows of a second that are cut out of each clip to learn from.
        width, dropout: of its layers.
    """

    epochs: PositiveInt = 20
    folds: int = Field(default=5, ge=2)
    windows: PositiveInt = 5
    width: PositiveInt = 64
    dropout: float = Field(default=0.3, ge=0, lt=1)
