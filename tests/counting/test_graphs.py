"""The graphs that ship have the nodes they are known to need: one more is time in every frame or window."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx
import pytest

MODELS = Path(__file__).parents[2] / "models"

# Nodes in all, and of those the kinds that ONNX Runtime can't fuse or that cost a copy.
NODES = {
    "blazeface-short": (98, {"Transpose": 5, "Reshape": 4, "Cast": 1}),
    "yunet-n": (200, {"Transpose": 13, "Reshape": 24, "Cast": 26}),
    "yunet-s": (191, {"Transpose": 13, "Reshape": 24, "Cast": 26}),
    "facemesh-468": (171, {"Transpose": 1, "Reshape": 2, "Cast": 1}),
    "facemesh-478": (430, {"Transpose": 1, "Reshape": 2, "Cast": 1}),
    "face-blendshapes": (310, {"Transpose": 86, "Cast": 70}),
    "face-compact": (97, {"Transpose": 0, "Reshape": 0, "Cast": 1}),
    "face-robust": (479, {"Transpose": 3, "Reshape": 0, "Cast": 2, "If": 2}),
    "face-large": (480, {"Transpose": 3, "Reshape": 4, "Cast": 2}),
    "face-small": (298, {"Transpose": 3, "Reshape": 0, "Cast": 2}),
    "face-api-expression": (66, {"Transpose": 1, "Reshape": 0, "Cast": 1}),
    "face-dynamic-compact": (39, {"Transpose": 3, "Reshape": 2, "Loop": 0}),
    "fusion-learned": (31, {"Transpose": 0, "Loop": 0}),
    "silero-vad": (26, {"Transpose": 2, "Loop": 0}),
    "speech-whisper": (181, {"Loop": 0, "Cast": 16}),
    "speech-voice": (80, {"Transpose": 4, "Reshape": 4, "Loop": 0}),
    "speech-compact": (130, {"Loop": 0}),
    "speech-keras": (104, {"Loop": 0}),
}


def kinds(graph: onnx.GraphProto) -> Counter[str]:
    """How many nodes of each kind, those of inner graphs too."""
    found = Counter(node.op_type for node in graph.node)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                found += kinds(attribute.g)
    return found


def test_every_graph_that_ships_is_counted() -> None:
    assert {path.parent.name for path in MODELS.glob("*/model.onnx")} == set(NODES)


@pytest.mark.parametrize("name", NODES)
def test_no_graph_has_more_nodes_than_it_needs(name: str) -> None:
    most, limits = NODES[name]
    found = kinds(onnx.load(str(MODELS / name / "model.onnx")).graph)
    assert found.total() <= most
    assert {kind: found[kind] for kind in limits if found[kind] > limits[kind]} == {}
    # MediaPipe's PRelu, an operator that ONNX Runtime runs outside its blocked layout, is written as Conv and Relu.
    assert found["PRelu"] == 0
