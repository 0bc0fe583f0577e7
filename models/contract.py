"""What an artifact of each kind must look like: inputs, outputs and metadata, and the check of all of it.

An artifact is an .onnx file whose graph holds all preprocessing of values and whose `metadata_props` say the
rest. See docs/models.md for the contract in prose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, TypeAlias, cast, get_args

import msgspec

from bimodal.models.emotions import LabelMap
from bimodal.models.errors import ArtifactError, LabelError

CONTRACT_VERSION = "1"
CONTRACT_KEY = "bimodal.contract"

Kind = Literal["face-detector", "face-landmarks", "face-static", "face-dynamic", "speech", "voice-activity", "fusion"]
KINDS: tuple[Kind, ...] = get_args(Kind)

Shape: TypeAlias = "tuple[int | str | None, ...]"

# What metadata may say is bounded: it decides how much memory is taken, and is shown in terminals and on pages.
Line: TypeAlias = Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Prose: TypeAlias = Annotated[str, msgspec.Meta(max_length=20_000)]
Rate: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=768_000)]
Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=3600)]
Labels: TypeAlias = Annotated[tuple[Line, ...], msgspec.Meta(max_length=1000)]


class Crop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a face must be cut out for a face-static model (see models/faces/crop.py).

    The square is centred on the bounding box of the 468 mesh points, moved by `shift_y` box heights (downwards
    positive), with a side of `scale` times the longer side of that box. `rotate` turns the line through the
    eyes level first.
    """

    scale: float = 1.2
    shift_y: float = 0.0
    rotate: bool = True


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """`metadata_props` of an artifact, typed. Fields that a kind does not use stay None.

    Attributes:
        labels: the classes in output order.
        embedding_space: identifies the network whose embeddings these are; a dynamic model only accepts the
            space it was trained on.
        sample_rate: Hz of the waveform a speech or voice-activity model wants.
        window_s, minimum_window_s: longest and shortest stretch of sound a speech model takes, in seconds.
        interval_s: seconds between two steps of a dynamic model, or two hops of a speech model.
        crop: how the face must be cut out.
        geometry: what a detector's or landmark model's decoding needs (kind-specific).
        temperature: the calibration already applied inside the graph; 1.0 means uncalibrated.
        metrics: figures of the model card.
    """

    contract: str
    kind: Kind
    name: Line
    version: Line
    license: Prose
    source: Prose
    labels: Labels | None = None
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
    """One input or output of a graph: name, ONNX Runtime type word (`tensor(float)`), shape (str = dynamic)."""

    name: str
    type: str
    shape: tuple[int | str | None, ...]


class Wanted(msgspec.Struct, frozen=True):
    """One input or output the contract asks for; None in a shape means any size, fixed or dynamic, an int exactly
    that size."""

    name: str
    type: str
    shape: tuple[int | None, ...]
    optional: bool = False


UINT8, FLOAT = "tensor(uint8)", "tensor(float)"

INPUTS: Mapping[Kind, tuple[Wanted, ...]] = {
    "face-detector": (Wanted("image", UINT8, (1, None, None, 3)),),
    "face-landmarks": (Wanted("faces", UINT8, (None, 192, 192, 3)),),
    "face-static": (Wanted("faces", UINT8, (None, None, None, 3)),),
    "face-dynamic": (Wanted("embeddings", FLOAT, (None, None, None)),),
    "speech": (Wanted("waveform", FLOAT, (None, None)),),
    "voice-activity": (Wanted("waveform", FLOAT, (None, None)), Wanted("state", FLOAT, (2, None, None))),
    "fusion": (Wanted("video", FLOAT, (None, None)), Wanted("speech", FLOAT, (None, None))),
}

OUTPUTS: Mapping[Kind, tuple[Wanted, ...]] = {
    "face-detector": (Wanted("boxes", FLOAT, (1, None, None)), Wanted("scores", FLOAT, (1, None, None))),
    "face-landmarks": (Wanted("points", FLOAT, (None, 468, 3)), Wanted("presence", FLOAT, (None, None))),
    "face-static": (
        Wanted("probabilities", FLOAT, (None, None)),
        Wanted("embedding", FLOAT, (None, None), optional=True),
    ),
    "face-dynamic": (Wanted("probabilities", FLOAT, (None, None)),),
    "speech": (Wanted("probabilities", FLOAT, (None, None)),),
    "voice-activity": (Wanted("probability", FLOAT, (None, None)), Wanted("next_state", FLOAT, (2, None, None))),
    "fusion": (Wanted("probabilities", FLOAT, (None, None)),),
}

REQUIRED: Mapping[Kind, tuple[str, ...]] = {
    "face-detector": ("geometry",),
    "face-landmarks": ("geometry",),
    "face-static": ("labels", "crop"),
    "face-dynamic": ("labels", "embedding_space", "interval_s"),
    "speech": ("labels", "sample_rate", "window_s", "minimum_window_s"),
    "voice-activity": ("sample_rate",),
    "fusion": ("labels",),
}

TEXT_FIELDS = ("kind", "name", "version", "license", "source", "embedding_space")


def to_properties(metadata: Metadata) -> dict[str, str]:
    """`metadata_props` for an artifact: plain text for words, JSON for everything else, None left out."""
    properties = {CONTRACT_KEY: metadata.contract}
    for field in metadata.__struct_fields__:
        value = getattr(metadata, field)
        if field == "contract" or value is None:
            continue
        properties[field] = value if field in TEXT_FIELDS else msgspec.json.encode(value).decode()
    return properties


def read_properties(properties: Mapping[str, str], path: str, kind: Kind | None = None) -> Metadata:
    """`metadata_props` → Metadata.

    Args:
        kind: what the caller needs the artifact to be; None takes any.

    Raises ArtifactError, naming `path`, where a key is missing or holds what it may not, or the kind is another.
    """
    if CONTRACT_KEY not in properties:
        raise ArtifactError(
            f"{path} is not a bimodal artifact: it has no '{CONTRACT_KEY}' metadata; wrap it with 'bimodal export onnx'"
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
    """Raises ArtifactError with what is wrong and what would be right, unless the artifact keeps its contract."""
    for field in REQUIRED[metadata.kind]:
        if getattr(metadata, field) is None:
            raise ArtifactError(f"{path}: a {metadata.kind} artifact needs '{field}' in its metadata")
    _check_tensors(INPUTS[metadata.kind], inputs, "input", path, metadata.kind)
    _check_tensors(OUTPUTS[metadata.kind], outputs, "output", path, metadata.kind)
    if metadata.labels is not None:
        _check_labels(metadata, outputs, path)


def _check_labels(metadata: Metadata, outputs: Sequence[Tensor], path: str) -> None:
    labels = cast("tuple[str, ...]", metadata.labels)
    try:
        LabelMap(labels)
    except LabelError as error:
        raise ArtifactError(f"{path}: {error}") from error
    classes = next(tensor for tensor in outputs if tensor.name == "probabilities").shape[1]
    if isinstance(classes, int) and classes != len(labels):
        raise ArtifactError(f"{path}: 'probabilities' has {classes} classes, but 'labels' names {len(labels)}")


def _check_tensors(wanted: Sequence[Wanted], found: Sequence[Tensor], side: str, path: str, kind: Kind) -> None:
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
