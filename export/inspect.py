"""`bimodal models inspect`: what a foreign model file is, what it takes and gives, and the command that adopts it.

Nothing of the file is run, but for TensorFlow Lite, which is a table of operators.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from bimodal.export.errors import ExportError, SourceModelError
from bimodal.export.labels import carried_by
from bimodal.models.contract import CONTRACT_KEY
from bimodal.models.formats import NAMES, Format, format_of, way_of

SPEECH_SAMPLES = 1000
"""A row of at least so many numbers is a waveform; of fewer, features."""
LEAST_SIDE = 8
RATES = (16_000, 22_050, 44_100, 48_000, 8_000)


class Facts(msgspec.Struct, kw_only=True):
    """What is known of a file.

    Attributes:
        file, format, bytes: of the file.
        inputs, outputs: name, type and shape of each, in words.
        opset, nodes, weights: of an ONNX graph: version of its operators, number of nodes, and of weights.
        classes: names of classes that the file carries.
        thinks: what it looks like, in words.
        kind: of the artifact that it could become.
        command: that adopts it; None where it can't be adopted.
        notes: what to know or to do first.
    """

    file: str
    format: str
    bytes: int | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    opset: int | None = None
    nodes: int | None = None
    weights: int | None = None
    producer: str | None = None
    classes: tuple[str, ...] = ()
    thinks: str = ""
    kind: str | None = None
    command: str | None = None
    notes: tuple[str, ...] = ()


class Guess(msgspec.Struct, frozen=True):
    """What a network looks like by the shapes of its inputs and outputs.

    Attributes:
        kind: of artifact; None if nothing fits.
        words: why.
        flags: of `bimodal export onnx` that follow from the shapes.
    """

    kind: str | None
    words: str
    flags: tuple[str, ...] = ()


ENDINGS = (".onnx", ".keras", ".h5", ".hdf5", ".tflite", ".pt2", ".safetensors", ".pt", ".pth", ".bin")
"""Of model files, those that are adopted as they are first."""
MOST_LISTED = 6

Shape = tuple[int | str | None, ...]


def guess(shape: Shape, outputs: Sequence[Shape | None]) -> Guess:
    """Guess the kind by the shapes of the main input and of the outputs. Pure."""
    sizes = [size if isinstance(size, int) else None for size in shape]
    if len(sizes) == 4:
        return _guess_picture(sizes, outputs)
    if len(sizes) == 3 and sizes[1] == 1 and (sizes[2] is None or sizes[2] >= SPEECH_SAMPLES):
        return Guess("speech", "it takes a waveform [N, 1, samples]", _rate(sizes[2]))
    if len(sizes) == 3:
        if sizes[1] is not None and sizes[1] == sizes[2] and sizes[1] >= 32:
            return Guess("face-static", "it takes grey pictures without a channel", ("--colour", "grey"))
        return Guess("face-dynamic", "it takes steps of features [N, steps, D]")
    if len(sizes) == 2:
        side = round((sizes[1] or 0) ** 0.5)
        if side >= LEAST_SIDE and side * side == sizes[1]:
            words = f"it takes {sizes[1]} numbers in a row: {side} × {side} grey pixels, if they are no features"
            return Guess("face-static", words, ("--colour", "grey"))
        if sizes[1] is None or sizes[1] >= SPEECH_SAMPLES:
            return Guess("speech", "it takes a waveform [N, samples]", _rate(sizes[1]))
    return Guess(None, f"its input {list(shape)} is neither a picture, a waveform nor a sequence of embeddings")


def _guess_picture(sizes: list[int | None], outputs: Sequence[Shape | None]) -> Guess:
    channel = 1 if sizes[1] in (1, 3) else 3 if sizes[3] in (1, 3) else None
    if channel is None:
        return Guess(
            None, (f"its input {sizes} has no axis of one or three channels: these may be features, not pictures")
        )
    layout, colour = ("nchw" if channel == 1 else "nhwc"), ("grey" if sizes[channel] == 1 else "rgb")
    flags = ("--layout", layout, "--colour", colour)
    rows = [shape for shape in outputs if shape is not None and len(shape) == 3]
    points = [shape for shape in outputs if shape and isinstance(shape[-1], int) and shape[-1] in (1404, 1434)]
    if points:
        return Guess("face-landmarks", "it gives 468 or 478 points of a face", flags)
    side = next((size for axis, size in enumerate(sizes) if axis not in (0, channel)), None)
    if len(rows) >= 2 or (rows and side is not None and side > 256):
        return Guess("face-detector", "it takes a picture and gives rows of boxes", flags)
    size = () if side is not None else ("--size", "SIZE")
    words = f"it takes {'grey' if colour == 'grey' else 'colour'} pictures"
    return Guess("face-static", words + (f" of {side} × {side}" if side else " of any size"), (*flags, *size))


def _rate(samples: int | None) -> tuple[str, ...]:
    """Flags for the sample rate: a usual one of which the length is a whole number of half seconds; else asked."""
    if samples is None:
        return ("--sample-rate", "RATE", "--window", "SECONDS")
    for rate in RATES:
        if samples % (rate // 2) == 0:
            return ("--sample-rate", str(rate))
    return ("--sample-rate", "RATE")


def inspect(path: Path) -> Facts:
    """Look at a file or folder. Raises SourceModelError if there is none."""
    kind = format_of(path)
    if kind == "missing":
        raise SourceModelError(f"there is no file {path}")
    facts = Facts(file=str(path), format=NAMES[kind], bytes=None if path.is_dir() else path.stat().st_size)
    looks = {"onnx": _onnx, "tflite": _tflite, "keras": _keras, "torchscript": _torchscript, "program": _program,
             "safetensors": _safetensors, "weights": _weights}  # fmt: skip
    if kind in looks:
        try:
            looks[kind](path, facts)
        except ExportError as error:
            facts.notes += (str(error),)
    elif kind == "folder":
        _folder(path, facts)
    else:
        facts.thinks = _plain(kind)
    way = way_of(path, kind, inspected=True)
    if facts.command is None and way is not None:
        facts.notes += (way,)
    return facts


def _plain(kind: Format) -> str:
    if kind == "saved-model":
        return "a network saved by TensorFlow, whose graph only TensorFlow reads"
    if kind == "weights":
        return "a pickle of PyTorch: weights, or a whole module as Python objects, which is not opened here"
    return "no model that bimodal knows: ONNX, Keras, TensorFlow Lite, TorchScript, torch.export and safetensors are"


def _command(path: Path, facts: Facts, found: Guess) -> None:
    """Fill in what follows from a guess."""
    facts.thinks, facts.kind = found.words, found.kind
    if found.kind is None:
        return
    facts.thinks += f": a {found.kind} model"
    if found.kind in ("face-detector", "face-landmarks"):
        flags: tuple[str, ...] = (
            ("--preset", "PRESET") if found.kind == "face-detector" else (*found.flags, "--scale", "SCALE")
        )
        facts.notes += (
            ("a preset says how its rows are read: yunet, scrfd, retinaface, yolov5-face or yolov8-face",)
            if found.kind == "face-detector"
            else ()
        )
    else:
        flags = found.flags
        if found.kind == "face-dynamic":
            flags += ("--embedding-space", "NAME@VERSION", "--interval", "SECONDS")
        if not facts.classes and found.kind != "voice-activity":
            flags += ("--labels", "LABELS")
        if found.kind == "face-static":
            flags += ("--scale", "SCALE", "--mean", "MEAN")
            facts.notes += (
                "the file does not say which values its pixels have (0…255, 0…1, -1…1 …): its authors' code does, and "
                "'bimodal export auto' shows how it answers to each",
            )
    kind = () if found.kind == "face-detector" else ("--kind", found.kind)
    facts.command = shlex.join(["bimodal", "export", "onnx", str(path), *kind, *flags])


def _onnx(path: Path, facts: Facts) -> None:
    from bimodal.export.onnx.foreign import HARDEST_MB, opset, read_foreign
    from bimodal.export.onnx.graph import tensors_of
    from bimodal.export.onnx.ports import inputs_of, results_of

    model = read_foreign(path, HARDEST_MB)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    inputs, results = inputs_of(model.graph), results_of(model)
    facts.inputs, facts.outputs = tuple(map(str, inputs)), tuple(map(str, results))
    facts.opset, facts.nodes = opset(model), len(model.graph.node)
    facts.weights = sum(_count(tensor.dims) for tensor in tensors_of(model) if tensor.data_type)
    facts.producer = " ".join(filter(None, (model.producer_name, model.producer_version))) or None
    names = next((result.names for result in results if result.names), ())
    carried = carried_by(properties, names, path)
    facts.classes = carried.names if carried else ()
    if CONTRACT_KEY in properties:
        kind = properties.get("kind", "")
        facts.kind, facts.thinks = kind, f"an artifact of bimodal already, a {kind} model: it needs no export"
        facts.notes += (f"use it in config.yaml: models: {{{kind}: {path}}}",)
        return
    wide = [port for port in inputs if port.shape is not None and len(port.shape) >= 2]
    if not wide:
        facts.thinks = "its inputs declare no shape of a picture or a waveform"
        return
    states = [port for port in wide if len(port.shape or ()) == 3 and (port.shape or ("",))[0] in (1, 2)]
    if states and any(len(port.shape or ()) == 2 for port in wide):
        words = "it takes a waveform and a state, and gives the next one"
        _command(path, facts, Guess("voice-activity", words, ("--sample-rate", "16000", "--window", "0.036")))
        facts.notes += (
            "its rate is its authors': 16000 or 8000, most often; --window is what it hears at once, in seconds",
        )
        return
    main = max(wide, key=lambda port: len(port.shape or ()))
    _command(path, facts, guess(main.shape or (), [result.port.shape for result in results]))


def _count(dims: Sequence[int]) -> int:
    product = 1
    for size in dims:
        product *= size
    return product


def _tflite(path: Path, facts: Facts) -> None:
    try:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=str(path), num_threads=1)
    except ImportError as error:
        raise SourceModelError(
            "looking inside needs the package 'ai_edge_litert': pip install 'bimodal-emotion[convert]'"
        ) from error
    except (ValueError, RuntimeError) as error:
        raise SourceModelError(f"{path} can't be opened by LiteRT: {str(error).splitlines()[0][:200]}") from error

    def shape(detail: dict[str, Any]) -> tuple[int, ...]:
        return tuple(int(size) for size in detail["shape"])

    def words(detail: dict[str, Any]) -> str:
        return f"'{detail['name']}' {detail['dtype'].__name__} {list(shape(detail))}"

    given, found = interpreter.get_input_details(), interpreter.get_output_details()
    facts.inputs, facts.outputs = tuple(map(words, given)), tuple(map(words, found))
    _command(path, facts, guess(shape(given[0]), [shape(detail) for detail in found]))


def _keras(path: Path, facts: Facts) -> None:
    from bimodal.export.keras.file import inspect as look

    file = look(path)
    layers = (file.config or {}).get("config", {})
    layers = layers.get("layers", []) if isinstance(layers, dict) else layers
    shapes = [
        shape
        for layer in layers
        if (
            shape := (layer.get("config") or {}).get("batch_shape")
            or (layer.get("config") or {}).get("batch_input_shape")
        )
    ]
    facts.inputs = tuple(str(shape) for shape in shapes[:1])
    if layers:
        last = layers[-1]
        settings = last.get("config") or {}
        facts.outputs = (
            f"'{settings.get('name', '')}' {last.get('class_name')}"
            + (f" of {settings['units']}" if "units" in settings else "")
            + (f", {settings['activation']}" if isinstance(settings.get("activation"), str) else ""),
        )
    facts.nodes = len(layers) or None
    facts.notes += file.warnings
    if file.format == "weights":
        facts.thinks = "weights of a Keras network, without its layers: describe them with --architecture"
    elif shapes:
        found = guess(tuple(shapes[0]), [])
        facts.thinks, facts.kind = found.words, found.kind
        if found.kind in ("face-dynamic", None):
            facts.thinks, facts.kind = (
                f"it takes features {shapes[0]}: a speech model, if they are made of sound",
                "speech",
            )
    facts.command = shlex.join(
        ["bimodal", "export", "keras", str(path), "--frontend", "FRONTEND.yaml", "--labels", "LABELS"]
    )
    facts.notes += (
        "FRONTEND.yaml says how its input is made (docs/export-keras.md); for published networks: --preset",
    )


def _torchscript(path: Path, facts: Facts) -> None:
    facts.thinks = "a program of PyTorch, which does not declare what it takes"
    facts.command = shlex.join(["bimodal", "export", "onnx", str(path), "--kind", "face-static", "--size", "SIZE",
                                "--colour", "rgb", "--scale", "SCALE", "--labels", "LABELS"])  # fmt: skip
    facts.notes += ("for speech: --kind speech --sample-rate RATE --window SECONDS in place of size, colour and scale",)


def _program(path: Path, facts: Facts) -> None:
    facts.thinks = "a graph of PyTorch operators, written by torch.export.save"
    facts.command = shlex.join(["bimodal", "export", "onnx", str(path), "--kind", "face-static", "--colour", "rgb",
                                "--scale", "SCALE", "--labels", "LABELS"])  # fmt: skip
    facts.notes += ("for speech: --kind speech --sample-rate RATE in place of colour and scale",)


def _safetensors(path: Path, facts: Facts) -> None:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(100_000_000, path.stat().st_size):
            raise SourceModelError(f"{path} is no whole safetensors file")
        try:
            table = json.loads(file.read(length))
        except ValueError as error:
            raise SourceModelError(f"{path} is no whole safetensors file") from error
    tensors = {name: row for name, row in table.items() if name != "__metadata__"}
    facts.weights = sum(_count(row["shape"]) for row in tensors.values())
    _known(path, facts, [name.removeprefix("module.") for name in tensors])
    carried = carried_by({}, (), path)
    facts.classes = carried.names if carried else ()


KNOWN = {
    "emo-affectnet": ("conv_layer_s2_same.weight", "fc2.weight"),
    "emo-affectnet-dynamic": ("lstm1.weight_ih_l0", "lstm2.weight_ih_l0"),
    "face-compact": ("features.0.weight", "classify.bias"),
    "speech-compact": ("stem.0.weight", "classify.4.bias"),
}
"""Weights by which the networks of `export torch --architecture` are known."""


def _weights(path: Path, facts: Facts) -> None:
    """A state dict, read without its objects where torch is there."""
    facts.thinks = _plain("weights")
    try:
        from bimodal.export.torch.architectures import read_state_dict
    except ImportError:
        facts.notes += ("looking inside needs torch: pip install 'bimodal-emotion[convert]'",)
        return
    state = read_state_dict(path)
    facts.weights = sum(tensor.numel() for tensor in state.values())
    _known(path, facts, list(state))


def _known(path: Path, facts: Facts, names: list[str]) -> None:
    facts.thinks = f"{len(names)} tensors, {', '.join(names[:4])} …: weights, without the network they belong to"
    for architecture, marks in KNOWN.items():
        if set(marks) <= set(names):
            facts.thinks = f"weights of {architecture}"
            facts.command = shlex.join(["bimodal", "export", "torch", str(path), "--architecture", architecture])


def _folder(path: Path, facts: Facts) -> None:
    """List the model files in a folder, and in the folders in it. Raises SourceModelError where it can't be read."""
    try:
        files = [*sorted(path.iterdir()), *sorted(path.glob("*/*"))]
    except OSError as error:
        raise SourceModelError(f"{path} can't be read: {error.strerror}") from error
    found = sorted((file for file in files if file.suffix in ENDINGS), key=lambda file: ENDINGS.index(file.suffix))
    facts.thinks = "a folder" + (" with model files" if found else " without a model file, as the folders in it are")
    facts.notes += tuple(f"look at: bimodal models inspect {shlex.quote(str(file))}" for file in found[:MOST_LISTED])
    if len(found) > MOST_LISTED:
        facts.notes += (f"and {len(found) - MOST_LISTED} more",)
    if not found:
        facts.notes += (f"name a model file, or the folder that holds it; its name ends with {', '.join(ENDINGS)}",)
