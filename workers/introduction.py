"""Introduction of a worker, so that all of a system answer alike: sha256 of its models and of its thresholds.

Also made for workers that this machine does not have (`workers.face.count: 0`), so it imports nothing heavy.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from bimodal.broker.messages import SETTINGS, ModelFile

# Settings that change what a worker answers, beside its models; the others say how it runs on its machine.
THRESHOLDS = ("face", "audio", "window_s", "emotions", "ensemble")


class Introduction(NamedTuple):
    """`models`: sha256 by kind, joined by "+" where there are several, and a checksum of the thresholds; `files`: of
    these models."""

    models: dict[str, str]
    files: tuple[ModelFile, ...]


def introduce(artifacts: Iterable[tuple[str, str]], own: dict[str, object]) -> Introduction:
    """Read the models of a worker, given as kinds and paths, with its settings `own`. Raises OSError."""
    digests: dict[str, list[str]] = {}
    files = []
    for kind, path in artifacts:
        status = Path(path).stat()
        digest = _sha256(path, status.st_mtime_ns, status.st_size)
        digests.setdefault(kind, []).append(digest)
        files.append(ModelFile(path, digest, status.st_size))
    models = {kind: "+".join(found) for kind, found in digests.items()}
    return Introduction({**models, SETTINGS: thresholds_of(own)}, tuple(files))


def thresholds_of(own: dict[str, object]) -> str:
    """A checksum of the settings of a worker that change its answers."""
    chosen = {name: own[name] for name in THRESHOLDS if name in own}
    return hashlib.sha256(msgspec.json.encode(chosen, order="deterministic")).hexdigest()


@functools.lru_cache(maxsize=64)
def _sha256(path: str, _time_ns: int, _bytes: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
