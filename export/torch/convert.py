"""`bimodal export torch`: convert PyTorch weights of a known network to an artifact, checked against torch."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxslim
import torch
from numpy.typing import NDArray
from torch import nn

from bimodal.export.artifact import OPSET, Progress, make_model, ship
from bimodal.export.errors import SourceModelError
from bimodal.export.onnx.description import Description
from bimodal.export.parity import Cases, Original
from bimodal.export.real_inputs import faces_of, sounds_of
from bimodal.export.torch.architectures import Architecture, architecture, read_state_dict
from bimodal.models.contract import INPUTS, OUTPUTS, Crop, Metadata

BATCHES = (1, 5)
SAID = ("name", "version", "license", "source", "labels", "crop", "embedding_space", "temperature")
"""Fields that a user may set for a known network; the rest is the network's."""


def export_torch(
    path: Path,
    name: str,
    out: Path,
    progress: Progress,
    *,
    description: Description | None = None,
    pictures: Sequence[Path] = (),
    sounds: Sequence[Path] = (),
    threads: int = 1,
) -> Path:
    """Write `out`/<name>/model.onnx; nothing is written if anything is wrong.

    Args:
        path: a state dict (or a checkpoint that holds one).
        name: of the architecture, see export/torch/architectures.py.
        description: the user's fields; those that are None keep the network's own.
        pictures, sounds: real inputs to measure parity on, besides random ones; by default those of the demo.

    Raises ExportError (file, weights, parity) or ArtifactError (contract).
    """
    torch.set_num_threads(threads)
    description = description or Description()
    known = architecture(name)
    metadata = _with(known.metadata, description)
    graph = known.build(read_state_dict(path), path, metadata.temperature or 1.0)
    random = np.random.default_rng(0)
    model = convert(graph, metadata, known.example(random), known.dynamic)
    cases = _cases(known, metadata, pictures, sounds)
    return ship(model, metadata, original(graph, metadata), cases, out, progress)


def _with(metadata: Metadata, description: Description) -> Metadata:
    fields = {field: getattr(description, field) for field in SAID if getattr(description, field) is not None}
    if metadata.kind == "face-static" and "embedding_space" not in fields and ("name" in fields or "version" in fields):
        own = metadata.name != "emo-affectnet"  # whatever the file is called, its embeddings are EMO-AffectNet's
        if own:
            fields["embedding_space"] = f"{fields.get('name', metadata.name)}@{fields.get('version', metadata.version)}"
    return msgspec.structs.replace(metadata, **fields)


def _cases(known: Architecture, metadata: Metadata, pictures: Sequence[Path], sounds: Sequence[Path]) -> Cases:
    random = np.random.default_rng(1)
    cases: dict[str, list[NDArray[Any]]] = {"random": [known.inputs(count, random) for count in BATCHES]}
    if metadata.kind == "face-static":
        real = faces_of(pictures, metadata.crop or Crop(), cases["random"][0].shape[1])
        cases["real"] = [real[:1], real[:5]] if len(real) else []
    if metadata.kind == "speech":
        rate, window = metadata.sample_rate or 16_000, metadata.window_s or 3.0
        cases["real"] = [sound[None, : round(rate * window)] for sound in sounds_of(sounds, rate)]
    return cases


# Export of a torch module to an ONNX graph under the contract's names.


def convert(graph: nn.Module, metadata: Metadata, example: NDArray[Any], dynamic: Mapping[int, str]) -> onnx.ModelProto:
    """Export `graph` with torch's dynamo exporter and fold constants.

    Args:
        graph: takes and returns the contract's inputs and outputs of `metadata.kind`, in order.
        example: an input, at least 2 long on every dynamic axis.
        dynamic: names of the axes of the input that may have any size.

    Raises SourceModelError if torch can't express the module in ONNX.
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
    """The module itself as the reference for parity."""
    names = [want.name for want in OUTPUTS[metadata.kind]]

    def run(batch: NDArray[Any]) -> dict[str, NDArray[Any]]:
        with torch.inference_mode():
            answers = graph(torch.from_numpy(batch))
        answers = answers if isinstance(answers, tuple) else (answers,)
        return {name: answer.numpy() for name, answer in zip(names, answers, strict=False)}

    return run
