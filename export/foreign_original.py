"""A foreign model as it was meant to be used: preprocessing and postprocessing in numpy around its own file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from bimodal.export.errors import SourceModelError
from bimodal.export.frontends.faces import as_numpy
from bimodal.export.onnx_description import Description
from bimodal.export.ports import Ports

Values = NDArray[Any]
Run = Callable[[Values], Sequence[Values]]
"""The foreign network itself: its own input → the tensor with classes and, where one is named, the embedding."""

NUMPY_TYPES = {1: np.float32, 10: np.float16, 11: np.float64, 7: np.int64, 6: np.int32, 9: np.bool_}
"""ONNX element types that an input may have."""


def session_run(model: onnx.ModelProto, ports: Ports, path: Path, threads: int = 1) -> Run:
    """The file in ONNX Runtime, untouched but for an output that is asked for by name.

    Raises SourceModelError where ONNX Runtime can't open it, or later can't run it.
    """
    wanted = [ports.output] + ([ports.embedding] if ports.embedding else [])
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    known = {value.name for value in copy.graph.output}
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name not in known)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        session = ort.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises its own, undocumented exception classes
        raise SourceModelError(f"{path} can't be opened by ONNX Runtime {ort.__version__}: {_reason(error)}") from error

    def run(values: Values) -> Sequence[Values]:
        feed: dict[str, Values] = {ports.input: values.astype(NUMPY_TYPES[ports.type])}
        if ports.mask is not None:
            feed["attention_mask"] = np.ones((values.shape[0], values.shape[-1]), NUMPY_TYPES[ports.mask])
        try:
            found: Sequence[Values] = session.run(wanted, feed)
        except Exception as error:
            raise SourceModelError(f"{path} can't be run by ONNX Runtime: {_reason(error)}") from error
        return found

    return run


class ForeignOriginal:
    """Answers as export/parity.py asks: inputs of the contract in, its outputs out.

    Args:
        run: the network.
        said: the preprocessing and postprocessing.
        ports: of the network.
    """

    def __init__(self, run: Run, said: Description, ports: Ports) -> None:
        self._run = run
        self._said = said
        self._ports = ports

    def __call__(self, batch: Values) -> dict[str, Values]:
        """`probabilities` float32 [N, C] and, where one is named, `embedding` [N, D]."""
        classes, *embedding = self.raw(batch)
        if self._said.logits:
            classes = _softmax(classes.astype(np.float64) / (self._said.temperature or 1.0))
        answers = {"probabilities": classes.astype(np.float32)}
        if embedding:
            answers["embedding"] = embedding[0].astype(np.float32)
        return answers

    def raw(self, batch: Values) -> list[Values]:
        """What the network gives, each [N, …] flattened to [N, D], and cut to the columns that are classes."""
        values = self._prepare(batch)
        parts = [values] if self._ports.batches else [values[n : n + 1] for n in range(len(values))]
        answers = [self._run(part) for part in parts]
        flat = [np.concatenate([a.reshape(len(part), -1) for a, part in zip(answer, parts, strict=True)])
                for answer in zip(*answers, strict=True)]  # fmt: skip
        flat[0] = flat[0][:, : self._said.take]
        return flat

    def _prepare(self, batch: Values) -> Values:
        if self._said.kind == "face-static" and self._said.pixels is not None:
            return as_numpy(self._said.pixels, batch)
        if self._said.kind == "speech":
            values = unit_variance(batch) if self._said.normalise else batch
            return values[:, None] if len(self._ports.shape) == 3 else values
        return batch


def unit_variance(waveforms: Values) -> Values:
    """Every row to mean 0 and variance 1, as Hugging Face's Wav2Vec2FeatureExtractor. float32 [N, S] → same."""
    values = waveforms.astype(np.float64)
    centred = values - values.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.sqrt(values.var(axis=1, keepdims=True) + 1e-7), np.float32)


def _softmax(logits: Values) -> Values:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    for pattern, words in (
        (r"till opset (\d+)", "it is written in an opset that is newer than {}"),
        (r"max supported IR version: (\d+)", "its file format is newer than IR version {}"),
        (r"Fatal error: (\S+) is not a registered", "it needs the operator {}, which is not built in"),
    ):
        found = re.search(pattern, text)
        if found:
            return words.format(found[1])
    return text.rpartition("[ONNXRuntimeError]")[2].strip(" :")[:250]
