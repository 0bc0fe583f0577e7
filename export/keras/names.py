"""The names that Keras itself has: layers, initializers, activations, read from the installed Keras without running it.

A Keras file names classes. Those that are Keras' own arithmetic are built; code (Lambda), other frameworks and what
reads files are refused by name, and so is everything that this Keras does not have.
"""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from bimodal.export.errors import SourceModelError

REFUSED: Mapping[str, str] = {
    "Lambda": "a Lambda, which is code and not arithmetic",
    "__lambda__": "a lambda, which is code and not arithmetic",
    "TFSMLayer": "a TFSMLayer, which opens another file",
    "TorchModuleWrapper": "a TorchModuleWrapper, which is code of PyTorch",
    "JaxLayer": "a JaxLayer, which is code of JAX",
    "FlaxLayer": "a FlaxLayer, which is code of JAX",
    "TextVectorization": "a TextVectorization, which takes text and may read files",
    "StringLookup": "a StringLookup, which takes text and may read files",
    "IntegerLookup": "an IntegerLookup, which may read files",
    "HashedCrossing": "a HashedCrossing, which takes text",
    "Hashing": "a Hashing, which takes text",
}
"""Keras' own classes that no network of faces or voices may hold, and why."""

MODELS = frozenset({"Functional", "Model", "Sequential"})
VALUES = frozenset({"__keras_tensor__", "__tuple__", "__numpy__", "__tensor__", "__slice__", "__ellipsis__", "Policy"})
"""Plain values that Keras writes like objects."""

AUGMENTATION = ("Random", "AutoContrast", "AugMix", "CutMix", "MixUp", "RandAugment", "Equalization", "Solarization")
"""Beginnings of the names of layers that change pictures in training only."""


class Names(Struct, frozen=True):
    """What the installed Keras has.

    Attributes:
        version: of Keras.
        layers: classes of layers and wrappers, without those of REFUSED.
        settings: classes that configure layers: initializers, regularizers, constraints, policies, plain values.
        activations: names of functions.
    """

    version: str
    layers: frozenset[str]
    settings: frozenset[str]
    activations: frozenset[str]


@functools.cache
def keras_names() -> Names:
    """Read the names. Raises SourceModelError if there is no Keras 3."""
    found = importlib.util.find_spec("keras")
    if found is None or found.origin is None:
        raise SourceModelError("Keras is not installed: pip install 'bimodal-emotion[convert]'")
    root = Path(found.origin).parent
    layers = {*_classes(root, "layers"), *_classes(root, "_legacy/layers")} - REFUSED.keys()
    settings = {name for room in ("initializers", "regularizers", "constraints", "dtype_policies")
                for name in _classes(root, room)}  # fmt: skip
    if not layers or not settings:
        raise SourceModelError(
            f"the Keras in {root} is none that is known here: pip install 'bimodal-emotion[convert]'"
        )
    activations = {name for name in _imported(root, "activations") if name[:1].islower()}
    return Names(
        importlib.metadata.version("keras"),
        frozenset(layers),
        frozenset(settings | VALUES),
        frozenset(activations - {"deserialize", "serialize", "get"} | {"swish", "hard_swish"}),
    )


def _classes(root: Path, room: str) -> Iterator[str]:
    return (name for name in _imported(root, room) if name[:1].isupper())


def _imported(root: Path, room: str) -> Iterator[str]:
    """Names that `keras.<room>` imports, without importing it."""
    file = root / room / "__init__.py"
    if not file.is_file():
        return
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
