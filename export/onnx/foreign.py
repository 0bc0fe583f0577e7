"""Read a foreign .onnx file with limits, and check its contents before any of it is run."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bimodal.export.errors import SourceModelError
from bimodal.export.frontends.faces import as_numpy
from bimodal.export.frontends.speech import SpeechFrontend
from bimodal.export.onnx.description import Description
from bimodal.export.onnx.graph import MOST_NODES, names_of, nodes_of, tensors_of, write_functions_out
from bimodal.export.onnx.ports import Ports
from bimodal.export.scores import Treatment

MEGABYTE = 1_000_000
LARGEST_MB = 500
HARDEST_MB = 2_000
"""Largest file that protobuf can write."""

MOST_TENSORS, MOST_ROUNDS = 200_000, 100_000
"""Greatest number of constants of a model, and of rounds of a loop."""
LONGEST_RUN_S = 120.0
"""Longest time that one run may take."""

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Operator domains built into every ONNX Runtime."""


def read_foreign(path: Path, largest_mb: int = LARGEST_MB) -> onnx.ModelProto:
    """Read a model, inlining functions and external data; opens no session.

    Raises SourceModelError, naming the reason: missing, larger than `largest_mb` (with external data), not ONNX,
    external data outside the file's folder, operators of a custom domain, operators unknown to this onnx, recursive
    functions.
    """
    if not path.is_file():
        raise SourceModelError(f"there is no file {path}")
    budget = min(largest_mb, HARDEST_MB) * MEGABYTE
    _within(path, path.stat().st_size, budget)
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except DecodeError as error:
        raise SourceModelError(f"{path} is no ONNX file") from error
    if not model.graph.node or not model.graph.output:
        raise SourceModelError(f"{path} is no ONNX file, or one without a graph")
    if not all(isinstance(name, str) for name in names_of(model)):  # protobuf hands out bytes where it is no UTF-8
        raise SourceModelError(f"{path} is no ONNX file, or a broken one: it holds names that are no text")
    _put_external_data_in(model, path, budget)
    _check_limits(model, path)
    write_functions_out(model, path)
    _check_operators(model, path)
    return model


def _check_limits(model: onnx.ModelProto, path: Path) -> None:
    """Raise SourceModelError, with the number found, for more operators, weights or rounds than a model has."""
    nodes = sum(1 for _ in nodes_of(model.graph))
    if nodes > MOST_NODES:
        raise SourceModelError(f"{path} has {nodes:,} operators; at most {MOST_NODES:,} are read")
    tensors = sum(1 for tensor in tensors_of(model) if tensor.data_type)
    if tensors > MOST_TENSORS:
        raise SourceModelError(f"{path} has {tensors:,} constants; at most {MOST_TENSORS:,} are read")
    constants = {value.name: value for value in model.graph.initializer}
    for node in nodes_of(model.graph):
        count = constants.get(node.input[0]) if node.op_type == "Loop" and node.input else None
        rounds = int(numpy_helper.to_array(count).reshape(-1)[0]) if count is not None and count.ByteSize() < 200 else 0
        if rounds > MOST_ROUNDS and len(node.input) > 1 and not node.input[1]:
            raise SourceModelError(
                f"{path} has a Loop '{node.name}' of {rounds:,} rounds; at most {MOST_ROUNDS:,} are run"
            )


def opset(model: onnx.ModelProto) -> int:
    """Version of the standard operators."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def _within(path: Path, size: int, budget: int) -> None:
    if size > budget:
        raise SourceModelError(
            f"{path} has {size / MEGABYTE:.1f} MB, more than the {budget / MEGABYTE:.0f} MB that are read; "
            "raise --max-size if you trust it"
        )


def _put_external_data_in(model: onnx.ModelProto, path: Path, budget: int) -> None:
    size = path.stat().st_size
    for tensor in tensors_of(model):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        source = _external_file(entries.get("location", ""), path)
        begin, length = _span(entries, source, path)
        size += length
        _within(path, size, budget)
        with source.open("rb") as file:
            file.seek(begin)
            tensor.raw_data = file.read(length)
        tensor.ClearField("external_data")
        tensor.data_location = TensorProto.DEFAULT


def _external_file(location: str, path: Path) -> Path:
    folder = path.resolve().parent
    source = (folder / location).resolve()  # follows links, so that a link can't lead out either
    if not location or Path(location).is_absolute() or not source.is_relative_to(folder):
        raise SourceModelError(f"{path} keeps its weights outside its folder, in '{location}': that is not opened")
    if not source.is_file():
        raise SourceModelError(f"{path} keeps its weights in '{location}', which is not there; put it beside the file")
    return source


def _span(entries: Mapping[str, str], source: Path, path: Path) -> tuple[int, int]:
    size = source.stat().st_size
    try:
        begin = int(entries.get("offset", "0"))
        length = int(entries.get("length", str(size - begin)))
    except ValueError:
        begin = length = -1
    if begin < 0 or length < 0 or begin + length > size:
        raise SourceModelError(f"{path} asks for weights that '{source.name}' does not hold")
    return begin, length


def _check_operators(model: onnx.ModelProto, path: Path) -> None:
    for node in nodes_of(model.graph):
        if node.domain not in DOMAINS:
            raise SourceModelError(
                f"{path} needs the operator '{node.op_type}' of the custom domain '{node.domain}': only standard "
                "operators run everywhere, so export it again without it"
            )
    version, newest = opset(model), onnx.defs.onnx_opset_version()
    if version < 1 or version > newest:
        raise SourceModelError(f"{path} is written in opset {version}, but this onnx knows 1 to {newest}: update it")
    for node in nodes_of(model.graph):
        if node.domain in ("", "ai.onnx"):
            try:
                onnx.defs.get_schema(node.op_type, version, "")
            except onnx.defs.SchemaError as error:
                raise SourceModelError(
                    f"{path} needs the operator '{node.op_type}', unknown in opset {version}"
                ) from error


# The reference: preprocessing and postprocessing in numpy around the foreign file.

Values = NDArray[Any]
Run = Callable[[Values], Sequence[Values]]
"""The foreign network itself: its own input → the tensors of `Ports.wanted`, in that order."""
MakeRun = Callable[[Ports], Run]


def session_run(model: onnx.ModelProto, ports: Ports, path: Path, threads: int = 1) -> Run:
    """Open the file in ONNX Runtime, unchanged but for additional outputs asked for by name.

    Raises SourceModelError if ONNX Runtime can't open it, or later can't run it.
    """
    wanted = ports.wanted
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
        feed: dict[str, Values] = {ports.input: values}
        for other in ports.feeds:
            feed[other.port.name] = other.array(len(values), _length_of(values, ports))
        how = ort.RunOptions()
        limit = threading.Timer(LONGEST_RUN_S, setattr, (how, "terminate", True))
        limit.daemon = True
        limit.start()
        try:
            found: Sequence[Values] = session.run(wanted, feed, how)
        except Exception as error:
            if how.terminate:
                raise SourceModelError(
                    f"{path} takes longer than {LONGEST_RUN_S:.0f} s for one run, as a loop without an end does: it "
                    "is no "
                    "model for live use"
                ) from error
            raise SourceModelError(f"{path} can't be run by ONNX Runtime: {_reason(error)}") from error
        finally:
            limit.cancel()
        return found

    return run


def _length_of(values: Values, ports: Ports) -> int:
    """Samples or steps of each input; see Ports.length_axis."""
    return int(values.shape[ports.length_axis])


def as_type(values: Values, element: int) -> Values:
    """Convert to an ONNX element type; whole numbers are rounded and clipped to their range."""
    dtype = helper.tensor_dtype_to_np_dtype(element)
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return np.clip(np.rint(values.astype(np.float64)), limits.min, limits.max).astype(dtype)
    return values.astype(dtype)


class ForeignOriginal:
    """The reference for parity: the contract's inputs in, its outputs out.

    Args:
        run: the network.
        description: preprocessing and postprocessing.
        ports: of the network.

    Attributes:
        treatment: how its numbers become probabilities; probabilities themselves until it is set.
        sums: matrix that adds up classes of equal name, or None.
    """

    def __init__(self, run: Run, description: Description, ports: Ports) -> None:
        self._run = run
        self._description = description
        self._ports = ports
        self.treatment = Treatment("softmax")
        self.sums: NDArray[np.float32] | None = None

    def __call__(self, batch: Values) -> dict[str, Values]:
        """Compute `probabilities` float32 [N, C], and what else is described: embedding, dimensions, scores."""
        found = self.raw(batch)
        classes = self.classes(found)
        probabilities = self.treatment(classes)
        if self.sums is not None:
            probabilities = probabilities @ self.sums
        answers = {"probabilities": probabilities.astype(np.float32)}
        if self._ports.embedding:
            answers["embedding"] = found[self._ports.embedding].astype(np.float32)
        if self._ports.affect:
            columns = [found[each.tensor][:, each.column] for each in self._ports.affect]
            answers[AFFECT[self._description.kind or ""]] = np.stack(columns, axis=1).astype(np.float32)
        if self._description.independent:
            answers["scores"] = self.treatment.independent(classes).astype(np.float32)
        return answers

    def raw(self, batch: Values) -> dict[str, Values]:
        """Compute the network's outputs by tensor, each [N, …] flattened to [N, D]."""
        values = as_type(self._prepare(batch), self._ports.type)
        parts = [values] if self._ports.batches else [values[n : n + 1] for n in range(len(values))]
        answers = [self._run(part) for part in parts]
        return {
            name: np.concatenate([flat(answer, len(part)) for answer, part in zip(column, parts, strict=True)])
            for name, column in zip(self._ports.wanted, zip(*answers, strict=True), strict=True)
        }

    def classes(self, found: Mapping[str, Values]) -> Values:
        """The columns of the classes, [N, C]."""
        columns = found[self._ports.output][:, : self._description.take]
        return columns + np.float32(self._ports.shift) if self._ports.shift else columns

    def _prepare(self, batch: Values) -> Values:
        if self._description.kind == "face-static" and self._description.pixels is not None:
            values = as_numpy(self._description.pixels, batch)
            if len(self._ports.shape) == 2:
                return values.reshape(len(values), -1)
            return values.reshape(len(values), *batch.shape[1:3]) if len(self._ports.shape) == 3 else values
        if self._description.kind == "speech":
            return self._prepare_sound(batch)
        return batch

    def _prepare_sound(self, batch: Values) -> Values:
        if self._description.steps:
            from bimodal.export.frontends.reference import features

            frontend = frontend_of(self._description)
            return np.stack([features(frontend, waveform) for waveform in batch])
        values = batch * np.float32(self._description.gain or 1.0)
        values = unit_variance(values) if self._description.normalise else values
        return values[:, None] if len(self._ports.shape) == 3 else values


AFFECT = {"face-static": "valence_arousal", "speech": "arousal_dominance_valence"}
"""Names of the outputs that hold the dimensions."""


def frontend_of(description: Description) -> SpeechFrontend:
    """The steps from a waveform to features, as described."""
    window = description.window_s or 3.0
    shortest = min(window, description.minimum_window_s or 1.0)
    rate = description.sample_rate or 16_000
    return SpeechFrontend(sample_rate=rate, window_s=window, minimum_window_s=shortest, steps=description.steps or ())


def flat(values: Values, count: int) -> Values:
    """Flatten an output [N, …] to [N, D]. Raises SourceModelError if it is not one row for each of `count` inputs."""
    if values.ndim == 0 or values.size % count:
        raise SourceModelError(f"an output of shape {list(values.shape)} is not one row for each of {count} inputs")
    return values.reshape(count, -1)


def unit_variance(waveforms: Values) -> Values:
    """Normalise each row to mean 0 and variance 1, as Hugging Face's Wav2Vec2FeatureExtractor. float32 [N, S]."""
    values = waveforms.astype(np.float64)
    centred = values - values.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.sqrt(values.var(axis=1, keepdims=True) + 1e-7), np.float32)


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
