"""A torch module → an ONNX graph under the contract's names, simplified."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from typing import Any

import onnx
import onnxslim
import torch
from numpy.typing import NDArray
from torch import nn

from bimodal.export.artifact import OPSET, make_model
from bimodal.export.errors import SourceModelError
from bimodal.export.parity import Original
from bimodal.models.contract import INPUTS, OUTPUTS, Metadata


def convert(graph: nn.Module, metadata: Metadata, example: NDArray[Any], dynamic: Mapping[int, str]) -> onnx.ModelProto:
    """Trace `graph` with torch's dynamo exporter and merge what can be computed beforehand.

    Args:
        graph: takes and returns what the contract of `metadata.kind` says, in its order.
        example: an input, at least 2 long on every dynamic axis.
        dynamic: names of the axes of the input that may have any size.

    Raises SourceModelError where torch can't express the module in ONNX.
    """
    with torch.inference_mode():
        answers = graph(torch.from_numpy(example))
    count = len(answers) if isinstance(answers, tuple) else 1
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the exporter warns of its own deprecated calls
            program = torch.onnx.export(
                graph.eval(),
                (torch.from_numpy(example),),
                input_names=[want.name for want in INPUTS[metadata.kind]],
                output_names=[want.name for want in OUTPUTS[metadata.kind]][:count],
                dynamic_shapes=({axis: torch.export.Dim(name) for axis, name in dynamic.items()},),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # the exporter raises whatever its many stages raise
        raise SourceModelError(f"torch can't write this network as ONNX: {str(error).splitlines()[0][:200]}") from error
    assert program is not None  # it is None for the old exporter only
    model = onnxslim.slim(program.model_proto)
    return make_model(model.graph, metadata)


def original(graph: nn.Module, metadata: Metadata) -> Original:
    """The module itself, as export/parity.py asks it."""
    names = [want.name for want in OUTPUTS[metadata.kind]]

    def run(batch: NDArray[Any]) -> dict[str, NDArray[Any]]:
        with torch.inference_mode():
            answers = graph(torch.from_numpy(batch))
        answers = answers if isinstance(answers, tuple) else (answers,)
        return {name: answer.numpy() for name, answer in zip(names, answers, strict=False)}

    return run
