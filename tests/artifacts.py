"""Tiny artifacts for tests: real ONNX files that keep their contract, made in milliseconds and without training.

Each maker writes `path` and returns it; keyword arguments bend the metadata, so that a test can also make a file that
breaks its contract. The graphs really depend on their input, simply enough to predict the answer:

    speech          the class at floor(C · rms of the window) is named (louder is later in `labels`)
    voice-activity  probability rises through 0.5 at an rms of 0.01 (-40 dBFS); the state counts the steps
    face-static     the class at floor(C · mean value / 256) is named (brighter is later in `labels`)
    face-dynamic    softmax of the mean over time of the first C values of an embedding
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bimodal.models.contract import CONTRACT_VERSION, Crop, Kind, Metadata, to_properties
from bimodal.models.emotions import EMOTIONS
from bimodal.models.session import Artifact

Constants = dict[str, NDArray[Any]]

SHARPNESS = 40.0
"""How clearly the named class stands out: at the middle of its bin it has over 90 % of the mass for C ≤ 8."""


def make_speech(
    path: Path,
    *,
    labels: Sequence[str] = EMOTIONS,
    categories: Sequence[str] = (),
    sample_rate: int = 16_000,
    window_s: float = 3.0,
    minimum_window_s: float = 0.5,
    samples: int | None = None,
    name: str = "tiny-speech",
    version: str = "1",
) -> Path:
    """`waveform` float32 [N, S], S any or `samples` → `probabilities` [N, C]; the rms of the window picks the class."""
    nodes = [
        helper.make_node("ReduceMean", ["squares", "last_axis"], ["power"], keepdims=1),
        helper.make_node("Sqrt", ["power"], ["level"]),
    ]
    return _save(
        path,
        [helper.make_node("Mul", ["waveform", "waveform"], ["squares"]), *nodes, *_pick("level")],
        inputs=[_float("waveform", ["N", samples or "S"])],
        outputs=[_float("probabilities", ["N", len(labels)])],
        constants={"last_axis": np.array([1], np.int64), **_pick_constants(len(labels))},
        metadata=_metadata(
            "speech",
            name,
            version,
            labels=tuple(labels),
            categories=tuple(categories) or None,
            sample_rate=sample_rate,
            window_s=window_s,
            minimum_window_s=minimum_window_s,
            temperature=1.0,
        ),
    )


def make_voice_activity(
    path: Path,
    *,
    sample_rate: int = 16_000,
    samples: int = 576,
    name: str = "tiny-voice-activity",
    version: str = "1",
) -> Path:
    """`waveform` float32 [N, samples], `state` [2, N, 128] → `probability` [N, 1], `next_state` = `state` + 1."""
    nodes = [
        helper.make_node("Mul", ["waveform", "waveform"], ["squares"]),
        helper.make_node("ReduceMean", ["squares", "last_axis"], ["power"], keepdims=1),
        helper.make_node("Sqrt", ["power"], ["level"]),
        helper.make_node("Sub", ["level", "threshold"], ["above"]),
        helper.make_node("Mul", ["above", "slope"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
        helper.make_node("Add", ["state", "one"], ["next_state"]),
    ]
    return _save(
        path,
        nodes,
        inputs=[_float("waveform", ["N", samples]), _float("state", [2, "N", 128])],
        outputs=[_float("probability", ["N", 1]), _float("next_state", [2, "N", 128])],
        constants={
            "last_axis": np.array([1], np.int64),
            "threshold": np.array(0.01, np.float32),
            "slope": np.array(1000.0, np.float32),
            "one": np.array(1.0, np.float32),
        },
        metadata=_metadata("voice-activity", name, version, sample_rate=sample_rate),
    )


def make_face_static(
    path: Path,
    *,
    labels: Sequence[str] = EMOTIONS,
    categories: Sequence[str] = (),
    size: int = 48,
    embedding: int | None = 16,
    embedding_space: str | None = "tiny",
    crop: Crop | None = Crop(),  # noqa: B008 - a frozen value
    name: str = "tiny-face-static",
    version: str = "1",
) -> Path:
    """`faces` uint8 [N, size, size, 3] → `probabilities` [N, C] and, unless None, `embedding` [N, embedding].

    The mean value of the crop picks the class; the embedding repeats the mean of red, green and blue (each 0…1).
    """
    nodes = [
        helper.make_node("Cast", ["faces"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["values", "range"], ["scaled"]),
        helper.make_node("ReduceMean", ["scaled", "picture_axes"], ["colour"], keepdims=0),
        helper.make_node("ReduceMean", ["colour", "last_axis"], ["level"], keepdims=1),
        *_pick("level"),
    ]
    outputs = [_float("probabilities", ["N", len(labels)])]
    constants: Constants = {
        "range": np.array(256.0, np.float32),
        "picture_axes": np.array([1, 2], np.int64),
        "last_axis": np.array([1], np.int64),
        **_pick_constants(len(labels)),
    }
    if embedding is not None:
        nodes.append(helper.make_node("Gather", ["colour", "channels"], ["embedding"], axis=1))
        outputs.append(_float("embedding", ["N", embedding]))
        constants["channels"] = np.arange(embedding, dtype=np.int64) % 3
    return _save(
        path,
        nodes,
        inputs=[helper.make_tensor_value_info("faces", TensorProto.UINT8, ["N", size, size, 3])],
        outputs=outputs,
        constants=constants,
        metadata=_metadata(
            "face-static",
            name,
            version,
            labels=tuple(labels),
            categories=tuple(categories) or None,
            embedding_space=embedding_space if embedding is not None else None,
            crop=crop,
            temperature=1.0,
        ),
    )


def make_face_dynamic(
    path: Path,
    *,
    labels: Sequence[str] = EMOTIONS,
    steps: int = 10,
    embedding: int = 16,
    embedding_space: str = "tiny",
    interval_s: float = 0.2,
    name: str = "tiny-face-dynamic",
    version: str = "1",
) -> Path:
    """`embeddings` float32 [N, steps, embedding] → `probabilities` [N, C]; `embedding` must be at least C."""
    nodes = [
        helper.make_node("ReduceMean", ["embeddings", "time_axis"], ["mean"], keepdims=0),
        helper.make_node("Gather", ["mean", "first"], ["logits"], axis=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    return _save(
        path,
        nodes,
        inputs=[_float("embeddings", ["N", steps, embedding])],
        outputs=[_float("probabilities", ["N", len(labels)])],
        constants={"time_axis": np.array([1], np.int64), "first": np.arange(len(labels), dtype=np.int64)},
        metadata=_metadata(
            "face-dynamic",
            name,
            version,
            labels=tuple(labels),
            embedding_space=embedding_space,
            interval_s=interval_s,
            temperature=1.0,
        ),
    )


def _pick(level: str) -> list[onnx.NodeProto]:
    """Nodes from `level` [N, 1] in 0…1 to `probabilities`: softmax of minus the distance to each class's bin centre."""
    return [
        helper.make_node("Sub", [level, "centres"], ["offsets"]),
        helper.make_node("Abs", ["offsets"], ["distances"]),
        helper.make_node("Mul", ["distances", "minus_sharpness"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]


def _pick_constants(classes: int) -> Constants:
    centres = (np.arange(classes, dtype=np.float32) + 0.5) / classes
    return {"centres": centres[None, :], "minus_sharpness": np.array(-SHARPNESS, np.float32)}


def _float(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def _metadata(kind: Kind, name: str, version: str, **fields: object) -> Metadata:
    return Metadata(
        contract=CONTRACT_VERSION,
        kind=kind,
        name=name,
        version=version,
        license="MIT",
        source="made by the tests",
        **fields,  # type: ignore[arg-type]
    )


def _save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    *,
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: Constants,
    metadata: Metadata,
) -> Path:
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(list(nodes), metadata.name, list(inputs), list(outputs), initializer=initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, to_properties(metadata))
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save_model(model, str(path))
    return path


def without_numbers(artifact: Artifact, *names: str) -> Artifact:
    """The same model, whose outputs of these names are NaN, as after an overflow in half precision."""

    def run(inner: Artifact, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        outputs = inner.run(**inputs)
        return {name: value * np.nan if name in names else value for name, value in outputs.items()}

    return artifact.with_run(run)
