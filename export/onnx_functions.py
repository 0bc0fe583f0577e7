"""Functions that a file brings along are written out into its graph, unless they were made to do harm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import onnx
from onnx import inliner

from bimodal.export.errors import SourceModelError
from bimodal.export.onnx_walk import nested

MOST_NODES = 200_000
"""Functions may call each other; this many nodes may come of it."""
DEEPEST = 100

Key = tuple[str, str]


def write_functions_out(model: onnx.ModelProto, path: Path) -> None:
    """Replace every call of a local function by its body, in place.

    Raises SourceModelError where functions call themselves, or so many nodes would come of them that it can't be
    honest.
    """
    if not model.functions:
        return
    bodies = {(function.domain, function.name): function for function in model.functions}
    if _count(model.graph.node, bodies, {}, (), path) > MOST_NODES:
        raise SourceModelError(f"{path} holds functions that write out to more than {MOST_NODES:,} operators")
    try:
        model.CopyFrom(inliner.inline_local_functions(model))
    except Exception as error:  # the inliner raises RuntimeError and others for calls that don't fit
        raise SourceModelError(f"{path} holds functions that are called wrongly") from error
    del model.functions[:]


def _count(
    nodes: Iterable[onnx.NodeProto],
    bodies: Mapping[Key, onnx.FunctionProto],
    known: dict[Key, int],
    callers: tuple[Key, ...],
    path: Path,
) -> int:
    """Nodes that come of these once everything is written out; `known` keeps what functions come to."""
    total = 0
    for node in nested(nodes):
        key = (node.domain, node.op_type)
        if key not in bodies:
            total += 1
            continue
        if key in callers or len(callers) >= DEEPEST:
            raise SourceModelError(f"{path} holds a function '{node.op_type}' that calls itself")
        if key not in known:
            known[key] = _count(bodies[key].node, bodies, known, (*callers, key), path)
        total += known[key]
    return total
