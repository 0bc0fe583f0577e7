"""Inspect a Keras file without Keras: its format, and that it holds nothing but Keras' own layers.

Nothing in the file is executed here. Keras itself only opens a file that passed, in a child process (child.py).
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import h5py
import msgspec
import yaml
from msgspec import Meta, Struct

from bimodal.export.errors import SourceModelError
from bimodal.export.keras.names import MODELS, REFUSED, keras_names

Format = Literal["h5", "keras", "weights", "saved-model"]
Config = dict[str, Any]

LARGEST_CONFIG = 64 * 2**20
ZIP_MEMBERS = frozenset({"config.json", "metadata.json", "model.weights.h5"})
OWN_MODULES = re.compile(
    r"(tensorflow\.)?keras(\.(src\.)?(layers|initializers|regularizers|constraints|models|dtype_policies|_legacy)(\.\w+)*)?"
)


class KerasFile(Struct, frozen=True):
    """The result of inspecting a file.

    Attributes:
        path: of the file, or of the folder of a SavedModel.
        format: `h5` and `keras` contain their architecture, `weights` need one from outside.
        config: the architecture in the file, None if it says none.
        warnings: sentences about layers that will be slow.
    """

    path: Path
    format: Format
    config: Config | None
    warnings: tuple[str, ...] = ()


def inspect(path: Path) -> KerasFile:
    """Inspect a .h5, .hdf5 or .keras file or a SavedModel folder.

    Raises SourceModelError if it is none of them, or holds a Lambda layer, a custom object or a link to other files.
    """
    if path.is_dir() and (path / "saved_model.pb").is_file():
        return KerasFile(path, "saved-model", None)
    if not path.is_file():
        raise SourceModelError(f"there is no Keras file {path}")
    if zipfile.is_zipfile(path):
        config = _config_of_zip(path)
        return KerasFile(path, "keras", config, _checked(path, config))
    if h5py.is_hdf5(path):
        try:
            with h5py.File(path, "r") as file:
                _refuse_links(path, file)
                said = _config_of_h5(path, file)
        except OSError as error:
            raise SourceModelError(f"{path} is damaged: {error}") from error
        if said is None:
            return KerasFile(path, "weights", None)
        return KerasFile(path, "h5", said, _checked(path, said))
    raise SourceModelError(f"{path} is no Keras file: it must be .h5, .hdf5, .keras or the folder of a SavedModel")


def modern(config: Config) -> Config:
    """Convert an architecture of Keras 1 or 2 to that of Keras 3, in which a Sequential begins with its input."""
    if config.get("class_name") != "Sequential":
        return config
    inner = config["config"]
    inner = {"name": "sequential", "layers": inner} if isinstance(inner, list) else dict(inner)
    first = inner["layers"][0]
    shape = first["config"].get("batch_input_shape")
    if first["class_name"] != "InputLayer" and shape is not None:
        rest = {key: value for key, value in first["config"].items() if key != "batch_input_shape"}
        start = {"class_name": "InputLayer", "config": {"batch_input_shape": shape, "name": "input"}}
        inner["layers"] = [start, {**first, "config": rest}, *inner["layers"][1:]]
    return {**config, "config": inner}


def _config_of_zip(path: Path) -> Config:
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if member not in ZIP_MEMBERS:
                    raise SourceModelError(f"{path} holds '{member}', which is no part of a network: it is refused")
            if archive.getinfo("config.json").file_size > LARGEST_CONFIG:
                raise SourceModelError(f"{path}: its config.json is larger than any network's")
            config = json.loads(archive.read("config.json"))
            with h5py.File(io.BytesIO(archive.read("model.weights.h5")), "r") as weights:
                _refuse_links(path, weights)
    except (KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise SourceModelError(f"{path} is no whole .keras file: {error}") from error
    config.pop("compile_config", None)  # losses and optimizers are never built
    return dict(config)


def _config_of_h5(path: Path, file: h5py.File) -> Config | None:
    text = file.attrs.get("model_config")
    if text is None:
        return None
    try:
        config = json.loads(text if isinstance(text, str) else bytes(text).decode())
        return dict(config)
    except (TypeError, ValueError) as error:
        raise SourceModelError(f"{path}: its 'model_config' is no JSON: {error}") from error


def _refuse_links(path: Path, group: h5py.Group) -> None:
    """Refuse HDF5 links to other files, which no model needs. Raises SourceModelError."""
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise SourceModelError(f"{path}: '{name}' in it links to another file ({link.filename})")
        if isinstance(link, h5py.SoftLink):
            continue
        item = group[name]
        if isinstance(item, h5py.Group):
            _refuse_links(path, item)
        elif isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
            raise SourceModelError(f"{path}: '{name}' in it keeps its values in another file")


def _checked(path: Path, config: Config) -> tuple[str, ...]:
    """Check all layers. Returns warnings about slow ones; raises SourceModelError for what is not Keras' own."""
    warnings = []
    if config.get("class_name") not in MODELS:
        raise SourceModelError(f"{path} holds a custom model '{config.get('class_name')}': only Keras' own can be read")
    for item in _objects(config):
        _refuse_foreign(path, item)
        kind, name = item["class_name"], _name(item)
        if kind in SLOW:
            warnings.append(f"layer '{name}' ({SLOW[kind]}) becomes an ONNX Loop, 20 to 50 times as slow as an LSTM")
        elif isinstance(item.get("config"), dict) and item["config"].get("recurrent_dropout"):
            warnings.append(f"layer '{name}' has recurrent_dropout and may become an ONNX Loop, which is slow")
    return tuple(dict.fromkeys(warnings))


def _objects(value: object) -> Iterator[Config]:
    """Yield everything in a config that Keras would build."""
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        for inner in value.values():
            yield from _objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _objects(inner)


def _refuse_foreign(path: Path, item: Config) -> None:
    kind, name, known = str(item["class_name"]), _name(item), keras_names()
    if kind in REFUSED:
        raise SourceModelError(
            f"{path}: layer '{name}' is {REFUSED[kind]}: it is refused; save the model without it, up to the layer "
            "before "
            "or from the one behind it"
        )
    if kind == "function" and item.get("config") in known.activations:
        return
    registered = item.get("registered_name")
    own = isinstance(registered, str) and ">" in registered
    if kind not in known.layers | MODELS | known.settings or own:
        called = registered if own else kind
        raise SourceModelError(
            f"{path}: '{name}' is the custom object '{called}', which Keras {known.version} does not have: save the "
            "model "
            "as a SavedModel in the program that knows it (model.export('folder')), and export that folder"
        )
    module = item.get("module")
    if module is not None and not OWN_MODULES.fullmatch(str(module)):
        raise SourceModelError(f"{path}: '{name}' wants code of the module '{module}', which is not Keras' own")
    settings = item.get("config")
    for key in ("activation", "recurrent_activation"):
        activation = settings.get(key) if isinstance(settings, dict) else None
        if isinstance(activation, str) and activation not in known.activations:
            raise SourceModelError(
                f"{path}: layer '{name}' has the custom activation '{activation}', which Keras {known.version} does "
                "not "
                "have: save the model as a SavedModel in the program that knows it, and export that folder"
            )


def _name(item: Config) -> str:
    """Name of an item for messages: its own name, or for a function that in the file."""
    settings = item.get("config")
    if isinstance(settings, dict):
        return str(settings.get("name") or item.get("name") or item["class_name"])
    return settings if isinstance(settings, str) else str(item["class_name"])


# The architecture for a file that holds weights only: a short list of layers that can contain no code.

Size = Annotated[int, Meta(ge=1, le=1_000_000)]
WRAPPERS = ("Bidirectional", "TimeDistributed")


class Layer(Struct, frozen=True):
    """One layer.

    Attributes:
        kind: its class in keras.layers.
        settings: its arguments: numbers, strings, booleans, or lists of numbers.
        of: the layer inside a Bidirectional or TimeDistributed.
    """

    kind: str
    settings: dict[str, bool | int | float | str | tuple[int, ...]] = {}
    of: Layer | None = None

    def __post_init__(self) -> None:
        known = keras_names()
        if self.kind not in known.layers:
            why = f": it is {REFUSED[self.kind]}" if self.kind in REFUSED else f"; Keras {known.version} has none"
            raise ValueError(f"there is no layer '{self.kind}' that can stand in an architecture{why}")
        if (self.kind in WRAPPERS) != (self.of is not None):
            raise ValueError(f"'of' is for {' and '.join(WRAPPERS)}, which need it")
        for name in ("activation", "recurrent_activation"):
            if self.settings.get(name, "linear") not in known.activations:
                raise ValueError(f"there is no activation '{self.settings[name]}'")


class Architecture(Struct, frozen=True, forbid_unknown_fields=True):
    """A sequence of layers.

    Attributes:
        input: shape of one example, without the batch.
        layers: in order; in YAML each is a mapping of its class to its arguments.
    """

    input: tuple[Size, ...]
    layers: tuple[Layer, ...]


def read_architecture(path: Path) -> Architecture:
    """Read an architecture from a YAML file such as

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
    """Expand `{LSTM: {units: 64}}` or `Flatten` to kind and settings."""
    if isinstance(layer, str):
        layer = {layer: {}}
    ((kind, settings),) = layer.items()
    settings = dict(settings or {})
    inner = settings.pop("of", None)
    return {"kind": kind, "settings": settings, "of": None if inner is None else _spelled_out(inner)}


SLOW = {"GRU": "GRU", "GRUCell": "GRU", "Masking": "Masking", "SimpleRNN": "SimpleRNN"}
"""Layers that ONNX expresses as a Loop, 20 to 50 times slower than an LSTM."""
