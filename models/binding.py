"""Runs of a session: plain, or with inputs and outputs bound to persistent device buffers (CUDA).

On a GPU, a bound run copies its inputs to the same device memory each time and reads its outputs from the same place,
so that nothing is allocated, and a run of a known shape can be replayed as one captured CUDA graph. For one thread:
CUDA graphs belong to the thread that captured them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from bimodal.models.contract import Tensor

Arrays = Mapping[str, NDArray[Any]]
Shape = tuple[int, ...]

DTYPES: Mapping[str, type[np.generic]] = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}

# Sets of input shapes with persistent buffers, per model; runs of others allocate their own.
MOST_SHAPES = 16

# ONNX Runtime's graph id of a run that is neither captured nor replayed.
NO_GRAPH = -1


class PlainRun:
    """Runs a session on arrays. The fastest way on a CPU, where binding saves no copy."""

    def __init__(self, session: ort.InferenceSession, outputs: Sequence[Tensor]) -> None:
        self._session = session
        self._names = [tensor.name for tensor in outputs]

    def __call__(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run once; raises ONNX Runtime's own exceptions."""
        return dict(zip(self._names, self._session.run(self._names, inputs), strict=True))


class _Bound(NamedTuple):
    """The buffers of one set of shapes."""

    binding: ort.IOBinding
    inputs: dict[str, ort.OrtValue]
    outputs: dict[str, ort.OrtValue]
    options: ort.RunOptions


class BoundRun:
    """Runs a session with buffers on a device, one set of them for each set of input shapes.

    Args:
        device, number: ONNX Runtime's name of the device ("cuda"; "cpu" works too), and its index.
        graph: whether the session was opened with `enable_cuda_graph`, so that each run must name its graph.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        *,
        device: str,
        number: int = 0,
        graph: bool = False,
    ) -> None:
        self._session = session
        self._inputs, self._outputs = inputs, outputs
        self._device, self._number = device, number
        # One graph is kept for each batch size; if other sizes were free too, their number would be unbounded.
        self._graph = graph and all(isinstance(size, int) for tensor in inputs for size in tensor.shape[1:])
        self._names = [tensor.name for tensor in outputs]
        self._no_graph = _run_options(NO_GRAPH)
        self._kept: dict[tuple[Shape, ...], _Bound] = {}
        # 0 is the default graph. No id is used twice: ONNX Runtime counts the runs of each, and a failed run may have
        # left a graph behind.
        self._graphs = itertools.count(1)

    def __call__(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run once; returned arrays are copies. Raises ONNX Runtime's own exceptions."""
        shapes = tuple(inputs[tensor.name].shape for tensor in self._inputs if tensor.name in inputs)
        sizes = output_shapes(self._inputs, self._outputs, shapes)
        if sizes is None:
            values = self._session.run(self._names, dict(inputs), self._no_graph)
            return dict(zip(self._names, values, strict=True))
        bound = self._kept.get(shapes) or self._bind(shapes, sizes)
        for name, value in bound.inputs.items():
            value.update_inplace(np.ascontiguousarray(inputs[name]))
        self._session.run_with_iobinding(bound.binding, bound.options)
        if len(self._kept) < MOST_SHAPES:
            self._kept.setdefault(shapes, bound)
        # On a CPU the array is a view of the buffer, which the next run overwrites.
        return {name: np.array(value.numpy()) for name, value in bound.outputs.items()}

    def _bind(self, shapes: Sequence[Shape], sizes: Sequence[Shape]) -> _Bound:
        binding = self._session.io_binding()
        inputs = {one.name: self._buffer(one, shape) for one, shape in zip(self._inputs, shapes, strict=True)}
        outputs = {one.name: self._buffer(one, shape) for one, shape in zip(self._outputs, sizes, strict=True)}
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in outputs.items():
            binding.bind_ortvalue_output(name, value)
        graph = next(self._graphs) if self._graph and len(self._kept) < MOST_SHAPES else NO_GRAPH
        return _Bound(binding, inputs, outputs, _run_options(graph))

    def _buffer(self, tensor: Tensor, shape: Shape) -> ort.OrtValue:
        dtype = DTYPES[tensor.type]
        return ort.OrtValue.ortvalue_from_shape_and_type(list(shape), dtype, self._device, self._number)


def output_shapes(inputs: Sequence[Tensor], outputs: Sequence[Tensor], shapes: Sequence[Shape]) -> list[Shape] | None:
    """Compute the output shapes for inputs of `shapes`, by the names of their free sizes.

    Returns None if they are unknown before the run (a size without a name, or named by no input), if a type is not in
    DTYPES, or if an input is empty.
    """
    if len(shapes) != len(inputs) or any(tensor.type not in DTYPES for tensor in (*inputs, *outputs)):
        return None
    known: dict[int | str | None, int] = {}
    for tensor, shape in zip(inputs, shapes, strict=True):
        if len(shape) != len(tensor.shape):
            return None
        known.update((name, size) for name, size in zip(tensor.shape, shape, strict=True) if isinstance(name, str))
    found = []
    for tensor in outputs:
        sizes = [size if isinstance(size, int) else known.get(size) for size in tensor.shape]
        if not all(sizes):
            return None
        found.append(tuple(size for size in sizes if size is not None))
    return found if all(size for shape in shapes for size in shape) else None


def _run_options(graph: int) -> ort.RunOptions:
    options = ort.RunOptions()
    options.add_run_config_entry("gpu_graph_id", str(graph))
    return options
