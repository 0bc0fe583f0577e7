"""A converted graph → an artifact file: metadata in, contract checked, put in place in one move."""

from __future__ import annotations

from pathlib import Path

import onnx

from bimodal.export.canonical import canonicalize
from bimodal.models.contract import Metadata, to_properties
from bimodal.models.session import Artifact, open_artifact

OPSET = 18
IR_VERSION = 10


def make_model(graph: onnx.GraphProto, metadata: Metadata) -> onnx.ModelProto:
    """A model that holds `graph` in its one canonical form, and `metadata`.

    Raises onnx.checker.ValidationError for a broken graph.
    """
    canonicalize(graph)
    graph.name = metadata.name
    graph.doc_string = ""
    model = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="bimodal",
    )
    set_metadata(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    return model


def set_metadata(model: onnx.ModelProto, metadata: Metadata) -> None:
    """Write `metadata_props`; what stood there before is gone."""
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, to_properties(metadata))


def write(model: onnx.ModelProto, path: Path) -> Artifact:
    """Write the file and open it as users do (contract and warm-up).

    Raises ArtifactError where it breaks its contract.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return open_artifact(path, provider="cpu")
