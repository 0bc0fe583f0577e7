"""The information that a Keras file lacks: front end, labels, origin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml
from msgspec import Meta, Struct

from bimodal.export.errors import SourceModelError
from bimodal.export.frontends.pixels import Pixels
from bimodal.export.frontends.presets import SPEECH_PRESETS
from bimodal.export.frontends.speech import SpeechFrontend
from bimodal.export.keras.file import Architecture, Layer
from bimodal.export.onnx import description
from bimodal.export.scores import Scores
from bimodal.models.contract import Crop


class FaceFrontend(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Preprocessing of `faces` uint8 [N, size, size, 3] RGB to the network's input."""

    size: Annotated[int, Meta(ge=8, le=1024)]
    pixels: Pixels = Pixels(layout="nhwc")
    crop: Crop = Crop()


class Recipe(Struct, frozen=True, kw_only=True):
    """The information that turns a network into an artifact.

    Attributes:
        frontend: preprocessing of a waveform or face.
        labels: the network's classes in output order; probabilities of equal ones are summed.
        license, source: of the weights.
        scores: what the output's numbers are (see export/scores.py); found out where None.
        categories: labels that are none of the seven emotions, and keep their names.
        output: name or number of the output that holds the classes, where there are several.
        architecture: the layers of a file that holds only weights.
    """

    frontend: SpeechFrontend | FaceFrontend
    labels: tuple[str, ...] = ()
    license: str = "unknown"
    source: str = ""
    scores: Scores | None = None
    categories: tuple[str, ...] = ()
    output: str | None = None
    architecture: Architecture | None = None


class Words(Struct, frozen=True, forbid_unknown_fields=True):
    """The fields of a Recipe that a YAML file may have besides the front end."""

    labels: tuple[str, ...] = ()
    license: str = "unknown"
    source: str = ""
    scores: Scores | None = None
    categories: tuple[str, ...] = ()
    output: str | None = None


def _dense(classes: int) -> Layer:
    return Layer("Dense", {"units": classes, "activation": "softmax"})


LSTM_352X15 = Architecture(
    (352, 15), (Layer("LSTM", {"units": 64, "return_sequences": True}), Layer("LSTM", {"units": 64}), _dense(6))
)

FACE_PRESETS = ("mini-xception",)
"""Presets of `bimodal export onnx` whose networks are published as Keras files."""

PRESETS: tuple[str, ...] = (*FACE_PRESETS, *SPEECH_PRESETS)


def read_preset(name: str) -> Recipe:
    """Read a shipped recipe. Raises SourceModelError, listing the presets, if there is none of that name."""
    if name in SPEECH_PRESETS:
        found = SPEECH_PRESETS[name]
        layers = LSTM_352X15 if name == "ser-352x15" else None
        return Recipe(
            frontend=found.frontend,
            labels=found.labels,
            license=found.license,
            source=found.source,
            architecture=layers,
        )
    if name not in FACE_PRESETS:
        raise SourceModelError(f"there is no preset '{name}'; there are {', '.join(PRESETS)}")
    said = description.read_preset(name)
    frontend = FaceFrontend(size=said.size or 0, pixels=said.pixels or Pixels(), crop=said.crop or Crop())
    return Recipe(
        frontend=frontend, labels=said.labels or (), license=said.license or "unknown", source=said.source or ""
    )


def with_words(recipe: Recipe, **words: object) -> Recipe:
    """Replace fields of a recipe; None keeps a field."""
    return msgspec.structs.replace(recipe, **{key: value for key, value in words.items() if value is not None})


def read_recipe(path: Path) -> Recipe:
    """Read a YAML file with `kind` (speech or face-static), the fields of its front end, and those of a recipe.

    Raises SourceModelError if the file can't be read or has invalid fields.
    """
    try:
        table: dict[str, Any] = dict(yaml.safe_load(path.read_text(encoding="utf-8")))
        kind = table.pop("kind", None)
        kinds: dict[object, type[SpeechFrontend | FaceFrontend]] = {
            "speech": SpeechFrontend,
            "face-static": FaceFrontend,
        }
        if kind not in kinds:
            raise SourceModelError(f"{path} must say 'kind: speech' or 'kind: face-static'")
        if "logits" in table:
            table["scores"] = "logits" if table.pop("logits") else "softmax"
        own = {name: table.pop(name) for name in Words.__struct_fields__ if name in table}
        frontend = msgspec.convert(table, kinds[kind])
        return Recipe(frontend=frontend, **msgspec.structs.asdict(msgspec.convert(own, Words)))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError, TypeError, ValueError) as error:
        raise SourceModelError(f"{path} describes no front end: {' '.join(str(error).split())}") from error
