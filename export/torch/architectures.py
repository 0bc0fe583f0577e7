"""The networks that `bimodal export torch` knows by name: how to build each from a state dict, and its metadata."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bimodal.export.errors import SourceModelError
from bimodal.models.architectures import emo_affectnet, emo_affectnet_dynamic, face_compact
from bimodal.models.contract import CONTRACT_VERSION, Crop, Metadata
from bimodal.models.emotions import EMOTIONS
from bimodal.models.formats import is_program, is_torchscript

State = Mapping[str, Tensor]

EMO_SPACE = "emo-affectnet@1"
EMO_LICENSE = "MIT in the model card of the weights; the authors' repository says: for scientific use"
EMO_SOURCE = "huggingface.co/ElenaRyumina/face_emotion_recognition (Ryumina, Dresvyanskiy, Karpov 2022)"
EMO_CROP = Crop(scale=1.0, shift_y=0.0, rotate=False)
"""The authors crop the bounding box of MediaPipe's mesh points, without margin and rotation, and stretch it to a
square. Our square has the box's longer side instead, so it shows a little more at the ears."""

Input = Callable[[int, np.random.Generator], NDArray[Any]]


@dataclass(frozen=True)
class Architecture:
    """A known network.

    Attributes:
        build: makes the module to export from state dict and temperature.
        metadata: defaults for its artifact.
        inputs: makes so many random inputs.
        example: two inputs to trace with.
        dynamic: axes of the input that may have any size.
    """

    build: Callable[[State, Path, float], nn.Module]
    metadata: Metadata
    inputs: Input
    example: Callable[[np.random.Generator], NDArray[Any]]
    dynamic: Mapping[int, str]


def architecture(name: str) -> Architecture:
    """Find a network by name. Raises SourceModelError, listing the names, if it is unknown."""
    if name not in _MAKERS:
        raise SourceModelError(f"there is no architecture '{name}'; there are {', '.join(_MAKERS)} and torchscript")
    return _MAKERS[name]()


def _emo_affectnet() -> Architecture:
    def build(state: State, path: Path, temperature: float) -> nn.Module:
        _only_uncalibrated(temperature, "emo-affectnet")
        network = emo_affectnet.EmoAffectNet()
        fill(network, state, path)
        return emo_affectnet.EmoAffectNetGraph(network).eval()

    metadata = _metadata(
        kind="face-static",
        name="emo-affectnet",
        license=EMO_LICENSE,
        source=EMO_SOURCE,
        labels=emo_affectnet.LABELS,
        embedding_space=EMO_SPACE,
        crop=EMO_CROP,
    )
    noise = _noise(emo_affectnet.SIZE)
    return Architecture(build, metadata, noise, partial(noise, 2), {0: "batch"})


def _emo_affectnet_dynamic() -> Architecture:
    def build(state: State, path: Path, temperature: float) -> nn.Module:
        _only_uncalibrated(temperature, "emo-affectnet-dynamic")
        network = emo_affectnet_dynamic.EmoAffectNetDynamic()
        fill(network, state, path)
        return network

    steps, interval = emo_affectnet_dynamic.STEPS, emo_affectnet_dynamic.INTERVAL_S
    metadata = _metadata(
        kind="face-dynamic",
        name="emo-affectnet-dynamic",
        license=EMO_LICENSE,
        source=EMO_SOURCE,
        labels=emo_affectnet.LABELS,
        embedding_space=EMO_SPACE,
        interval_s=interval,
        window_s=steps * interval,
    )

    def embeddings(count: int, random: np.random.Generator) -> NDArray[Any]:
        shape = (count, steps, emo_affectnet.EMBEDDING)
        return np.maximum(random.normal(0, 1, shape), 0).astype(np.float32)  # after a ReLU, as they come

    return Architecture(build, metadata, embeddings, partial(embeddings, 2), {0: "batch"})


def _face_compact() -> Architecture:
    def build(state: State, path: Path, temperature: float) -> nn.Module:
        classes = len(_tensor(state, "classify.bias", path))
        depth, widths = _face_compact_shape(state, path)
        network = face_compact.FaceCompact(classes, widths, depth)
        fill(network, state, path)
        return face_compact.FaceCompactGraph(network, temperature).eval()

    metadata = _metadata(
        kind="face-static",
        name="face-compact-own",
        license="unknown",
        source="trained with 'bimodal train face'",
        labels=EMOTIONS,
        embedding_space="face-compact-own@1",
        crop=Crop(scale=1.08, shift_y=-0.054),
    )
    noise = _noise(face_compact.SIZE)
    return Architecture(build, metadata, noise, partial(noise, 2), {0: "batch"})


def _speech_compact() -> Architecture:
    from bimodal.models.architectures import speech_compact  # librosa, which it needs, is slow to import

    def build(state: State, path: Path, temperature: float) -> nn.Module:
        channels = len(_tensor(state, "stem.0.weight", path))
        hidden = _tensor(state, "lstm.weight_hh_l0", path).shape[-1]
        classes = len(_tensor(state, "classify.4.bias", path))
        network = speech_compact.SpeechCompact(classes, channels, hidden)
        fill(network, state, path)
        return speech_compact.SpeechGraph(speech_compact.FrontEnd(), network, temperature).eval()

    rate = speech_compact.SAMPLE_RATE
    metadata = _metadata(
        kind="speech",
        name="speech-compact-own",
        license="unknown",
        source="trained with 'bimodal train speech'",
        labels=EMOTIONS,
        sample_rate=rate,
        window_s=3.0,
        minimum_window_s=1.0,
        interval_s=0.5,
    )

    def sounds(count: int, random: np.random.Generator) -> NDArray[Any]:
        return random.normal(0, 0.1, (count, rate)).astype(np.float32)

    def short(random: np.random.Generator) -> NDArray[Any]:
        return sounds(2, random)[:, : rate // 4]  # the exporter unrolls an LSTM while it looks at it

    return Architecture(build, metadata, sounds, short, {0: "batch", 1: "samples"})


_MAKERS: Mapping[str, Callable[[], Architecture]] = {
    "emo-affectnet": _emo_affectnet,
    "emo-affectnet-dynamic": _emo_affectnet_dynamic,
    "face-compact": _face_compact,
    "speech-compact": _speech_compact,
}
NAMES = (*_MAKERS, "torchscript")


def _face_compact_shape(state: State, path: Path) -> tuple[int, list[int]]:
    """(blocks per stage, channels of the stages), derived from names and shapes of the weights."""
    _tensor(state, "features.0.weight", path)
    outputs = [
        value.shape[0]
        for number in range(3, 3 + len(state))
        for value in [state.get(f"features.{number}.path.0.weight")]
        if value is not None
    ]
    widths = [width for place, width in enumerate(outputs) if place == 0 or width != outputs[place - 1]]
    if not widths or len(outputs) % len(widths):
        raise SourceModelError(f"{path} is not the network asked for: its stages are not equally deep")
    return len(outputs) // len(widths), widths


def _tensor(state: State, name: str, path: Path) -> Tensor:
    if name not in state or state[name].ndim == 0:
        raise SourceModelError(f"{path} is not the network asked for: the file lacks {name}")
    return state[name]


def _only_uncalibrated(temperature: float, name: str) -> None:
    if temperature != 1.0:
        raise SourceModelError(f"{name} is exported as its authors made it: leave --temperature out")


def _noise(size: int) -> Input:
    def make(count: int, random: np.random.Generator) -> NDArray[Any]:
        return random.integers(0, 256, (count, size, size, 3), dtype=np.uint8)

    return make


def _metadata(**fields: Any) -> Metadata:
    return Metadata(contract=CONTRACT_VERSION, version="1", temperature=1.0, **fields)


# Reading state dicts without executing anything in them, and loading them with every mismatch named.

LARGEST_BYTES = 2_000_000_000
WRAPPERS = ("state_dict", "model_state_dict", "model")
NAMED = 6
"""Greatest number of mismatches named in a message; the rest is counted."""


def read_state_dict(path: Path, largest_bytes: int = LARGEST_BYTES) -> dict[str, Tensor]:
    """Read tensors by name, on the CPU. A checkpoint with them under `state_dict` or `model` is unwrapped.

    Only tensors and plain values are read (`weights_only=True`); code in a file is never run.
    Raises SourceModelError if the file is missing, too large, or holds anything but weights.
    """
    if not path.is_file():
        raise SourceModelError(f"there is no file {path}")
    if path.stat().st_size > largest_bytes:
        raise SourceModelError(
            f"{path} has {path.stat().st_size / 1e6:.0f} MB, more than the {largest_bytes / 1e6:.0f} MB that are read"
        )
    if is_torchscript(path) or is_program(path):
        raise SourceModelError(
            f"{path} is a whole network ({'TorchScript' if is_torchscript(path) else 'of torch.export'}), not a state "
            "dict: leave --architecture out, or say --architecture torchscript"
        )
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle's, zipfile's and its own errors for files it can't read
        raise SourceModelError(
            f"{path} can't be read as PyTorch weights: {_reason(error)}; save it with torch.save(model.state_dict(), …)"
        ) from error
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise SourceModelError(f"{path} holds no state dict (names of tensors); save model.state_dict()")
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read a .safetensors file, which can hold nothing but tensors."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        content = load_file(path, device="cpu")
    except (SafetensorError, OSError, ValueError) as error:
        raise SourceModelError(f"{path} can't be read as safetensors: {_reason(error)}") from error
    if not content:
        raise SourceModelError(f"{path} holds no weights")
    return {name.removeprefix("module."): value for name, value in content.items()}


def fill(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load the weights into a module and set it to evaluation mode.

    Raises SourceModelError, naming weights that are missing, unexpected, of another shape, or not finite.
    """
    wanted = module.state_dict()
    counters = {name for name in wanted if name.endswith("num_batches_tracked")}  # absent from old files, never used
    wrong = {
        "lacks": sorted(wanted.keys() - state.keys() - counters),
        "has the unexpected": sorted(state.keys() - wanted.keys()),
        "has other shapes for": [
            f"{name} ({_shape(state[name])} instead of {_shape(wanted[name])})"
            for name in sorted(wanted.keys() & state.keys())
            if state[name].shape != wanted[name].shape
        ],
        "has values that are no finite numbers in": [
            name for name in sorted(wanted.keys() & state.keys()) if not bool(torch.isfinite(state[name].float()).all())
        ],
    }
    if any(wrong.values()):
        found = ", and ".join(f"{what} {_listed(names)}" for what, names in wrong.items() if names)
        raise SourceModelError(f"{path} is not the network asked for: the file {found}")
    module.load_state_dict(dict(state), strict=False)
    module.eval()


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _shape(tensor: Tensor) -> str:
    return "×".join(str(size) for size in tensor.shape) or "scalar"


def _reason(error: Exception) -> str:
    text = str(error)
    foreign = re.search(r"GLOBAL (\S+)", text)
    if foreign:
        return f"it holds a Python object, {foreign[1]}, which could run code when it is opened"
    return next((line.strip()[:160].rstrip(". ") for line in text.splitlines() if line.strip()), type(error).__name__)
