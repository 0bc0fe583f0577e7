"""Training configs as typed models; an unknown or misspelt key is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import yaml

from bimodal.models.emotions import EMOTIONS, EmotionSet, wrong_names
from bimodal.training.datasets.loading import Labels
from bimodal.training.errors import TrainingError
from bimodal.training.loop import Device, Precision
from bimodal.values import WrongValueError, convert

CONFIGS = Path(__file__).parent / "configs"

Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Part = Annotated[float, msgspec.Meta(ge=0, lt=1)]
"""A share of less than all."""
Count = Annotated[int, msgspec.Meta(ge=1)]
Several = Annotated[int, msgspec.Meta(ge=2)]
CountOrNone = Annotated[int, msgspec.Meta(ge=0)]


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
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

    name: str
    version: str
    data: Path
    output: Path
    runs: Path = Path("runs")
    seed: int = 0
    threads: Count = 1
    device: Device = "auto"
    precision: Precision = "float32"
    patience: CountOrNone = 0
    keep: Literal["best", "last"] = "best"
    batch: Count = 64
    learning_rate: Positive
    weight_decay: NotNegative


class _OfEmotions:
    """Settings with the field `emotions`, whose names are checked."""

    __slots__ = ()
    emotions: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_names(self.emotions)

    @property
    def among(self) -> EmotionSet:
        """The set."""
        return EmotionSet(self.emotions)


class LabelledConfig(Config, _OfEmotions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a training on labels.

    Attributes:
        emotions: the set that is learnt, in the order of the model's classes: the seven, or names of your own.
    """

    emotions: tuple[str, ...] = EMOTIONS


def _check_names(emotions: tuple[str, ...]) -> None:
    wrong = wrong_names(emotions)
    if wrong is not None:
        raise WrongValueError(wrong, "emotions")


class FaceConfig(LabelledConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
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
        start_from: best.pt of another run of the same network, or an artifact (.onnx) with it, to fine-tune; None
            trains from scratch.
        augmentation: everything that a live camera does to a face; `hard`: also talking mouths, masks, covered eyes,
            motion, distance and darkness; `moves`: only moves and covers, for a benchmark's pictures, which no camera
            takes.
        smoothing: label smoothing.
        frozen: so many of the first layers (of `FaceCompact.features`) stay as they are, which saves time.
        teacher: a face-static artifact whose answers to the pictures are learnt too (distillation); None: none.
        teacher_share: weight of its answers beside that of the labels.
    """

    sizes: Annotated[tuple[int, ...], msgspec.Meta(min_length=1)]
    curve: Annotated[tuple[tuple[float, float], ...], msgspec.Meta(min_length=2)] = ((0, 0.04), (3, 1), (10, 0))
    widths: tuple[int, ...] = (64, 128, 224)
    depth: Count = 2
    dropout: Part = 0.2
    balance: Share = 0.0
    calibration_every: Several = 20
    crop_scale: Positive = 1.2
    crop_shift_y: float = 0.0
    crop_rotate: bool = True
    labels: Labels = "auto"
    start_from: Path | None = None
    augmentation: Literal["camera", "hard", "moves"] = "camera"
    smoothing: Part = 0.0
    frozen: CountOrNone = 0
    teacher: Path | None = None
    teacher_share: Share = 0.5


class RobustConfig(msgspec.Struct, _OfEmotions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """face-robust: two networks in one graph. Nothing is trained; the rule that joins them is fitted.

    Attributes:
        name, version, output, seed, threads: as of Config.
        emotions: the set that `first` learnt, in the order of its classes. face-api's network joins in those that it
            knows, two at least.
        data: pictures with labels, by default FER2013 with the votes of FER+; its splits `train` and `valid`.
        first: an artifact of face-compact's form, or of face-robust's (see `begin_with`), or best.pt of a run of that
            network; widths and depth are its own.
        second: folder with the weights of face-api.js's expression network; None fetches the npm package.
        first_temperature, second_temperature: of their logits before they are joined.
        tau, share: of the rule for clear pictures, see Rule; None, both, chooses them.
        poor_tau: of the rule for pictures that are not clear.
        detailed_share: of the rule for pictures of more detail than the first network's training pictures have.
        offsets: of the rule, by emotion.
        poor_first: an artifact of the first's form that answers for it in pictures that are not clear; None: there is
            none. It and `second` run only where they count.
        clear_first: one more artifact of the first's form, for clear pictures; None: there is none.
        mirrored: whether all networks see the mirror image too, which costs as much again.
        grey_side: side of the picture that the first network sees.
        novelty_pictures: greatest number of pictures to fit the output `novelty` on; 0: there is none.
        quantized: number of pictures to quantize the first network with; 0 leaves it as it is.
        calibration_every, crop_scale, crop_shift_y, crop_rotate: as of FaceConfig.
    """

    name: str
    version: str
    data: Path
    output: Path
    first: Path
    second: Path | None = None
    poor_first: Path | None = None
    clear_first: Path | None = None
    mirrored: bool = False
    first_temperature: Positive = 1.0
    second_temperature: Positive = 1.0
    tau: NotNegative | None = None
    share: Share | None = None
    poor_tau: NotNegative = 0.7
    detailed_share: Share = 0.4
    offsets: dict[str, float] = {}
    grey_side: Count = 48
    widths: tuple[int, ...] = (64, 128, 224)
    depth: Count = 2
    novelty_pictures: CountOrNone = 0
    quantized: CountOrNone = 120
    calibration_every: Several = 20
    crop_scale: Positive = 1.2
    crop_shift_y: float = 0.0
    crop_rotate: bool = True
    seed: int = 0
    threads: Count = 1
    emotions: tuple[str, ...] = EMOTIONS


class Tuning(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Training of an encoder's upper layer together with heads that were trained before.

    Attributes:
        epochs: passes over the clips.
        batch: windows in a step.
        learning_rate, encoder_rate: highest learning rates of the heads and of the layer.
    """

    epochs: Count
    batch: Count = 32
    learning_rate: Positive = 3e-4
    encoder_rate: Positive = 1.5e-4


class SpeechConfig(LabelledConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A speech network.

    Attributes:
        epochs: passes over the clips, of each fold and of the shipped network.
        folds: of the cross-validation by speaker.
        also: folders of further corpora; every fold leaves out some speakers of each.
        shares: share of a corpus in the loss, by name; one that is not named counts by its number of clips.
        lowered: how much lower the logits of labels that a clip's corpus lacks count in the loss (they are no negatives
            there).
        network: `compact`, trained from scratch; `voice`, which starts from a speaker encoder's lower layers; or
            `whisper`: small networks on the lower layers of a speech recogniser.
        channels, hidden: see SpeechCompact.
        dropout: of either.
        backbone: the wheel with the encoder (voice: resemblyzer 0.1.4, whisper: pipecat-ai 1.14.0); None lets pip
            fetch it.
        backbone_learning_rate: highest rate of the encoder; `learning_rate` is that of the rest.
        frozen_epochs: epochs in which the encoder is not trained.
        tuning: how the upper of those layers learns with the small networks, after these have learnt alone (whisper);
            None: not at all.
        copies: number of windows through channels (equaliser, telephone band, coding, clipping; sound.py) of each clip
            beside its middle and its live windows (whisper).
        conditions: also measure the folds under every condition of training/evaluate/conditions.py.
        rise: share of the steps of learning-rate warm-up.
        full_windows: share of the batches that are as long as the longest window.
        mixup: alpha of the Beta distribution of mixup; 0 for none.
        smoothing: label smoothing.
        reverb: share of the training clips that are convolved with a room (exponentially decaying noise).
        watched_speakers: number of training speakers held out for choosing the best weights and early stopping; 0
            trains on all and ships the last weights. Speakers of the measured fold are never used for that.
    """

    epochs: Count
    folds: Several = 5
    also: tuple[Path, ...] = ()
    shares: dict[str, Positive] = {}
    lowered: NotNegative = 3.0
    network: Literal["compact", "voice", "whisper"] = "compact"
    channels: Count = 128
    hidden: Count = 96
    dropout: Part = 0.3
    backbone: Path | None = None
    backbone_learning_rate: Positive = 4e-4
    frozen_epochs: CountOrNone = 0
    tuning: Tuning | None = None
    copies: Count = 3
    conditions: bool = True
    rise: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.3
    full_windows: Share = 0.0
    mixup: NotNegative = 0.3
    smoothing: Part = 0.1
    reverb: Share = 0.0
    watched_speakers: CountOrNone = 0


NOT_LEARNT_FROM = {
    "backbone",
    "conditions",
    "output",
    "runs",
    "data",
    "also",
    "threads",
    "device",
    "crop_scale",
    "crop_shift_y",
    "crop_rotate",
}
"""Fields of a config that do not change the weights: a run may continue with other values."""

AnyConfig = TypeVar("AnyConfig", bound=msgspec.Struct)


def learnt_from(config: Config, *but: str) -> dict[str, Any]:
    """Values that determine the weights: all fields but NOT_LEARNT_FROM, and but these."""
    values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(config, enc_hook=str))
    if values.get("emotions") == list(EMOTIONS):  # runs of versions before this key go on
        del values["emotions"]
    return {name: value for name, value in values.items() if name not in NOT_LEARNT_FROM and name not in but}


def load_config(path: Path, kind: type[AnyConfig]) -> AnyConfig:
    """Read and check a YAML config.

    Raises TrainingError, naming the first wrong key, if the file is missing or does not fit `kind`.
    """
    if not path.is_file():
        raise TrainingError(f"there is no training config {path}")
    try:
        return convert(yaml.safe_load(path.read_text(encoding="utf-8")) or {}, kind)
    except yaml.YAMLError as error:
        raise TrainingError(f"{path} is not YAML: {str(error).splitlines()[0]}") from error
    except WrongValueError as error:
        raise TrainingError(f"{path}: {error}") from error


# Configs of models that learn from other models' outputs (face-dynamic, fusion), and of the Keras speech model.


class DynamicConfig(LabelledConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """face-dynamic-compact.

    Attributes:
        static: name or path of the face-static artifact that computes the embeddings. It must know some of the
            emotions: live, the two run together.
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
    steps: Annotated[int, msgspec.Meta(ge=2, le=100)] = 10
    interval_s: Positive = 0.2
    epochs: Count = 12
    sequences: Count = 10_000
    measured: Count = 4_000
    calibration_every: Several = 10
    hidden: Count = 64
    dropout: Part = 0.3
    noise: NotNegative = 0.2
    smoothing: Part = 0.1


class FusionConfig(LabelledConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """fusion `learned`.

    Attributes:
        data: a prepared video tree (pairs are real), or a picture data set (pairs are composed by label).
        sounds: a speech data set, for composed pairs only; further corpora of `speech_config` train the folds.
        face: name or path of the face-static artifact.
        speech: name or path of the speech artifact, for real pairs. Both must know all of the emotions.
        speech_config: training config of the speech model, for composed pairs: each fold predicts its held-out speakers
            (trained first if its runs are missing). It must name the same emotions.
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
    speech_folds: Count | None = None
    labels: Labels = "auto"
    pairs: Count = 20_000
    epochs: Count = 20
    hidden: Count = 24
    smoothing: Part = 0.0
    video_weight: Positive = 0.7
    speech_weight: Positive = 0.3


class KerasSpeechConfig(LabelledConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The Keras speech model.

    Attributes:
        epochs, folds: as of SpeechConfig.
        windows: number of random one-second training windows per clip.
        width, dropout: of its layers.
    """

    epochs: Count = 20
    folds: Several = 5
    windows: Count = 5
    width: Count = 64
    dropout: Part = 0.3
