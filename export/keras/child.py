"""The only place where Keras opens a file: a process of its own that converts it, computes outputs, and ends.

Run as `python -I child.py FOLDER`; imports nothing of this project. Reads and writes plain JSON, ONNX and
.npy files in the folder of the request: `request.json`, `features_<n>.npy` → `network.onnx`, `answers_<n>.npy`,
`report.json` (either `error`, or `input_shape`, `output_shape` and `versions`).
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

OPSET = 18

DANGEROUS_OPERATIONS = {
    *("EagerPyFunc", "PyFunc", "PyFuncStateless", "ReadFile", "WriteFile", "MatchingFiles", "Save", "SaveSlices"),
    *(
        "PrintV2",
        "Print",
        "WholeFileReader",
        "WholeFileReaderV2",
        "TFRecordReader",
        "TFRecordReaderV2",
        "DebugIdentity",
    ),
    *("TextLineReader", "TextLineReaderV2", "FixedLengthRecordReader", "FixedLengthRecordReaderV2", "XlaLaunch"),
    *("LoadLibrary", "RpcCall", "RemoteCall", "TextLineDataset", "TFRecordDataset", "DeleteSessionTensor"),
    *(
        "InitializeTableFromTextFile",
        "InitializeTableFromTextFileV2",
        "CreateSummaryFileWriter",
        "FileSystemSetConfiguration",
    ),
}
"""TensorFlow operations that access files, processes or the network; no model needs them."""


COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""Terminal colour codes in Keras' error messages."""


class RefusedError(Exception):
    """The file holds something that is refused."""


def main(folder: Path) -> int:
    """Process the request in `folder`. Returns the exit status, 0 on success."""
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    try:
        report = _convert(request, folder)
    except Exception as error:  # whatever Keras and TensorFlow raise goes to the parent as one sentence
        lines = [line.strip() for line in COLOURS.sub("", str(error)).splitlines() if line.strip()]
        shown = lines[-1:] if lines[:1] == ["in user code:"] else lines  # TensorFlow puts its own call stack there
        report = {"error": " ".join(shown)[:400] or type(error).__name__}
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    return 1 if "error" in report else 0


def _convert(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    import keras
    import tensorflow

    versions = {"keras": keras.__version__, "tensorflow": tensorflow.__version__}
    if request["format"] == "saved-model":
        network, shapes = _saved_model(request, folder / "network.onnx")
    else:
        network, shapes = _keras_model(request, folder / "network.onnx")
    _answer(network, shapes[0], folder)
    return {"input_shape": shapes[0], "output_shape": shapes[1], "versions": versions}


def _keras_model(request: dict[str, Any], out: Path) -> tuple[Any, tuple[list[Any], list[Any]]]:
    import keras
    import numpy as np

    if request["format"] == "weights":
        inputs = keras.Input(request["architecture"]["input"])
        model = keras.Sequential([inputs, *(_layer(each) for each in request["architecture"]["layers"])])
        model.load_weights(request["file"])
    else:
        model = keras.models.load_model(request["file"], compile=False, safe_mode=True)
    if len(model.inputs) != 1:
        raise RefusedError(f"it has the inputs {_listed(model.inputs)}, but only one can be fed: save it with one")
    model = _one_output(model, request.get("output"), request.get("classes"))
    _keep_still(model)
    shapes = (list(model.inputs[0].shape), list(model.outputs[0].shape))

    def network(batch: Any) -> Any:
        return np.asarray(model(batch, training=False))

    network(np.zeros([size or 1 for size in shapes[0]], np.float32))  # an exporter wants a model that ran once
    model.export(str(out), format="onnx", opset_version=OPSET, verbose=False)
    return network, shapes


def _listed(tensors: list[Any]) -> str:
    return ", ".join(f"'{tensor.name}' {list(tensor.shape)}" for tensor in tensors)


def _one_output(model: Any, chosen: str | None, classes: int | None) -> Any:
    """Cut the model down to the output that holds the classes: the chosen, the only one, or that of their number."""
    import keras

    names = [str(name) for name in getattr(model, "output_names", [])] or [tensor.name for tensor in model.outputs]
    if len(model.outputs) == 1 and chosen is None:
        return model
    listed = ", ".join(f"'{name}' {list(each.shape)}" for name, each in zip(names, model.outputs, strict=True))
    if chosen is not None:
        fitting = [number for number, name in enumerate(names) if chosen in (name, str(number))]
    else:
        fitting = [number for number, each in enumerate(model.outputs) if each.shape[-1] == classes]
    if len(fitting) != 1:
        raise RefusedError(f"it has the outputs {listed}: say which holds the classes with --output")
    return keras.Model(model.inputs, model.outputs[fitting[0]])


def _keep_still(model: Any) -> None:
    """Hold constants as numbers, and make layers that change pictures in training only what they are else: nothing.

    Their random numbers have no form in ONNX. A layer that does something at inference, too (RandomCrop), is left.
    """
    import numpy as np
    import tensorflow as tf

    for layer in model._flatten_layers(include_self=False):
        for name, value in list(vars(layer).items()):
            if isinstance(value, tf.Tensor):  # Normalization's constants: the exporter would make them inputs
                object.__setattr__(layer, name, value.numpy())
        if "preprocessing" not in type(layer).__module__:
            continue
        try:
            shape = [size or 2 for size in layer.input.shape]
        except (AttributeError, ValueError):  # a layer that is called twice
            shape = [2, 32, 32, 3]
        drawn = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
        try:
            still = np.array_equal(np.asarray(layer(drawn, training=False)), drawn)
        except (TypeError, ValueError):  # a layer without a training mode
            continue
        if still:
            layer.call = lambda data, *_, **__: data


def _layer(description: dict[str, Any]) -> Any:
    import keras

    make = getattr(keras.layers, description["kind"])
    inner = [] if description["of"] is None else [_layer(description["of"])]
    return make(*inner, **description["settings"])


def _saved_model(request: dict[str, Any], out: Path) -> tuple[Any, tuple[list[Any], list[Any]]]:
    import tensorflow as tf
    import tf2onnx

    path = Path(request["file"])
    _refuse_operations(path)
    loaded = tf.saved_model.load(str(path))
    serve = loaded.signatures.get("serving_default")
    if serve is None:
        raise RefusedError("the SavedModel has no signature 'serving_default'")
    inputs = serve.structured_input_signature[1]
    outputs = serve.structured_outputs
    if len(inputs) != 1:
        listed = ", ".join(f"'{key}' {list(value.shape)}" for key, value in inputs.items())
        raise RefusedError(f"it has the inputs {listed}, but only one can be fed: save it with one")
    ((name, spec),) = inputs.items()
    fitting = [
        (key, value)
        for key, value in outputs.items()
        if (request.get("output") or key) == key
        and (len(outputs) == 1 or request.get("output") or value.shape[-1] == request.get("classes"))
    ]
    if len(fitting) != 1:
        listed = ", ".join(f"'{key}' {list(value.shape)}" for key, value in outputs.items())
        raise RefusedError(f"it has the outputs {listed}: say which holds the classes with --output")
    ((result, answer),) = fitting

    def network(batch: Any) -> Any:
        return serve(**{name: tf.convert_to_tensor(batch)})[result]

    tf2onnx.convert.from_function(tf.function(network), input_signature=[spec], opset=OPSET, output_path=str(out))
    return (lambda batch: network(batch).numpy()), (list(spec.shape), list(answer.shape))


def _refuse_operations(path: Path) -> None:
    """Check every operation of every function before TensorFlow loads anything. Raises RefusedError."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((path / "saved_model.pb").read_bytes())
    for graph in saved.meta_graphs:
        nodes = [*graph.graph_def.node, *(node for f in graph.graph_def.library.function for node in f.node_def)]
        for node in nodes:
            # SaveV2 and RestoreV2 are part of every SavedModel: they are how its variables are read.
            if node.op in DANGEROUS_OPERATIONS:
                raise RefusedError(
                    f"the SavedModel's node '{node.name}' is a {node.op}, which is no arithmetic: it is refused"
                )


def _answer(network: Any, wanted: list[Any], folder: Path) -> None:
    import numpy as np

    for path in sorted(folder.glob("features_*.npy")):
        features = np.load(path, allow_pickle=False)
        given = list(features.shape)
        if len(given) != len(wanted) or any(size not in (None, own) for size, own in zip(wanted, given, strict=True)):
            raise RefusedError(f"it takes inputs of shape {wanted[1:]}, but the front end gives {given[1:]}")
        answers = np.asarray(network(features), np.float32)
        np.save(folder / path.name.replace("features", "answers"), answers, allow_pickle=False)


if __name__ == "__main__":
    os.environ.update(KERAS_BACKEND="tensorflow", CUDA_VISIBLE_DEVICES="-1", TF_CPP_MIN_LOG_LEVEL="3")
    os.environ.update(OMP_NUM_THREADS="1", TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1")
    os.environ.update(TF_ENABLE_ONEDNN_OPTS="0")
    sys.exit(main(Path(sys.argv[1])))
