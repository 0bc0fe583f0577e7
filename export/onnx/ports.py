"""Find the input and outputs of a foreign graph, and check them against its description."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto

from bimodal.export.errors import SourceModelError
from bimodal.export.onnx.description import Description

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
MASK = "attention_mask"
"""Second input of wav2vec2-like speech networks: mask of valid samples, all ones here."""

Sizes = tuple[int | None, ...]


@dataclass(frozen=True)
class Ports:
    """The used input and outputs of a foreign graph.

    Attributes:
        input, type, shape: of the input; None in the shape for any size.
        mask: type of a second input named attention_mask; None if there is none.
        output: the tensor that holds classes.
        embedding: the tensor that becomes the embedding, or None.
    """

    input: str
    type: int
    shape: Sizes
    mask: int | None
    output: str
    embedding: str | None

    @property
    def batches(self) -> bool:
        """True if the graph declares a free batch size."""
        return self.shape[0] is None


def find_ports(model: onnx.ModelProto, description: Description, path: Path) -> Ports:
    """Find the ports. Raises SourceModelError, listing the names, if one is unknown or an input would stay unfed."""
    graph = model.graph
    constants = {value.name for value in graph.initializer} | {value.values.name for value in graph.sparse_initializer}
    inputs = {value.name: value for value in graph.input if value.name not in constants}
    masked = description.kind == "speech" and description.input != MASK
    free = [name for name in inputs if not (masked and name == MASK)]
    chosen = description.input or (free[0] if len(free) == 1 else None)
    if chosen is None or chosen not in inputs:
        what = f"no input '{description.input}'" if description.input else f"{len(free)} inputs"
        raise SourceModelError(f"{path} has {what}, but {_listed(inputs)}: say which with --input")
    unfed = [name for name in free if name != chosen]
    if unfed:
        raise SourceModelError(f"{path} needs the input '{unfed[0]}' beside '{chosen}', and nothing feeds it")
    tensor = inputs[chosen].type.tensor_type
    if tensor.elem_type not in FLOATS:
        known = tensor.elem_type in TensorProto.DataType.values()
        kind = TensorProto.DataType.Name(tensor.elem_type) if known else f"values of type {tensor.elem_type}"
        raise SourceModelError(f"{path}: input '{chosen}' takes {kind}, but only floating point can be fed")
    return Ports(
        input=chosen,
        type=tensor.elem_type,
        shape=tuple(dim.dim_value if dim.dim_value > 0 else None for dim in tensor.shape.dim),
        mask=inputs[MASK].type.tensor_type.elem_type if masked and MASK in inputs else None,
        output=_output(graph, description.output, path) or graph.output[0].name,
        embedding=_output(graph, description.embedding, path),
    )


def face_size(ports: Ports, description: Description, path: Path) -> int:
    """Side of the square crops that the graph takes.

    Raises SourceModelError if the graph's input does not have the described layout and colour, or is not square.
    """
    pixels = description.pixels
    if pixels is None:
        raise SourceModelError(f"say what values {path} wants: a --preset, or --colour, --layout, --scale, --mean …")
    if len(ports.shape) != 4:
        raise SourceModelError(f"{path}: input '{ports.input}' has {len(ports.shape)} axes, but a batch of faces has 4")
    channel = 1 if pixels.layout == "nchw" else 3
    if ports.shape[channel] not in (None, pixels.channels):
        raise SourceModelError(
            f"{path}: input '{ports.input}' has shape {_spelled(ports.shape)}, which is not {pixels.layout} with "
            f"{pixels.channels} channel{'s' if pixels.channels > 1 else ''} ({pixels.colour}): say --layout or --colour"
        )
    sides = {size for axis, size in enumerate(ports.shape) if axis not in (0, channel) and size is not None}
    if pixels.resize is not None:
        if sides - {pixels.resize.side}:
            raise SourceModelError(f"{path} takes {_spelled(ports.shape)}, not faces resized to {pixels.resize.side}")
        sides.clear()
    sides |= {description.size} if description.size is not None else set()
    if not sides:
        raise SourceModelError(f"{path} takes faces of any size: say which it was trained on with --size")
    if len(sides) > 1:
        raise SourceModelError(f"{path} takes {_spelled(ports.shape)}, but faces are squares of one --size")
    return sides.pop()


def window_size(ports: Ports, path: Path) -> int | None:
    """Number of samples of a waveform if the graph fixes it, else None.

    Raises SourceModelError if the input is not [N, S] or [N, 1, S].
    """
    middle = ports.shape[1:-1]
    if len(ports.shape) not in (2, 3) or any(size not in (None, 1) for size in middle):
        raise SourceModelError(
            f"{path}: input '{ports.input}' has shape {_spelled(ports.shape)}, but a waveform is [N, S] or [N, 1, S]; "
            "features are made by 'bimodal export keras', or inside your own graph"
        )
    return ports.shape[-1]


def _output(graph: onnx.GraphProto, name: str | None, path: Path) -> str | None:
    if name is None:
        return None
    if not any(name in node.output for node in graph.node):
        outputs = ", ".join(value.name for value in graph.output)
        raise SourceModelError(f"{path} has no tensor '{name}'; its outputs are {outputs}")
    return name


def _listed(inputs: dict[str, onnx.ValueInfoProto]) -> str:
    return ", ".join(f"'{name}'" for name in inputs) or "none"


def _spelled(shape: Sizes) -> str:
    return "[" + ", ".join("any" if size is None else str(size) for size in shape) + "]"
