"""Find the inputs and outputs of a foreign graph, and check them against its description."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto

from bimodal.export.errors import SourceModelError
from bimodal.export.onnx.description import Description
from bimodal.export.onnx.feeds import (
    FLOATS,
    WHOLE,
    Feed,
    Port,
    Sizes,
    Value,
    check_fed,
    guessed,
    listed,
    parse_feed,
    port_of,
    spelled,
    type_name,
)

FEW = 100
"""An input with so few columns or fewer is no waveform."""
TAKEN = {"face-static": "faces", "face-dynamic": "embeddings", "speech": "the waveform"}
"""What the main input takes, in words."""


@dataclass(frozen=True)
class Affect:
    """One column of a dimension (valence, arousal, dominance): tensor and column."""

    tensor: str
    column: int


@dataclass(frozen=True)
class Ports:
    """The used inputs and outputs of a foreign graph.

    Attributes:
        input, type, shape: of the main input; None in the shape for any size.
        feeds: what feeds its other inputs.
        output: the tensor that holds classes.
        embedding: the tensor that becomes the embedding, or None.
        affect: columns of valence and arousal (face), or of arousal, dominance and valence (speech); else empty.
        names: names of the classes that a ZipMap or a classifier in the graph carries, in the order of its columns.
        left_out: outputs that are not used.
        whole, shift: whether the classes are whole numbers of 8 bits, and what makes them begin at 0.
    """

    input: str
    type: int
    shape: tuple[int | None, ...]
    output: str
    embedding: str | None = None
    feeds: tuple[Feed, ...] = ()
    affect: tuple[Affect, ...] = ()
    names: tuple[str, ...] = ()
    left_out: tuple[Port, ...] = ()
    whole: bool = False
    shift: float = 0.0

    @property
    def batches(self) -> bool:
        """True if the graph declares a free batch size."""
        return self.shape[0] is None

    @property
    def length_axis(self) -> int:
        """The axis of samples or steps."""
        return -1 if len(self.shape) < 3 or self.shape[1] == 1 else 1

    @property
    def wanted(self) -> list[str]:
        """Tensors that are read, each once: classes, embedding, dimensions."""
        own = [self.output, *([self.embedding] if self.embedding else []), *(each.tensor for each in self.affect)]
        return list(dict.fromkeys(own))


@dataclass(frozen=True)
class Result:
    """An output of a foreign graph, unwrapped: `tensor` is what its sequence or map is made of."""

    port: Port
    tensor: str
    names: tuple[str, ...] = ()

    @property
    def columns(self) -> int | None:
        """Size of its last axis, where it is declared."""
        return self.port.columns

    def __str__(self) -> str:
        return str(self.port)


def inputs_of(graph: onnx.GraphProto) -> list[Port]:
    """Inputs of a graph that are no constants, as it declares them."""
    constants = {value.name for value in graph.initializer} | {value.values.name for value in graph.sparse_initializer}
    return [port_of(value) for value in graph.input if value.name not in constants]


def find_ports(model: onnx.ModelProto, description: Description, path: Path, *, classes: int | None = None) -> Ports:
    """Find the ports; `classes` is the number of labels, where it is known.

    Raises SourceModelError, listing all by name, type and shape, if it can't be told which is which.
    """
    graph = model.graph
    inputs = inputs_of(graph)
    values = _said_feeds(description, inputs, path)
    rate = description.sample_rate
    known = {port.name: guessed(port, description.kind, rate) for port in inputs if port.name not in values}
    values.update({name: value for name, value in known.items() if value is not None and name != description.input})
    chosen = _chosen(inputs, values, description, path)
    if chosen.type not in (*FLOATS, *WHOLE):
        raise SourceModelError(_no_input(chosen, path))
    if chosen.shape is None:
        raise SourceModelError(f"{path}: input '{chosen.name}' declares no shape: export it again with one")
    first = chosen.shape[0] if chosen.shape else None
    if isinstance(first, int) and first > 1:
        raise SourceModelError(
            f"{path}: input {chosen} takes exactly {first} at once, but faces and voices come one, two or more at a "
            "time: "
            "export it again with a free batch axis (dynamic_axes, or dynamic_shapes, of torch.onnx.export)"
        )
    unfed = [port for port in inputs if port.name not in (*values, chosen.name)]
    for port in inputs:
        if port.name != chosen.name:
            check_fed(port, values.get(port.name, "zeros"), path)
    if unfed:
        raise SourceModelError(
            f"{path} needs {listed(unfed)} beside {chosen}, and nothing feeds that: say what it gets, such as --feed "
            f"{unfed[0].name}=ones (or zeros, length, a number)"
        )
    batch, length = chosen.shape[0] if chosen.shape else None, _length(chosen.shape, description.kind)
    feeds = tuple(
        Feed(port, values[port.name], batch, length) for port in inputs if port.name in values and port != chosen
    )
    results = results_of(model)
    affect = _affect(results, description, path, chosen.name)
    embedding = _tensor(graph, results, description.embedding, path)
    beside = {embedding, *(each.tensor for each in affect if description.output is None)} - {None}
    output = _classes(graph, results, description, path, beside, classes)
    used = {output.tensor, embedding, *(each.tensor for each in affect)}
    return Ports(
        input=chosen.name,
        type=chosen.type,
        shape=tuple(size if isinstance(size, int) else None for size in chosen.shape),
        output=output.tensor,
        embedding=embedding,
        feeds=feeds,
        affect=tuple(Affect(each.tensor or output.tensor, each.column) for each in affect),
        names=output.names,
        left_out=tuple(result.port for result in results if result.tensor not in used),
        whole=output.port.type in (TensorProto.UINT8, TensorProto.INT8),
        shift=128.0 if output.port.type == TensorProto.INT8 else 0.0,
    )


def _said_feeds(description: Description, inputs: Sequence[Port], path: Path) -> dict[str, Value]:
    values: dict[str, Value] = dict(parse_feed(text) for text in description.feed or ())
    strangers = [name for name in values if name not in {port.name for port in inputs}]
    if strangers:
        raise SourceModelError(f"{path} has no input '{strangers[0]}' that --feed names; it has {listed(inputs)}")
    return values


def _chosen(inputs: Sequence[Port], fed: dict[str, Value], description: Description, path: Path) -> Port:
    """The input that takes faces, sound or embeddings."""
    takes = TAKEN.get(description.kind or "", "the data")
    if description.input is not None:
        for port in inputs:
            if port.name == description.input:
                return port
        raise SourceModelError(
            f"{path} has no input '{description.input}'; it has {listed(inputs)}: say one with --input"
        )
    free = [port for port in inputs if port.name not in fed]
    if not free and len(inputs) == 1:
        return inputs[0]
    if len(free) > 1:
        ranks = {"face-static": (4,), "speech": (2, 3), "face-dynamic": (3,)}.get(description.kind or "", ())
        fitting = [port for port in free if port.type in (*FLOATS, *WHOLE) and len(port.shape or ()) in ranks]
        if description.kind == "speech":
            fitting = [port for port in fitting if port.columns is None or port.columns > FEW]
        free = fitting if len(fitting) == 1 else free
    if len(free) != 1:
        raise SourceModelError(
            f"{path} has {len(inputs)} inputs: {listed(inputs)}: say which takes {takes} with --input, and what the "
            "others get with --feed NAME=ones (or zeros, length, a number)"
            if inputs
            else f"{path} has no input: nothing can be shown to it"
        )
    return free[0]


def _no_input(port: Port, path: Path) -> str:
    if port.type == TensorProto.BFLOAT16:
        return (
            f"{path}: input {port} takes bfloat16, which ONNX Runtime hardly computes on a CPU: export it in float32 "
            "(model.float() before torch.onnx.export) or in float16"
        )
    return (
        f"{path}: input {port} takes {port.described}, which neither a picture nor a sound is: export it with an input "
        "of float, float16, double, uint8, int16 or int32"
    )


def _length(shape: Sizes, kind: str | None) -> int | str | None:
    if kind in ("speech", "voice-activity"):
        return shape[-1] if shape else None
    return shape[1] if kind == "face-dynamic" and len(shape) > 1 else None


# Outputs


def results_of(model: onnx.ModelProto) -> list[Result]:
    """Outputs of a graph; what a ZipMap, a sequence or an optional wraps is taken out of it."""
    shapes = _shapes(model)
    makers = {name: node for node in model.graph.node for name in node.output if name}
    found = []
    for value in model.graph.output:
        port = port_of(value)
        if port.type is not None and port.shape is None and value.name in shapes:
            port = shapes[value.name]
        found += _unwrapped(port, value.name, makers, shapes)
    return found


def _unwrapped(
    port: Port, name: str, makers: dict[str, onnx.NodeProto], shapes: dict[str, Port], depth: int = 0
) -> list[Result]:
    node = makers.get(name)
    if port.type is not None:
        return [Result(port, name, _names_behind(name, makers))]
    if node is not None and depth < 10:
        if node.op_type == "ZipMap":
            inner = shapes.get(node.input[0], Port(node.input[0], TensorProto.FLOAT, None, "float"))
            names = class_names(node) or _names_behind(node.input[0], makers)
            return [Result(Port(port.name, inner.type, inner.shape, inner.described), node.input[0], names)]
        if node.op_type in ("Identity", "Optional") and node.input:
            inner = shapes.get(node.input[0], Port(node.input[0], None, None, port.described))
            return _unwrapped(Port(port.name, *_rest(inner)), node.input[0], makers, shapes, depth + 1)
        if node.op_type == "SequenceConstruct":
            parts = []
            for number, item in enumerate(node.input):
                inner = shapes.get(item, Port(item, TensorProto.FLOAT, None, "float"))
                title = port.name if len(node.input) == 1 else f"{port.name}[{number}]"
                parts.append(Result(Port(title, *_rest(inner)), item, class_names(makers.get(item))))
            return parts
    return [Result(port, name)]


def _names_behind(tensor: str, makers: dict[str, onnx.NodeProto]) -> tuple[str, ...]:
    """Names of classes of the classifier that computes a tensor, behind what only scales or shapes it."""
    for _ in range(10):
        node = makers.get(tensor)
        names = class_names(node)
        if names or node is None or node.op_type not in ("Normalizer", "Identity", "Cast", "Reshape", "Squeeze"):
            return names
        tensor = node.input[0]
    return ()


def _rest(port: Port) -> tuple[int | None, Sizes | None, str]:
    return port.type, port.shape, port.described


def _shapes(model: onnx.ModelProto) -> dict[str, Port]:
    """Declared and inferred types of all tensors."""
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # a shape that can't be inferred is one that is not told
        graph = model.graph
    return {value.name: port_of(value) for value in (*graph.value_info, *graph.output, *graph.input)}


CLASS_NAMES = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")


def class_names(node: onnx.NodeProto | None) -> tuple[str, ...]:
    """Names of classes in the attributes of a ZipMap or a classifier; numbers as text."""
    for attribute in node.attribute if node is not None else ():
        if attribute.name in CLASS_NAMES and (attribute.strings or attribute.ints):
            return (*(text.decode("utf-8", "replace") for text in attribute.strings), *map(str, attribute.ints))
    return ()


def _tensor(graph: onnx.GraphProto, results: Sequence[Result], name: str | None, path: Path) -> str | None:
    """The tensor of an output, or of any node, by name."""
    if name is None:
        return None
    for result in results:
        if result.port.name == name:
            return result.tensor
    if not any(name in node.output for node in graph.node):
        raise SourceModelError(f"{path} has no tensor '{name}'; its outputs are {listed(results)}")
    return name


def _classes(
    graph: onnx.GraphProto,
    results: Sequence[Result],
    description: Description,
    path: Path,
    beside: set[str | None],
    count: int | None,
) -> Result:
    """The output that holds a number for each class."""
    if description.output is not None:
        tensor = _tensor(graph, results, description.output, path)
        for result in results:
            if result.tensor == tensor:
                return _usable(result, path, results)
        return Result(Port(description.output, TensorProto.FLOAT, None, "float"), tensor or description.output)
    numbers = [result for result in results if result.port.type in FLOATS]
    numbers = numbers or [result for result in results if result.port.type in (TensorProto.UINT8, TensorProto.INT8)]
    free = [result for result in numbers if result.tensor not in beside] or numbers
    if not free:
        raise _no_scores(results, path)
    if len(free) == 1:
        return free[0]
    wanted = description.take or count
    fitting = [result for result in free if wanted is not None and _holds(result, wanted)]
    if len(fitting) == 1:
        return fitting[0]
    raise SourceModelError(
        f"{path} has the outputs {listed(results)}: say which holds the classes with --output (and which is an "
        "embedding, or valence and arousal, with --embedding and --affect)"
    )


def _holds(result: Result, count: int) -> bool:
    shape = result.port.shape or ()
    return result.columns == count and all(size in (1, None) or isinstance(size, str) for size in shape[1:-1])


def _usable(result: Result, path: Path, results: Sequence[Result]) -> Result:
    if result.port.type is None or result.port.type not in (*FLOATS, TensorProto.UINT8, TensorProto.INT8):
        raise _no_scores([result], path, results)
    return result


def _no_scores(found: Sequence[Result], path: Path, results: Sequence[Result] = ()) -> SourceModelError:
    if any(result.port.type == TensorProto.BFLOAT16 for result in found):
        return SourceModelError(
            f"{path} gives {listed(found)}: bfloat16 is hardly computed on a CPU; export it in float32 "
            "(model.float() before torch.onnx.export) or in float16"
        )
    others = f" (its outputs are {listed(results)})" if results else ""
    return SourceModelError(
        f"{path} gives {listed(found)}{others}, which holds no number for each class: export it with its probabilities "
        "or logits, without the ArgMax behind them"
    )


# Valence, arousal, dominance


@dataclass(frozen=True)
class _Column:
    tensor: str
    column: int


DIMENSIONS = {"face-static": ("valence", "arousal"), "speech": ("arousal", "dominance", "valence")}


def _affect(results: Sequence[Result], description: Description, path: Path, _input: str) -> list[_Column]:
    """Columns of the dimensions, as described or by the names of outputs; empty for none."""
    wanted = DIMENSIONS.get(description.kind or "", ())
    if description.affect is None:
        return _affect_by_name(results, wanted)
    if description.affect in ("none", ""):
        return []
    if not wanted:
        raise SourceModelError(f"{path}: --affect is for face-static and speech, not for {description.kind}")
    columns = [found for part in description.affect.split(";") for found in _affect_part(part, results, path)]
    if len(columns) == 1:  # a whole output, with one column a dimension
        columns = [_Column(columns[0].tensor, number) for number in range(len(wanted))]
    if len(columns) != len(wanted):
        raise SourceModelError(
            f"{path}: --affect names {len(columns)} columns, but {', '.join(wanted)} are {len(wanted)}: NAME of an "
            "output "
            "with one column each, NAME:0,1, 8,9 (columns of the classes' output), or NAME;NAME"
        )
    return columns


def _affect_part(part: str, results: Sequence[Result], path: Path) -> list[_Column]:
    name, _, places = part.rpartition(":")
    if not name and not all(word.strip().isdigit() for word in places.split(",")):
        name, places = places, ""
    numbers = [int(word) for word in places.split(",") if word.strip().isdigit()] or [0]
    if not name:
        return [_Column("", number) for number in numbers]
    for result in results:
        if result.port.name == name:
            return [_Column(result.tensor, number) for number in numbers]
    raise SourceModelError(f"{path} has no output '{name}' that --affect names; its outputs are {listed(results)}")


def _affect_by_name(results: Sequence[Result], wanted: Sequence[str]) -> list[_Column]:
    """Outputs whose names say that they are the dimensions, all of them."""
    numbers = [result for result in results if result.port.type in FLOATS]
    if len(numbers) < 2 or not wanted:
        return []
    by_name = {result.port.name.lower(): result for result in numbers}
    single = [by_name.get(word) for word in wanted]
    if all(result is not None and result.columns in (1, None) for result in single):
        return [_Column(result.tensor, 0) for result in single if result is not None]
    joined = {"_".join(wanted), "".join(wanted), "".join(word[0] for word in wanted), "-".join(wanted)}
    for name, result in by_name.items():
        if name in joined and result.columns == len(wanted):
            return [_Column(result.tensor, number) for number in range(len(wanted))]
    return []


# Sizes of the main input


def face_size(ports: Ports, description: Description, path: Path) -> int:
    """Side of the square crops that the graph takes.

    Raises SourceModelError if the graph's input does not have the described layout and colour, or is not square.
    """
    pixels = description.pixels
    if pixels is None:
        raise SourceModelError(f"say what values {path} wants: a --preset, or --colour, --layout, --scale, --mean …")
    if len(ports.shape) == 2:
        return _flat_size(ports, description, path)
    if len(ports.shape) == 3 and pixels.channels == 1:
        sides = {size for size in ports.shape[1:] if size is not None}
    elif len(ports.shape) != 4:
        raise SourceModelError(
            f"{path}: input '{ports.input}' has {len(ports.shape)} axes {spelled(ports.shape)}, but a batch of faces "
            "has 4" + (": export it with a batch axis in front" if len(ports.shape) == 3 else "")
        )
    else:
        channel = 1 if pixels.layout == "nchw" else 3
        if ports.shape[channel] not in (None, pixels.channels):
            raise SourceModelError(
                f"{path}: input '{ports.input}' has shape {spelled(ports.shape)}, which is not {pixels.layout} with "
                f"{pixels.channels} channel{'s' if pixels.channels > 1 else ''} ({pixels.colour}): "
                f"say {_right_layout(ports.shape)}"
            )
        sides = {size for axis, size in enumerate(ports.shape) if axis not in (0, channel) and size is not None}
    if pixels.resize is not None:
        if sides - {pixels.resize.side}:
            raise SourceModelError(f"{path} takes {spelled(ports.shape)}, not faces resized to {pixels.resize.side}")
        sides.clear()
    sides |= {description.size} if description.size is not None else set()
    if not sides:
        raise SourceModelError(f"{path} takes faces of any size: say which it was trained on with --size")
    if len(sides) > 1:
        raise SourceModelError(f"{path} takes {spelled(ports.shape)}, but faces are squares of one --size")
    return sides.pop()


def _right_layout(shape: Sequence[int | None]) -> str:
    """Flags that fit the shape of a picture."""
    for axis, layout in ((1, "nchw"), (3, "nhwc")):
        if shape[axis] in (1, 3):
            return f"--layout {layout} --colour {'grey' if shape[axis] == 1 else 'rgb (or bgr)'}"
    return "--layout or --colour"


def _flat_size(ports: Ports, description: Description, path: Path) -> int:
    """Side of faces that are given as one row of numbers, as scikit-learn takes them."""
    channels = description.pixels.channels if description.pixels else 3
    columns = ports.shape[1]
    side = description.size if columns is None else math.isqrt(columns // channels)
    if side is None:
        raise SourceModelError(f"{path} takes rows of any length: say the side of its faces with --size")
    if columns is not None and side * side * channels != columns:
        raise SourceModelError(
            f"{path}: input '{ports.input}' takes {columns} numbers, which are no square face of {channels} "
            f"channel{'s' if channels > 1 else ''}: say --colour, or make its features inside its own graph"
        )
    if description.size not in (None, side):
        raise SourceModelError(f"{path} takes faces of {side} × {side}, not of --size {description.size}")
    return side


def window_size(ports: Ports, path: Path) -> int | None:
    """Number of samples of a waveform if the graph fixes it, else None.

    Raises SourceModelError if the input is not [N, S] or [N, 1, S].
    """
    middle = ports.shape[1:-1]
    if len(ports.shape) not in (2, 3) or any(size not in (None, 1) for size in middle):
        raise SourceModelError(
            f"{path}: input '{ports.input}' has shape {spelled(ports.shape)}, but a waveform is [N, S] or [N, 1, S]: "
            "say how its features are made with 'steps' in a --config file (docs/export-onnx.md), or export it with "
            "them inside its graph"
        )
    return ports.shape[-1]


__all__ = ["FLOATS", "Affect", "Ports", "Result", "face_size", "find_ports", "inputs_of", "results_of", "type_name",
           "window_size"]  # fmt: skip
