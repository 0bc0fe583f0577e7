"""`bimodal export torch`: PyTorch weights of a known network → an artifact, proved against torch itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from bimodal.export.onnx_description import Description
from bimodal.export.parity import Cases
from bimodal.export.real_inputs import faces_of, sounds_of
from bimodal.export.ship import Say, ship
from bimodal.export.torch_architectures import Architecture, architecture
from bimodal.export.torch_graph import convert, original
from bimodal.export.torch_weights import read_state_dict
from bimodal.models.contract import Crop, Metadata

BATCHES = (1, 5)
SAID = ("name", "version", "license", "source", "labels", "crop", "embedding_space", "temperature")
"""What a user may say of a known network; the rest is the network's."""


def export_torch(
    path: Path,
    name: str,
    out: Path,
    say: Say,
    *,
    said: Description | None = None,
    pictures: Sequence[Path] = (),
    sounds: Sequence[Path] = (),
    threads: int = 1,
) -> Path:
    """Write `out`/<name>/model.onnx; nothing is written where anything is wrong.

    Args:
        path: a state dict (or a checkpoint that holds one).
        name: of the architecture, see export/torch_architectures.py.
        said: what the user says of the model; fields that are None keep the network's own.
        pictures, sounds: real inputs to measure parity on, beside random ones;
            without any, what ships with the demo.

    Raises ExportError (file, weights, parity) or ArtifactError (contract).
    """
    torch.set_num_threads(threads)
    said = said or Description()
    known = architecture(name)
    metadata = _with(known.metadata, said)
    graph = known.build(read_state_dict(path), path, metadata.temperature or 1.0)
    random = np.random.default_rng(0)
    model = convert(graph, metadata, known.example(random), known.dynamic)
    cases = _cases(known, metadata, pictures, sounds)
    return ship(model, metadata, original(graph, metadata), cases, out, say)


def _with(metadata: Metadata, said: Description) -> Metadata:
    fields = {field: getattr(said, field) for field in SAID if getattr(said, field) is not None}
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
