"""The contract of artifacts: inputs, outputs and metadata of each kind, and its check.

An artifact is an .onnx file whose graph holds all preprocessing of values and whose `metadata_props` describe the
rest. docs/models.md has the contract in prose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, cast, get_args

import msgspec

from bimodal.models.emotions import EMOTIONS, SEVEN, EmotionSet, LabelMap, further_names
from bimodal.models.errors import ArtifactError, LabelError

CONTRACT_VERSION = "1"
CONTRACT_KEY = "bimodal.contract"

Kind = Literal[
    "face-detector",
    "face-landmarks",
    "face-blendshapes",
    "face-static",
    "face-dynamic",
    "speech",
    "voice-activity",
    "fusion",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

Shape: TypeAlias = "tuple[int | str | None, ...]"

# Metadata is bounded, because it decides how much memory is taken, and is shown in terminals and on pages.
Line: TypeAlias = Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Prose: TypeAlias = Annotated[str, msgspec.Meta(max_length=20_000)]
Rate: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=768_000)]
Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=3600)]
Labels: TypeAlias = Annotated[tuple[Line, ...], msgspec.Meta(max_length=1000)]


class Crop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Geometry of the face crop for a face-static model (see models/faces/crop.py).

    The square is centred on the bounding box of the 468 mesh points, moved by `shift_y` box heights (downwards
    positive), with a side of `scale` times the longer side of that box. `rotate` first levels the line through the
    eyes.
    """

    scale: float = 1.2
    shift_y: float = 0.0
    rotate: bool = True


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """`metadata_props` of an artifact, typed. Fields that a kind does not use stay None.

    Attributes:
        labels: the classes in output order.
        categories: those of the labels that are the model's own, none of the seven emotions.
        embedding_space: identifies the network that makes the embeddings; a dynamic model only accepts the space it
            was trained on.
        sample_rate: sample rate of the waveform of a speech or voice-activity model, in Hz.
        window_s, minimum_window_s: longest and shortest input of a speech model, in seconds.
        interval_s: seconds between two steps of a dynamic model, or two hops of a speech model.
        crop: geometry of the face crop.
        geometry: parameters for decoding a detector's or landmark model's outputs (kind-specific).
        temperature: calibration already applied inside the graph; 1.0 means uncalibrated.
        metrics: figures of the model card.
    """

    contract: str
    kind: Kind
    name: Line
    version: Line
    license: Prose
    source: Prose
    labels: Labels | None = None
    categories: Labels | None = None
    embedding_space: Line | None = None
    sample_rate: Rate | None = None
    window_s: Seconds | None = None
    minimum_window_s: Seconds | None = None
    interval_s: Seconds | None = None
    crop: Crop | None = None
    geometry: dict[str, object] | None = None
    temperature: float | None = None
    metrics: dict[str, object] | None = None

    @property
    def identity(self) -> str:
        """`name@version`, as events and logs show it."""
        return f"{self.name}@{self.version}"


class Tensor(msgspec.Struct, frozen=True):
    """One input or output of a graph: name, ONNX Runtime type (`tensor(float)`), shape (str: dynamic size)."""

    name: str
    type: str
    shape: tuple[int | str | None, ...]


class TensorSpec(msgspec.Struct, frozen=True):
    """One input or output that the contract requires; in its shape, None is any size, fixed or dynamic, and an int
    exactly that size."""

    name: str
    type: str
    shape: tuple[int | None, ...]
    optional: bool = False


UINT8, FLOAT = "tensor(uint8)", "tensor(float)"

INPUTS: Mapping[Kind, tuple[TensorSpec, ...]] = {
    "face-detector": (TensorSpec("image", UINT8, (1, None, None, 3)),),
    "face-landmarks": (TensorSpec("faces", UINT8, (None, None, None, 3)),),
    "face-blendshapes": (TensorSpec("points", FLOAT, (None, None, 3)),),
    "face-static": (TensorSpec("faces", UINT8, (None, None, None, 3)),),
    "face-dynamic": (TensorSpec("embeddings", FLOAT, (None, None, None)),),
    "speech": (TensorSpec("waveform", FLOAT, (None, None)),),
    "voice-activity": (TensorSpec("waveform", FLOAT, (None, None)), TensorSpec("state", FLOAT, (2, None, None))),
    "fusion": (TensorSpec("video", FLOAT, (None, None)), TensorSpec("speech", FLOAT, (None, None))),
}

OUTPUTS: Mapping[Kind, tuple[TensorSpec, ...]] = {
    "face-detector": (TensorSpec("boxes", FLOAT, (1, None, None)), TensorSpec("scores", FLOAT, (1, None, None))),
    "face-landmarks": (TensorSpec("points", FLOAT, (None, None, 3)), TensorSpec("presence", FLOAT, (None, None))),
    "face-blendshapes": (TensorSpec("blendshapes", FLOAT, (None, None)),),
    "face-static": (
        TensorSpec("probabilities", FLOAT, (None, None)),
        TensorSpec("embedding", FLOAT, (None, None), optional=True),
        TensorSpec("novelty", FLOAT, (None, 1), optional=True),
        TensorSpec("valence_arousal", FLOAT, (None, 2), optional=True),
        TensorSpec("scores", FLOAT, (None, None), optional=True),
    ),
    "face-dynamic": (TensorSpec("probabilities", FLOAT, (None, None)),),
    "speech": (
        TensorSpec("probabilities", FLOAT, (None, None)),
        TensorSpec("arousal_dominance_valence", FLOAT, (None, 3), optional=True),
        TensorSpec("scores", FLOAT, (None, None), optional=True),
    ),
    "voice-activity": (
        TensorSpec("probability", FLOAT, (None, None)),
        TensorSpec("next_state", FLOAT, (2, None, None)),
    ),
    "fusion": (TensorSpec("probabilities", FLOAT, (None, None)),),
}

REQUIRED: Mapping[Kind, tuple[str, ...]] = {
    "face-detector": ("geometry",),
    "face-landmarks": ("geometry",),
    "face-blendshapes": ("labels",),
    "face-static": ("labels", "crop"),
    "face-dynamic": ("labels", "embedding_space", "interval_s"),
    "speech": ("labels", "sample_rate", "window_s", "minimum_window_s"),
    "voice-activity": ("sample_rate",),
    "fusion": ("labels",),
}

TEXT_FIELDS = ("kind", "name", "version", "license", "source", "embedding_space")


def to_properties(metadata: Metadata) -> dict[str, str]:
    """Encode metadata as `metadata_props`: plain text for TEXT_FIELDS, JSON for all others; None is left out."""
    properties = {CONTRACT_KEY: metadata.contract}
    for field in metadata.__struct_fields__:
        value = getattr(metadata, field)
        if field == "contract" or value is None:
            continue
        properties[field] = value if field in TEXT_FIELDS else msgspec.json.encode(value).decode()
    return properties


def read_properties(properties: Mapping[str, str], path: str, kind: Kind | None = None) -> Metadata:
    """Decode metadata from `metadata_props`.

    Args:
        kind: the kind of artifact that is needed; None accepts any.

    Raises ArtifactError, naming `path`, if a key is missing or invalid, or if it is another kind.
    """
    if CONTRACT_KEY not in properties:
        raise ArtifactError(
            f"{path} is not a bimodal artifact: it has no '{CONTRACT_KEY}' metadata; wrap it with 'bimodal export "
            "onnx' "
            f"('bimodal models inspect {path}' says how)"
        )
    if properties[CONTRACT_KEY] != CONTRACT_VERSION:
        raise ArtifactError(
            f"{path} follows contract version '{properties[CONTRACT_KEY]}', "
            f"but this bimodal reads version {CONTRACT_VERSION}"
        )
    fields: dict[str, object] = {"contract": properties[CONTRACT_KEY]}
    for field in Metadata.__struct_fields__:
        if field not in properties:
            continue
        text = properties[field]
        try:
            fields[field] = text if field in TEXT_FIELDS else msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            raise ArtifactError(f"{path}: metadata '{field}' is not JSON ({error})") from error
    try:
        metadata = msgspec.convert(fields, Metadata)
    except msgspec.ValidationError as error:
        raise ArtifactError(f"{path}: metadata is wrong: {error}") from error
    if kind is not None and metadata.kind != kind:
        raise ArtifactError(f"{path} is a {metadata.kind} artifact, but a {kind} artifact is needed here")
    return metadata


def check(metadata: Metadata, inputs: Sequence[Tensor], outputs: Sequence[Tensor], path: str) -> None:
    """Raise ArtifactError, saying what is wrong and what would be right, unless the artifact fulfils its contract."""
    check_required(metadata, path)
    _check_tensors(INPUTS[metadata.kind], inputs, "input", path, metadata.kind)
    _check_tensors(OUTPUTS[metadata.kind], outputs, "output", path, metadata.kind)
    if metadata.kind == "face-landmarks":
        _check_mesh(outputs, path)
    if metadata.kind == "face-blendshapes":
        _check_count("blendshapes", cast("tuple[str, ...]", metadata.labels), outputs, path)
    elif metadata.labels is not None:
        _check_labels(metadata, outputs, path)
    if metadata.kind == "fusion":
        _check_opinions(metadata, inputs, path)


def check_required(metadata: Metadata, path: str) -> None:
    """Raise ArtifactError unless the metadata has the fields that its kind needs."""
    for field in REQUIRED[metadata.kind]:
        if getattr(metadata, field) is None:
            raise ArtifactError(f"{path}: a {metadata.kind} artifact needs '{field}' in its metadata")


def check_space(metadata: Metadata, path: str | Path, embedding_space: str | None) -> None:
    """Raise ArtifactError unless a dynamic model was trained on the embeddings of a static one, which are of
    `embedding_space`."""
    if metadata.embedding_space != embedding_space:
        raise ArtifactError(
            f"{path} was trained on embeddings of '{metadata.embedding_space}', but the static model gives "
            f"those of '{embedding_space or ''}'; use a pair of the same embedding space"
        )


MOST_NAMED = 40
"""Classes that a sentence names."""

MESHES = (468, 478)
"""Points of the meshes that are read: MediaPipe's, without and with irises."""


def _check_mesh(outputs: Sequence[Tensor], path: str) -> None:
    count = next(tensor for tensor in outputs if tensor.name == "points").shape[1]
    if count not in MESHES:
        raise ArtifactError(f"{path}: 'points' must be MediaPipe's 468 or 478 points, but are {count}")


def label_map(metadata: Metadata, emotions: EmotionSet = SEVEN) -> LabelMap:
    """How an artifact's classes map to a set of emotions. Raises LabelError for an unknown word, or where it knows none
    of the set."""
    return LabelMap(metadata.labels or (), metadata.categories or (), emotions)


def set_of_model(metadata: Metadata) -> EmotionSet:
    """The seven emotions, followed by the classes that a model declares as its own."""
    own = metadata.categories or ()
    return EmotionSet((*EMOTIONS, *further_names(own, own, EMOTIONS)))


def used_labels(metadata: Metadata, path: str | Path, emotions: EmotionSet) -> LabelMap:
    """The same for a model that is to run. Raises ArtifactError where it knows none of the set."""
    try:
        return label_map(metadata, emotions)
    except LabelError as error:
        classes = ", ".join((metadata.labels or ())[:MOST_NAMED])
        raise ArtifactError(
            f"{path} knows none of {emotions.words}: its classes are {classes}; take another model, or name "
            "emotions that it knows under 'emotions' in config.yaml"
        ) from error


def fused_labels(metadata: Metadata, path: str | Path, emotions: EmotionSet) -> tuple[str, ...]:
    """The emotions of a set in the order of a fusion artifact's labels.

    Raises ArtifactError unless it knows exactly the set: it takes opinions, which have a place for each of its labels.
    """
    try:
        found = tuple(emotions.meant_by(label) or "" for label in metadata.labels or ())
    except LabelError:
        found = ()
    if sorted(found) != sorted(emotions.emotions):
        raise ArtifactError(
            f"{path} can't fuse: its labels must be {', '.join(emotions.emotions)}, in any order, but are "
            f"{', '.join((metadata.labels or ())[:MOST_NAMED])}; 'bimodal train fusion' makes one for 'emotions' of "
            "your own, and other strategies than 'learned' need none"
        )
    return found


def _check_opinions(metadata: Metadata, inputs: Sequence[Tensor], path: str) -> None:
    classes = len(metadata.labels or ())
    for tensor in inputs:
        columns = tensor.shape[1]
        if isinstance(columns, int) and columns != classes + 1:
            raise ArtifactError(
                f"{path}: '{tensor.name}' must have shape [any, {classes + 1}] (the probabilities of {classes} labels "
                f"and their reliability), but has {columns} columns"
            )


def _check_labels(metadata: Metadata, outputs: Sequence[Tensor], path: str) -> None:
    labels = cast("tuple[str, ...]", metadata.labels)
    try:
        # One of which every class is its own serves a set of emotions of the user's own.
        if not any(label in (metadata.categories or ()) for label in labels):
            label_map(metadata)
        for label in labels:
            SEVEN.meant_by(label, metadata.categories or ())
    except LabelError as error:
        raise ArtifactError(f"{path}: {error}") from error
    _check_count("probabilities", labels, outputs, path)


def _check_count(name: str, labels: Sequence[str], outputs: Sequence[Tensor], path: str) -> None:
    classes = next(tensor for tensor in outputs if tensor.name == name).shape[1]
    if isinstance(classes, int) and classes != len(labels):
        raise ArtifactError(f"{path}: '{name}' has {classes} classes, but 'labels' names {len(labels)}")


def _check_tensors(wanted: Sequence[TensorSpec], found: Sequence[Tensor], side: str, path: str, kind: Kind) -> None:
    by_name = {tensor.name: tensor for tensor in found}
    for want in wanted:
        tensor = by_name.pop(want.name, None)
        if tensor is None:
            if want.optional:
                continue
            have = ", ".join(t.name for t in found) or "none"
            raise ArtifactError(f"{path}: a {kind} artifact needs an {side} named '{want.name}' (it has {have})")
        if tensor.type != want.type:
            raise ArtifactError(f"{path}: {side} '{want.name}' must be {want.type}, but is {tensor.type}")
        fits = len(tensor.shape) == len(want.shape) and all(
            size is None or not isinstance(have, int) or have == size
            for size, have in zip(want.shape, tensor.shape, strict=True)
        )
        if not fits:
            raise ArtifactError(
                f"{path}: {side} '{want.name}' must have shape {_spell(want.shape)}, but has {_spell(tensor.shape)}"
            )
    if side == "input" and by_name:
        raise ArtifactError(f"{path}: a {kind} artifact takes no input named '{next(iter(by_name))}'")


def _spell(shape: Shape) -> str:
    return "[" + ", ".join("any" if size is None else str(size) for size in shape) + "]"
