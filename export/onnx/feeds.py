"""Inputs of a foreign graph besides the one that takes faces, sound or embeddings: what feeds each of them.

Masks and lengths say how much of a batch counts (here: all of it), learning phases whether the network is training
(never), sample rates and constants are what they are. Some are known by their names; others are asked for with --feed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bimodal.export.errors import SourceModelError
from bimodal.export.frontends.draft import Draft

Sizes = tuple[int | str | None, ...]
"""A declared shape: numbers, names of sizes, None for any size without a name."""

Values = NDArray[Any]
Fill = Literal["length", "ones", "zeros"]
Value = Fill | tuple[float, ...]

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
WHOLE = (TensorProto.UINT8, TensorProto.INT8, TensorProto.UINT16, TensorProto.INT16, TensorProto.UINT32,
         TensorProto.INT32, TensorProto.UINT64, TensorProto.INT64)  # fmt: skip
FED = (*FLOATS, *WHOLE, TensorProto.BOOL)


@dataclass(frozen=True)
class Port:
    """One input or output of a foreign graph, as it declares it.

    Attributes:
        name: its own.
        type: ONNX element type; None for what is no tensor (a sequence, a map).
        shape: declared sizes; None where it declares none.
        described: its type in words.
    """

    name: str
    type: int | None
    shape: Sizes | None
    described: str

    @property
    def columns(self) -> int | None:
        """Size of its last axis, where it is declared."""
        last = self.shape[-1] if self.shape else None
        return last if isinstance(last, int) else None

    def __str__(self) -> str:
        return f"'{self.name}' {self.described}" + ("" if self.shape is None else f" {spelled(self.shape)}")


def port_of(value: onnx.ValueInfoProto) -> Port:
    """Read the declaration of an input or output."""
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        words = {"sequence_type": "sequence", "map_type": "map", "optional_type": "optional", None: "of unknown type"}
        if kind == "sequence_type" and value.type.sequence_type.elem_type.WhichOneof("value") == "map_type":
            return Port(value.name, None, None, "sequence of maps")
        return Port(value.name, None, None, words.get(kind, "sparse tensor"))
    tensor = value.type.tensor_type
    shape = (
        tuple(
            dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else (dim.dim_param or None)
            for dim in tensor.shape.dim
        )
        if tensor.HasField("shape")
        else None
    )
    return Port(value.name, tensor.elem_type, shape, type_name(tensor.elem_type))


def type_name(element: int) -> str:
    """An element type in words: float, float16, bfloat16, int64, string …"""
    known = element in TensorProto.DataType.values()
    return str(TensorProto.DataType.Name(element)).lower() if known else f"values of type {element}"


def spelled(shape: Sequence[int | str | None]) -> str:
    """Write a shape: [batch, 3, any]."""
    return "[" + ", ".join("any" if size is None else str(size) for size in shape) + "]"


def listed(ports: Sequence[object]) -> str:
    """Join descriptions of ports with commas."""
    return ", ".join(str(port) for port in ports) or "none"


@dataclass(frozen=True)
class Feed:
    """What feeds one further input.

    Attributes:
        port: the input.
        value: `length` (samples or steps of each input), `ones`, `zeros`, or numbers.
        batch, length: names or sizes by which the main input declares its batch and its length.
    """

    port: Port
    value: Value
    batch: int | str | None = None
    length: int | str | None = None

    def roles(self) -> list[int | Literal["batch", "length"]]:
        """Say of each axis whether it is as long as the batch, as the input, or of a fixed size."""
        shape = self.port.shape or ()
        found: list[int | Literal["batch", "length"]] = []
        for axis, size in enumerate(shape):
            taken = "batch" in found
            if isinstance(size, str) and size == self.length and size != self.batch:
                found.append("length")
            elif isinstance(size, str) and size == self.batch and not taken:
                found.append("batch")
            elif isinstance(size, int) and not (size == 1 and axis == 0 and self.batch == 1):
                found.append(size)
            elif not taken and (axis == 0 or not any(not isinstance(other, int) for other in shape[:axis])):
                found.append("batch")
            else:
                found.append("length")
        return found

    def array(self, count: int, length: int) -> Values:
        """Compute the input for a batch of `count` inputs, each `length` long."""
        shape = [count if role == "batch" else length if role == "length" else role for role in self.roles()]
        dtype = helper.tensor_dtype_to_np_dtype(self.port.type or TensorProto.FLOAT)
        if self.value == "length":
            return np.full(shape, length, dtype)
        if isinstance(self.value, str):
            return np.full(shape, 1 if self.value == "ones" else 0, dtype)
        return np.broadcast_to(np.array(self.value if len(self.value) > 1 else self.value[0]), shape).astype(dtype)

    def nodes(self, draft: Draft, source: str, axis: int, name: str) -> None:
        """Add the same to a graph, as tensor `name`; `source` is the main input, with its length on `axis`."""
        kind, roles = self.port.type or TensorProto.FLOAT, self.roles()
        if all(isinstance(role, int) for role in roles) and self.value != "length":
            held = self.array(1, 1)
            draft.constants.append(numpy_helper.from_array(np.ascontiguousarray(held), f"{name}:value"))
            draft.nodes.append(helper.make_node("Identity", [f"{name}:value"], [name]))
            return
        sizes = draft.node("Shape", source)
        count = draft.node("Gather", sizes, draft.integers([0]), axis=0)
        length = draft.node("Gather", sizes, draft.integers([axis]), axis=0)
        parts = {"batch": count, "length": length}
        value = length
        if self.value != "length":
            numbers = np.asarray([1.0 if self.value == "ones" else 0.0] if isinstance(self.value, str) else self.value)
            value = draft.node("Cast", draft.floats(numbers), to=TensorProto.DOUBLE)
        if not roles:
            value = draft.node("Squeeze", value)
        else:
            shape = draft.node(
                "Concat",
                *(parts[role] if isinstance(role, str) else draft.integers([role]) for role in roles),
                axis=0,
            )
            value = draft.node("Expand", value, shape)
        draft.nodes.append(helper.make_node("Cast", [value], [name], to=kind))

    def __str__(self) -> str:
        if isinstance(self.value, str):
            words = {"length": "its length", "ones": "ones", "zeros": "zeros"}[self.value]
        else:
            words = ", ".join(f"{number:g}" for number in self.value)
        return f"{self.port.name} = {words}"


def parse_feed(text: str) -> tuple[str, Value]:
    """Parse `NAME=length`, `NAME=ones`, `NAME=zeros`, `NAME=16000` or `NAME=0.1,0.2`. Raises SourceModelError."""
    name, sign, value = text.rpartition("=")
    if value in ("length", "ones", "zeros") and name:
        return name, value  # type: ignore[return-value]
    try:
        if not sign or not name:
            raise ValueError
        return name, tuple(float(part) for part in value.split(","))
    except ValueError as error:
        raise SourceModelError(
            f"--feed takes NAME=length, NAME=ones, NAME=zeros or NAME=NUMBER, not '{text}'"
        ) from error


def guessed(port: Port, kind: str | None, sample_rate: int | None) -> Value | None:
    """What feeds an input of a well-known name; None if its name says nothing certain."""
    name = port.name.lower().rsplit("/", 1)[-1].removesuffix(":0")
    whole = port.type in WHOLE
    if name == "attention_mask":
        return "ones"
    if any(part in name for part in ("length", "lens")):
        return "length" if whole else "ones"  # SpeechBrain's are shares of the longest
    if name in ("keras_learning_phase", "learning_phase", "training", "is_training", "train", "phase_train"):
        return (0.0,)
    if name in ("keep_prob", "keep_probability"):
        return (1.0,)
    if name in ("dropout", "dropout_rate", "drop_rate"):
        return (0.0,)
    if kind in ("speech", "voice-activity") and name in ("sr", "sample_rate", "sampling_rate", "fs") and sample_rate:
        return (float(sample_rate),)
    return None


def check_fed(port: Port, value: Value, path: Path) -> None:
    """Raise SourceModelError if an input can't be fed with anything, or not with numbers of that count."""
    if port.type not in FED:
        raise SourceModelError(
            f"{path} can't be adopted as it is: its input {port} takes {port.described}, which neither a picture nor "
            "a sound gives; export it without that input"
        )
    if port.shape is None:
        raise SourceModelError(
            f"{path}: input '{port.name}' declares no shape, so that nothing can feed it: export it again"
        )
    if isinstance(value, tuple) and len(value) > 1 and port.shape[-1:] != (len(value),):
        raise SourceModelError(f"{path}: --feed gives '{port.name}' {len(value)} numbers, but its shape is {port}")
