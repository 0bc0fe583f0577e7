"""Where the training of face-compact starts: weights of another run, or of an artifact, and the landmarks of faces."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bimodal.export.quantize.weights import SUFFIX, weights_of
from bimodal.models.architectures.face_compact import FaceCompact, standardise
from bimodal.training.config import FaceConfig
from bimodal.training.datasets.fer2013 import Faces
from bimodal.training.errors import TrainingError
from bimodal.training.face.framing import Finder, enlarge, to_picture
from bimodal.training.loop import fingerprint, load

BATCH = 128
PARTS = ("poor_first.", "first.", "network.")
"""Beginnings of the names of the network's weights: in face-robust's form, where the network that learnt from degraded
faces is meant, and in face-compact's."""


def begin_with(network: FaceCompact, path: Path, pictures: NDArray[np.uint8]) -> None:
    """Load the best weights of another run, or those of an artifact (.onnx), in 8-bit integers or not: of face-compact,
    or of face-robust's form, the network for pictures that are not clear, or the first where there is none.

    Args:
        pictures: uint8 [N, 48, 48], for the statistics of an artifact's batch normalisations, which exporting folds
            into the convolutions.

    Raises TrainingError if `path` does not hold weights of this network.
    """
    if not path.is_file():
        raise TrainingError(f"there are no weights {path} to start from: run 'bimodal train face' first")
    try:
        if path.suffix == ".onnx":
            _from_artifact(network, path, pictures)
        else:
            network.load_state_dict((load(path) or {})["network"])
    except (KeyError, RuntimeError) as error:
        raise TrainingError(f"the weights in {path} are another network's: give both configs the same sizes") from error


def _from_artifact(network: FaceCompact, path: Path, pictures: NDArray[np.uint8]) -> None:
    """Set the weights of an artifact, then give each batch normalisation the statistics of its inputs on `pictures`, so
    that the network answers as the artifact does, and goes on learning as if it had never been folded."""
    held = {name.removesuffix(SUFFIX): values for name, values in weights_of(onnx.load(str(path)).graph).items()}
    part = next((part for part in PARTS if any(name.startswith(part) for name in held)), "")
    weights = {
        name.removeprefix(part): torch.from_numpy(values.copy())
        for name, values in held.items()
        if name.startswith(part) and values.dtype == np.float32
    }
    state = network.state_dict()
    network.load_state_dict({name: weights.get(name, values) for name, values in state.items()})
    pairs = _normalised(network)
    for name, _, norm in pairs:
        norm.running_mean.zero_()  # type: ignore[union-attr]
        norm.running_var.fill_(1 - norm.eps)  # type: ignore[union-attr]
        norm.weight.data.fill_(1.0)
        norm.bias.data = weights[f"{name}.weight_bias"].clone()
    sums = _moments(network.eval(), pairs, pictures)
    for name, _, norm in pairs:
        mean, variance = sums[name]
        norm.running_mean.copy_(mean)  # type: ignore[union-attr]
        norm.running_var.copy_(variance)  # type: ignore[union-attr]
        norm.weight.data = torch.sqrt(variance + norm.eps)
        norm.bias.data = norm.bias.data + mean


Norm = nn.BatchNorm1d | nn.BatchNorm2d


def _normalised(network: nn.Module) -> list[tuple[str, nn.Module, Norm]]:
    """(name, layer, its batch normalisation), in order."""
    found = []
    for name, module in network.named_modules():
        children = list(module.named_children()) if isinstance(module, nn.Sequential) else []
        for (place, layer), (_, norm) in pairwise(children):
            if isinstance(norm, Norm):
                found.append((f"{name}.{place}", layer, norm))
    return found


def _moments(
    network: nn.Module, pairs: list[tuple[str, nn.Module, Norm]], pictures: NDArray[np.uint8]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and variance by channel of the outputs of each layer on pictures."""
    sums: dict[str, list[Tensor]] = {}

    def hook(name: str) -> object:
        def add(_module: nn.Module, _inputs: object, maps: Tensor) -> None:
            over = (0, 2, 3) if maps.ndim == 4 else (0,)
            wide = maps.double()
            new = [wide.sum(over), (wide * wide).sum(over), torch.tensor(float(maps.numel() / maps.shape[1]))]
            sums[name] = [old + each for old, each in zip(sums.get(name, [torch.zeros(())] * 3), new, strict=True)]

        return add

    hooks = [layer.register_forward_hook(hook(name)) for name, layer, _ in pairs]  # type: ignore[arg-type]
    with torch.inference_mode():
        for start in range(0, len(pictures), BATCH):
            network(standardise(torch.from_numpy(pictures[start : start + BATCH])[:, None].to(torch.float32)))
    for each in hooks:
        each.remove()
    found = {}
    for name, (total, squares, count) in sums.items():
        mean = total / count
        found[name] = (mean.float().clone(), (squares / count - mean * mean).clamp(min=0).float().clone())
    return found


# Landmarks of the training pictures, for augmentation by talking mouths and covered eyes.

MARK_POINTS = (33, 263, 61, 291, 152)
"""Mesh points of augment.MARKS: outer corners of the eyes and of the mouth, chin."""


def marks_of(config: FaceConfig, faces: Faces) -> NDArray[np.float32]:
    """Places of augment.MARKS in every picture, float32 [N, 5, 2] in its pixels, NaN where no mesh is found.

    Found once, which takes minutes, and kept in the folder of the run.
    """
    path = config.runs / config.name / f"marks-{fingerprint([faces.pictures.tobytes()])}.npy"
    if path.is_file():
        return np.asarray(np.load(path, allow_pickle=False), np.float32)
    finder = Finder()
    marks = np.full((len(faces), len(MARK_POINTS), 2), np.nan, np.float32)
    for place, picture in enumerate(faces.pictures):
        points = finder(enlarge(picture))
        if points is not None:
            marks[place] = to_picture(points[list(MARK_POINTS), :2], picture.shape[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, marks)
    return marks
