"""How many workers with how many threads: what config.yaml leaves open, worked out from the cores. Pure."""

from __future__ import annotations

from typing import NamedTuple

from bimodal.workers.config import Between, WorkersConfig


class Sizes(NamedTuple):
    """Processes of each kind, and threads of each of them."""

    face: int
    audio: int
    threads: int


def sizes(workers: WorkersConfig, threads: int | str, cores: int, gpus: int = 0) -> Sizes:
    """The sizes that a machine of `cores` begins with, and of `gpus` that ONNX Runtime will use.

    Workers times threads is never more than the cores, unless the numbers given say so. One thread a worker with as
    many workers as cores is fastest (docs/configuration.md), so `auto` prefers workers to threads. `{min, max}`
    begins with `min`, and its threads leave room for `max`. With GPUs, `auto` is a face worker for each: two on one
    would take turns, and one does as many jobs at a time (workers/batching.py).
    """
    face = workers.face.count
    if face == "auto":
        each = 1 if threads == "auto" else int(threads)
        return Sizes(gpus or max(1, cores // each), _count(workers.audio.count), each)
    most = face.max if isinstance(face, Between) else face
    each = max(1, cores // most) if threads == "auto" else int(threads)
    return Sizes(_count(face), _count(workers.audio.count), each)


def _count(count: int | str | Between) -> int:
    if isinstance(count, Between):
        return count.min
    return count if isinstance(count, int) else 1
