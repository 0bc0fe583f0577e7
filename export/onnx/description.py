"""Descriptions of foreign models: a YAML file, a preset of that form, or flags; later ones override."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from bimodal.export.errors import SourceModelError
from bimodal.export.frontends.pixels import Pixels
from bimodal.export.scores import SCORES, Scores
from bimodal.models.contract import Crop
from bimodal.models.faces.geometry import GridGeometry

PRESETS = Path(__file__).parents[1] / "onnx_presets"
LARGEST_YAML = 1_000_000

ForeignKind = Literal["face-detector", "face-landmarks", "face-static", "face-dynamic", "speech", "voice-activity"]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Some columns of a detector's output, all where none are named; the output by its name or its position from 0."""

    output: str | int
    columns: tuple[int, ...] = ()


class DetectorOutputs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Outputs of a face detector, each a list of parts in the order of the geometry's grids.

    Attributes:
        boxes: four values a row.
        scores: a probability a row.
        objectness: a second probability a row, multiplied with it.
        root: whether the score is the square root of that product (YuNet).
        keypoints: x and y of each keypoint.
        transposed: whether the outputs have columns before rows (YOLOv8).
    """

    boxes: tuple[Part, ...]
    scores: tuple[Part, ...]
    objectness: tuple[Part, ...] = ()
    root: bool = False
    keypoints: tuple[Part, ...] = ()
    transposed: bool = False


POSITIVE = ("sample_rate", "window_s", "minimum_window_s", "interval_s", "temperature", "take", "size", "gain")


class Description(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A (partial) description: a preset, a file and flags can each give some of the fields.

    Attributes:
        kind: of the artifact; its contract is in models/contract.py.
        name, version, license, source, labels, crop, embedding_space, sample_rate, window_s, minimum_window_s,
            interval_s, temperature: the metadata of those names; labels in the order of the network's output, each a
            word or word=emotion; those that the file itself carries where left out.
        aliases: words of other languages → emotion, or `other`.
        categories: labels that are kept by their names, though they are none of the seven emotions.
        input, output: names in the foreign graph; optional where there is only one, or where its shape tells.
        feed: what its other inputs get, each NAME=length, NAME=ones, NAME=zeros or NAME=NUMBER.
        embedding: a tensor of the foreign graph, output or not, that becomes the output `embedding`.
        affect: columns that become the output `valence_arousal` (face) or `arousal_dominance_valence` (speech): NAME of
            an output, NAME:0,1, 8,9 (columns of the classes' output), or NAME;NAME. `none` drops them.
        scores: what the output's numbers are (see export/scores.py); found out where left out.
        independent: whether scores of a sigmoid are kept as they are too, in the output `scores`.
        take: number of leading output columns that are classes.
        size: side of the square face crops, if the graph does not fix it.
        pixels: pixel values that a face network expects.
        normalise: True if a speech network expects every waveform at mean 0 and variance 1.
        gain: a speech network's samples are −1…1 times this (32768 for the scale of 16 bits).
        steps: from the waveform to the features that a speech network takes; see docs/export-keras.md.
        presence: the output of a landmark network that says how sure it is that there is a face.
        geometry, outputs: how the rows of a face detector are read, and of which outputs they are made.
    """

    kind: ForeignKind | None = None
    name: str | None = None
    version: str | None = None
    license: str | None = None
    source: str | None = None
    labels: tuple[str, ...] | None = None
    aliases: dict[str, str] | None = None
    categories: tuple[str, ...] | None = None
    crop: Crop | None = None
    embedding_space: str | None = None
    sample_rate: int | None = None
    window_s: float | None = None
    minimum_window_s: float | None = None
    interval_s: float | None = None
    temperature: float | None = None
    input: str | None = None
    output: str | None = None
    feed: tuple[str, ...] | None = None
    embedding: str | None = None
    affect: str | None = None
    scores: Scores | None = None
    independent: bool | None = None
    take: int | None = None
    size: int | None = None
    pixels: Pixels | None = None
    normalise: bool | None = None
    gain: float | None = None
    steps: tuple[Any, ...] | None = None
    presence: str | None = None
    geometry: GridGeometry | None = None
    outputs: DetectorOutputs | None = None

    def __post_init__(self) -> None:
        for field in POSITIVE:
            value = getattr(self, field)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{field} must be above 0, but is {value}")


def presets() -> list[str]:
    """Names of the shipped presets."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def read_preset(name: str) -> Description:
    """Read a shipped preset. Raises SourceModelError, listing the presets, if there is none of that name."""
    if name not in presets():
        raise SourceModelError(f"there is no preset '{name}'; there are {', '.join(presets())}")
    return read_description(PRESETS / f"{name}.yaml")


def read_description(path: Path) -> Description:
    """Read a description from a YAML file. Raises SourceModelError if it can't be read or has invalid fields."""
    try:
        if path.stat().st_size > LARGEST_YAML:
            raise SourceModelError(f"{path} is too large for a description of a model")
        return describe(yaml.safe_load(path.read_text(encoding="utf-8")), str(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SourceModelError(f"{path} can't be read as YAML: {' '.join(str(error).split())}") from error


def describe(fields: Any, where: str) -> Description:
    """Convert a mapping of plain values to a Description.

    Raises SourceModelError, naming `where` it came from, if a field is unknown or of the wrong type.
    """
    if isinstance(fields, dict) and "logits" in fields:
        fields = dict(fields)
        logits = fields.pop("logits")
        if "scores" in fields:
            raise SourceModelError(f"{where}: say either logits or scores, which is one of {', '.join(SCORES)}")
        fields["scores"] = "logits" if logits else "softmax"
    try:
        if isinstance(fields, dict) and fields.get("steps") is not None:
            # Steps make graphs: their module needs onnx, which a plain install has not.
            from bimodal.export.frontends.speech import Step

            fields = {**fields, "steps": msgspec.convert(fields["steps"], tuple[Step, ...])}
        return msgspec.convert(fields, Description)
    except msgspec.ValidationError as error:
        raise SourceModelError(f"{where} does not describe a model: {error}") from error


def merge(*descriptions: Description) -> Description:
    """Merge descriptions; given fields of later ones override."""
    fields: dict[str, Any] = {}
    for description in descriptions:
        fields.update({name: value for name, value in msgspec.structs.asdict(description).items() if value is not None})
    return Description(**fields)
