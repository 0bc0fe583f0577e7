"""Small ONNX files as other people publish them, honest and not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bimodal.export.frontends.pixels import Pixels
from bimodal.export.onnx.description import Description

PLAIN = ("--kind", "face-static", "--labels", "happy,sad,fear", "--colour", "rgb", "--layout", "nchw")
"""What describes `plain`."""

FLOAT = TensorProto.FLOAT
Arrays = Mapping[str, NDArray[Any]]
node = helper.make_node
value = helper.make_tensor_value_info


def described() -> Description:
    return Description(kind="face-static", labels=("happy", "sad", "fear"), pixels=Pixels())


def plain(path: Path, *, mixed: bool = False, noisy: bool = False) -> Path:
    """[N, 3, 8, 8] → three probabilities, of the means of red, green and blue.

    `mixed` lets the inputs of a batch influence each other, `noisy` adds noise that differs from run to run.
    """
    first = [node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0)]
    if mixed:
        first = [
            node("ReduceMean", ["x", "all"], ["m"], keepdims=1),
            node("Sub", ["x", "m"], ["y"]),
            node("ReduceMean", ["y", "axes"], ["mean"], keepdims=0),
        ]
    if noisy:
        first = [node("RandomNormalLike", ["x"], ["n"], scale=300.0), node("Add", ["x", "n"], ["y"])]
        first.append(node("ReduceMean", ["y", "axes"], ["mean"], keepdims=0))
    nodes = [*first, node("MatMul", ["mean", "w"], ["l"]), node("Softmax", ["l"], ["p"], axis=1)]
    constants = {"axes": ints(2, 3), "all": ints(0), "w": random((3, 3), 0.05)}
    return save(path, nodes, {"x": ["N", 3, 8, 8]}, {"p": ["N", 3]}, constants)


def ferplus(path: Path) -> Path:
    """As CNTK wrote the zoo's FER+: opset 8, IR 3, weights listed as inputs, batch fixed to 1, logits."""
    constants = {
        "scale": np.array([255.0], np.float32),
        "w1": random((4, 1, 3, 3), 0.3),
        "p": random((4, 8, 8, 8), 0.3),
        "b": random((1, 8), 0.1),
        "shape1": ints(1, 256),
        "shape2": ints(256, 8),
    }
    nodes = [
        node("Div", ["Input3", "scale"], ["d"]),
        node("Conv", ["d", "w1"], ["c"], auto_pad="SAME_UPPER", kernel_shape=[3, 3], strides=[1, 1]),
        node("Relu", ["c"], ["r"]),
        node("MaxPool", ["r"], ["m"], kernel_shape=[8, 8], strides=[8, 8], auto_pad="VALID"),
        node("Dropout", ["m"], ["o"], ratio=0.5),
        node("Reshape", ["o", "shape1"], ["f"]),
        node("Reshape", ["p", "shape2"], ["q"]),
        node("MatMul", ["f", "q"], ["s"]),
        node("Add", ["s", "b"], ["Plus692_Output_0"]),
    ]
    shapes = {"Input3": [1, 1, 64, 64]}
    return save(path, nodes, shapes, {"Plus692_Output_0": [1, 8]}, constants, opset=8, ir=3)


def hsemotion(path: Path, outputs: int) -> Path:
    """[N, 3, 224, 224] of opset 11 → `outputs` logits; `mean` is an inner tensor [N, 3, 1, 1]."""
    nodes = [
        node("GlobalAveragePool", ["input"], ["mean"]),
        node("Flatten", ["mean"], ["flat"], axis=1),
        node("Gemm", ["flat", "w"], ["output"]),
    ]
    shapes = {"input": ["batch_size", 3, 224, 224]}
    return save(path, nodes, shapes, {"output": ["batch_size", outputs]}, {"w": random((3, outputs), 1)}, opset=11)


def wav2vec2(path: Path, mask: bool) -> Path:
    """`input_values` [N, S] (and `attention_mask`) of opset 14 → four logits."""
    nodes = [
        node("Cast", ["attention_mask"], ["counted"], to=FLOAT),
        node("Mul", ["input_values", "counted"], ["heard"]),
        node("Unsqueeze", ["heard" if mask else "input_values", "one"], ["u"]),
        node("Conv", ["u", "w1"], ["c"], strides=[320]),
        node("Relu", ["c"], ["r"]),
        node("ReduceMean", ["r"], ["m"], axes=[2], keepdims=0),
        node("MatMul", ["m", "w2"], ["logits"]),
    ]
    constants = {"one": ints(1), "w1": random((6, 1, 400), 0.2), "w2": random((6, 4), 0.5)}
    shapes: dict[str, Sequence[Any]] = {"input_values": ["N", "S"]}
    if mask:
        shapes["attention_mask"] = ["N", "S"]
    nodes = nodes if mask else nodes[2:]
    return save(path, nodes, shapes, {"logits": ["N", 4]}, constants, opset=14)


def mini_xception(path: Path) -> Path:
    """[N, 64, 64, 1] of −1…1 → seven probabilities."""
    nodes = [
        node("Reshape", ["x", "shape"], ["f"]),
        node("MatMul", ["f", "w"], ["l"]),
        node("Softmax", ["l"], ["p"], axis=1),
    ]
    constants = {"shape": ints(-1, 4096), "w": random((4096, 7), 0.01)}
    return save(path, nodes, {"x": ["N", 64, 64, 1]}, {"p": ["N", 7]}, constants)


def sequence(path: Path, steps: int, width: int) -> Path:
    """[N, steps, width] → two probabilities."""
    nodes = [
        node("ReduceMean", ["x", "axes"], ["m"], keepdims=0),
        node("MatMul", ["m", "w"], ["l"]),
        node("Softmax", ["l"], ["p"], axis=1),
    ]
    constants = {"axes": ints(1), "w": random((width, 2), 1)}
    return save(path, nodes, {"x": ["N", steps, width]}, {"p": ["N", 2]}, constants)


def with_branches(path: Path) -> Path:
    """`plain` with an If around the last step; both branches read a tensor from outside."""
    model = onnx.load(str(plain(path)))
    branch = helper.make_graph(
        [node("Softmax", ["l"], ["inner"], axis=1)], "branch", [], [value("inner", FLOAT, ["N", 3])]
    )
    model.graph.node.pop()
    model.graph.node.append(node("If", ["yes"], ["p"], then_branch=branch, else_branch=branch))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    return _rewrite(path, model)


def with_function(path: Path) -> Path:
    """`plain` with its last step as a function of the file."""
    return _functions(path, {"Last": [node("Softmax", ["a"], ["b"], axis=1)]})


def endless_function(path: Path) -> Path:
    """A function that calls itself."""
    return _functions(path, {"Last": [node("Last", ["a"], ["b"], domain="own")]})


def exploding_functions(path: Path) -> Path:
    """Twenty functions, each of which calls the next one four times."""
    names = ["Last", *(f"F{number}" for number in range(20))]
    bodies = {
        name: [
            node(following, ["a" if n == 0 else f"t{n - 1}"], ["b" if n == 3 else f"t{n}"], domain="own")
            for n in range(4)
        ]
        for name, following in pairwise(names)
    }
    return _functions(path, {**bodies, names[-1]: [node("Relu", ["a"], ["b"])]})


def external(
    path: Path,
    location: str,
    *,
    written: bool = True,
    offset: str = "0",
    length: str | None = None,
    padding: int = 0,
) -> Path:
    """`plain` with its weights in another file."""
    model = onnx.load(str(plain(path)))
    tensor = next(item for item in model.graph.initializer if item.name == "w")
    content = tensor.raw_data + bytes(padding)
    if written:
        (path.parent / location).write_bytes(content)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in (("location", location), ("offset", offset), ("length", length or str(len(content)))):
        tensor.external_data.add(key=key, value=text)
    return _rewrite(path, model)


def headed(path: Path, head: str, *, factor: float | None = None, **metadata: str) -> Path:
    """`plain` with another operator than Softmax at its end, and metadata of its own."""
    model = onnx.load(str(plain(path)))
    last = model.graph.node.pop()
    model.graph.node.append(node(head, [last.input[0]], ["h" if factor else "p"]))
    if factor:
        model.graph.initializer.append(numpy_helper.from_array(np.array(factor, np.float32), "factor"))
        model.graph.node.append(node("Mul", ["h", "factor"], ["p"]))
    helper.set_model_props(model, metadata)
    return _rewrite(path, model)


def with_head_of_affect(path: Path) -> Path:
    """[N, 3, 8, 8] → `features` [N, 3], `va` [N, 2] and `scores` [N, 3]: embedding, valence and arousal, logits."""
    model = onnx.load(str(plain(path)))
    graph = model.graph
    del graph.node[-1], graph.output[:]
    graph.node.extend([node("MatMul", ["mean", "v"], ["t"]), node("Tanh", ["t"], ["va"])])
    graph.initializer.append(numpy_helper.from_array(random((3, 2), 0.01), "v"))
    graph.output.extend([value("mean", FLOAT, ["N", 3]), value("va", FLOAT, ["N", 2]), value("l", FLOAT, ["N", 3])])
    return _rewrite(path, model)


def scikit(path: Path, classes: Sequence[str] | Sequence[int] = ("hap", "neu", "sad"), *, zipmap: bool = True) -> Path:
    """Logistic regression on 8 × 8 grey pixels, as skl2onnx writes it: a label, and a sequence of maps."""
    kind = "classlabels_strings" if isinstance(classes[0], str) else "classlabels_int64s"
    names = TensorProto.STRING if isinstance(classes[0], str) else TensorProto.INT64
    ml = "ai.onnx.ml"
    weights = random((3, 64), 0.002)
    linear = {"coefficients": weights.reshape(-1).tolist(), "intercepts": [0.0, 0.1, -0.1], "post_transform": "SOFTMAX"}
    own = "classlabels_strings" if isinstance(classes[0], str) else "classlabels_ints"
    nodes = [
        node("LinearClassifier", ["X"], ["label", "s"], domain=ml, **{own: list(classes)}, **linear),
        node("Normalizer", ["s"], ["n"], domain=ml, norm="L1"),
    ]
    outputs = [value("label", names, ["N"])]
    if zipmap:
        nodes.append(node("ZipMap", ["n"], ["probability"], domain=ml, **{kind: list(classes)}))
        inner = helper.make_map_type_proto(names, helper.make_tensor_type_proto(FLOAT, []))
        outputs.append(helper.make_value_info("probability", helper.make_sequence_type_proto(inner)))
    else:
        outputs.append(value("n", FLOAT, ["N", 3]))
    graph = helper.make_graph(nodes, "g", [value("X", FLOAT, ["N", 64])], outputs)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(ml, 1)]
    return _rewrite(path, helper.make_model(graph, opset_imports=opsets, ir_version=8))


def typed(path: Path, kind: int, *, layout: str = "nhwc") -> Path:
    """`plain` that takes [N, 8, 8, 3] of another type."""
    model = onnx.load(str(plain(path)))
    graph = model.graph
    graph.input[0].CopyFrom(value("q", kind, ["N", 8, 8, 3]))
    graph.node.insert(0, node("Cast", ["q"], ["c"], to=FLOAT))
    graph.node.insert(1, node("Transpose", ["c"], ["x"], perm=[0, 3, 1, 2]))
    return _rewrite(path, model)


def speech_of(path: Path, others: Mapping[str, tuple[int, Sequence[Any]]], kind: int = FLOAT) -> Path:
    """[N, S] → three logits: the sum of each waveform over its length, times the sums of the other inputs."""
    nodes = [node("Cast", ["wave"], ["w"], to=FLOAT), node("ReduceMean", ["w", "axis"], ["m"], keepdims=1)]
    last = "m"
    for name in others:
        nodes += [
            node("Cast", [name], [f"{name}_f"], to=FLOAT),
            node("ReduceMean", [f"{name}_f"], [f"{name}_m"], keepdims=0),
            node("Mul", [last, f"{name}_m"], [f"{name}_p"]),
        ]
        last = f"{name}_p"
    nodes.append(node("MatMul", [last, "v"], ["l"]))
    constants = [numpy_helper.from_array(array, name) for name, array in
                 {"axis": ints(1), "v": np.array([[9.0, -5.0, 2.0]], np.float32)}.items()]  # fmt: skip
    inputs = [value("wave", kind, ["N", "S"]), *(value(name, *rest) for name, rest in others.items())]
    graph = helper.make_graph(nodes, "g", inputs, [value("l", FLOAT, ["N", 3])], constants)
    return _rewrite(path, helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8))


def voice_activity(path: Path, samples: int, states: int, columns: int = 1, *, logits: bool = False) -> Path:
    """Loudness of the newest samples, plus the mean of the states, of which each moves half-way to it."""
    nodes = [node("Mul", ["input", "input"], ["power"]), node("ReduceMean", ["power", "axis"], ["loud"], keepdims=1)]
    inputs = [value("input", FLOAT, ["N", samples]), value("sr", TensorProto.INT64, [])]
    last, outputs = "loud", []
    for number in range(states):
        inputs.append(value(f"s{number}", FLOAT, [2, "N", 4]))
        nodes += [
            node("ReduceMean", [f"s{number}", "axes"], [f"m{number}"], keepdims=0),
            node("Unsqueeze", [f"m{number}", "axis"], [f"u{number}"]),
            node("Add", [last, f"u{number}"], [f"l{number}"]),
            node("Mul", [f"s{number}", "half"], [f"s{number}_half"]),
            node("Add", [f"s{number}_half", "tenth"], [f"n{number}"]),
        ]
        last = f"l{number}"
        outputs.append(value(f"n{number}", FLOAT, [2, "N", 4]))
    nodes += [node("Cast", ["sr"], ["rate"], to=FLOAT), node("Div", ["rate", "rate"], ["one"])]
    nodes.append(node("Mul", [last, "one"], ["x"]))
    nodes.append(node("MatMul", ["x", "w"], ["z"]))
    nodes.append(node("Identity" if logits else "Sigmoid" if columns == 1 else "Softmax", ["z"], ["p"]))
    constants: dict[str, Any] = {
        "axis": np.array([1], np.int64), "axes": np.array([0, 2], np.int64), "half": np.array(0.5, np.float32),
        "tenth": np.array(0.1, np.float32), "w": np.array([[9.0, -9.0][:columns]], np.float32),
    }  # fmt: skip
    held = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", inputs, [value("p", FLOAT, ["N", columns]), *outputs], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def looping(path: Path, rounds: int | None) -> Path:
    """`plain` behind a Loop of so many rounds, or one without an end."""
    model = onnx.load(str(plain(path)))
    value_of = helper.make_tensor_value_info
    body = helper.make_graph(
        [node("Identity", ["going"], ["still"]), node("Identity", ["l"], ["out"])],
        "body",
        [value_of("round", TensorProto.INT64, []), value_of("going", TensorProto.BOOL, []), value_of("l", FLOAT, None)],
        [value_of("still", TensorProto.BOOL, []), value_of("out", FLOAT, None)],
    )
    last = model.graph.node.pop()
    going = "" if rounds is not None else "yes"
    count = "rounds" if rounds is not None else ""
    model.graph.node.extend([node("Loop", [count, going, "l"], ["looped"], body=body), last])
    model.graph.node[-1].input[0] = "looped"
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(rounds or 0, np.int64), "rounds"))
    return _rewrite(path, model)


def pictures(count: int, size: int) -> NDArray[np.uint8]:
    """Random pictures with something to see: their brightness and colours differ."""
    generator = np.random.default_rng(5)
    tone = generator.integers(0, 200, (count, 1, 1, 3))
    return np.asarray(tone + generator.integers(0, 56, (count, size, size, 3)), np.uint8)


def run(path: Path, **inputs: NDArray[Any]) -> list[NDArray[Any]]:
    """The file itself in ONNX Runtime."""
    return list(ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, inputs))


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def random(shape: Sequence[int], scale: float) -> NDArray[np.float32]:
    return np.random.default_rng(len(shape)).normal(0, scale, shape).astype(np.float32)


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[Any]],
    outputs: Mapping[str, Sequence[Any]],
    constants: Arrays,
    *,
    opset: int = 18,
    ir: int = 8,
) -> Path:
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    infos = [
        value(name, TensorProto.INT64 if name == "attention_mask" else FLOAT, list(shape))
        for name, shape in inputs.items()
    ]
    if ir < 4:
        infos += [value(tensor.name, tensor.data_type, list(tensor.dims)) for tensor in initializers]
    results = [value(name, FLOAT, list(shape)) for name, shape in outputs.items()]
    graph = helper.make_graph(list(nodes), "foreign", infos, results, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    onnx.checker.check_model(model)
    return _rewrite(path, model)


def _functions(path: Path, bodies: Mapping[str, Sequence[onnx.NodeProto]]) -> Path:
    model = onnx.load(str(plain(path)))
    model.graph.node.pop()
    model.graph.node.append(node("Last", ["l"], ["p"], domain="own"))
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    model.opset_import.append(opsets[1])
    for name, body in bodies.items():
        model.functions.append(helper.make_function("own", name, ["a"], ["b"], list(body), opsets))
    return _rewrite(path, model)


def _rewrite(path: Path, model: onnx.ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path
