"""State dicts: read without running anything in them, and fitted to a module with every misfit named."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bimodal.export.errors import SourceModelError

LARGEST_BYTES = 2_000_000_000
WRAPPERS = ("state_dict", "model_state_dict", "model")
NAMED = 6
"""So many misfits are named; the rest is counted."""


def read_state_dict(path: Path, largest_bytes: int = LARGEST_BYTES) -> dict[str, Tensor]:
    """Tensors by name, on the CPU. A checkpoint that keeps them under `state_dict` or `model` is unwrapped.

    Only tensors and plain values are read (`weights_only=True`); code in a file is never run.
    Raises SourceModelError where the file is missing, too large, or holds anything but weights.
    """
    if not path.is_file():
        raise SourceModelError(f"there is no file {path}")
    if path.stat().st_size > largest_bytes:
        raise SourceModelError(
            f"{path} has {path.stat().st_size / 1e6:.0f} MB, more than the {largest_bytes / 1e6:.0f} MB that are read"
        )
    if is_torchscript(path):
        raise SourceModelError(f"{path} is TorchScript, not a state dict: export it with --architecture torchscript")
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


def fill(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Put the weights in; module ends in evaluation mode.

    Raises SourceModelError, naming what is missing, unexpected, of another shape, or no finite number.
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


def is_torchscript(path: Path) -> bool:
    """Whether the file is a TorchScript archive; looks at the names in it only."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _reason(error: Exception) -> str:
    text = str(error)
    foreign = re.search(r"GLOBAL (\S+)", text)
    if foreign:
        return f"it holds a Python object, {foreign[1]}, which could run code when it is opened"
    return next((line.strip()[:160].rstrip(". ") for line in text.splitlines() if line.strip()), type(error).__name__)
