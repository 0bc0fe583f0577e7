"""The architecture of a file that holds weights only: a short list of layers, and nothing that could be code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml
from msgspec import Meta, Struct

from bimodal.export.errors import SourceModelError
from bimodal.export.keras_layers import ACTIVATIONS, LAYERS

Size = Annotated[int, Meta(ge=1, le=1_000_000)]
WRAPPERS = ("Bidirectional", "TimeDistributed")


class Layer(Struct, frozen=True):
    """One layer.

    Attributes:
        kind: its class in keras.layers.
        settings: its arguments: numbers, words, true or false, or lists of numbers.
        of: the layer inside a Bidirectional or TimeDistributed.
    """

    kind: str
    settings: dict[str, bool | int | float | str | tuple[int, ...]] = {}
    of: Layer | None = None

    def __post_init__(self) -> None:
        if self.kind not in LAYERS:
            raise ValueError(f"there is no layer '{self.kind}' that can stand in an architecture")
        if (self.kind in WRAPPERS) != (self.of is not None):
            raise ValueError(f"'of' is for {' and '.join(WRAPPERS)}, which need it")
        for name in ("activation", "recurrent_activation"):
            if self.settings.get(name, "linear") not in ACTIVATIONS:
                raise ValueError(f"there is no activation '{self.settings[name]}'")


class Architecture(Struct, frozen=True, forbid_unknown_fields=True):
    """Layers one after the other.

    Attributes:
        input: shape of one example, without the batch.
        layers: in their order; each is a mapping of its class to its arguments when written as YAML.
    """

    input: tuple[Size, ...]
    layers: tuple[Layer, ...]


def read_architecture(path: Path) -> Architecture:
    """A YAML file such as

        input: [352, 15]
        layers:
          - LSTM: {units: 64, return_sequences: true}
          - Bidirectional: {of: {LSTM: {units: 64}}}
          - Dense: {units: 6, activation: softmax}

    Raises SourceModelError.
    """
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
        table["layers"] = [_spelled_out(layer) for layer in table["layers"]]
        return msgspec.convert(table, Architecture)
    except (OSError, yaml.YAMLError, msgspec.ValidationError, TypeError, KeyError, ValueError, AttributeError) as error:
        reason = str(error).replace("\n", " ")
        raise SourceModelError(f"{path} describes no architecture: {reason}") from error


def _spelled_out(layer: Any) -> dict[str, Any]:
    """`{LSTM: {units: 64}}` or `Flatten` → kind and settings."""
    if isinstance(layer, str):
        layer = {layer: {}}
    ((kind, settings),) = layer.items()
    settings = dict(settings or {})
    inner = settings.pop("of", None)
    return {"kind": kind, "settings": settings, "of": None if inner is None else _spelled_out(inner)}
