"""The state of a run on disk: written whole or not at all, read without pickle's powers."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from bimodal.training.errors import TrainingError

State = dict[str, Any]


def save(path: Path, state: State) -> None:
    """Write tensors and plain values to `path` in one move, on disk before the old file goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def load(path: Path) -> State | None:
    """What `save` wrote, or None where there is no file.

    Raises TrainingError where the file is none of ours.
    """
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise TrainingError(f"{path} is no checkpoint of this program: begin anew with --fresh") from error
    if not isinstance(state, dict):
        raise TrainingError(f"{path} is no checkpoint of this program: begin anew with --fresh")
    return state


def fingerprint(parts: Iterable[object]) -> str:
    """A short word that changes with the config and the data of a run."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update((part if isinstance(part, bytes) else repr(part).encode()) + b"\0")
    return digest.hexdigest()[:16]
