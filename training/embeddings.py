"""What a face-static artifact makes of pictures, computed once and kept beside the runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bimodal.models.session import Artifact
from bimodal.training.checkpoint import fingerprint
from bimodal.training.datasets.items import Item
from bimodal.training.datasets.loading import colour
from bimodal.training.errors import TrainingError
from bimodal.training.evaluate import over_emotions

BATCH = 64


@dataclass(frozen=True)
class Embedded:
    """Pictures as a static model sees them.

    Attributes:
        embeddings: float32 [N, D].
        probabilities: float32 [N, 7] over EMOTIONS.
    """

    embeddings: NDArray[np.float32]
    probabilities: NDArray[np.float32]

    def __len__(self) -> int:
        """How many pictures."""
        return len(self.embeddings)


def embed(artifact: Artifact, items: Sequence[Item], cache: Path) -> Embedded:
    """Run every picture once; a second time they come out of `cache`, as long as model and pictures are the same.

    Raises TrainingError where the artifact gives no embedding, DatasetError where a picture can't be read.
    """
    if not any(output.name == "embedding" for output in artifact.outputs):
        raise TrainingError(f"{artifact.path} gives no embedding, and a dynamic model needs one: name another 'static'")
    names = [(str(item.path), item.time_s) for item in items]
    path = cache / f"embeddings-{fingerprint([artifact.identity, artifact.path.stat().st_size, names])}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as known:
            return Embedded(known["embeddings"], known["probabilities"])
    found = _run(artifact, items)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.stem}.new.npz")
    np.savez(fresh, embeddings=found.embeddings, probabilities=found.probabilities)
    fresh.replace(path)
    return found


def _run(artifact: Artifact, items: Sequence[Item]) -> Embedded:
    side = artifact.inputs[0].shape[1]
    size = side if isinstance(side, int) else colour(items[0], 112).shape[0]
    embeddings, probabilities = [], []
    for start in tqdm(range(0, len(items), BATCH), desc="embeddings", unit="batch", disable=None):
        faces = np.stack([colour(item, size) for item in items[start : start + BATCH]])
        answer = artifact.run(faces=faces)
        embeddings.append(answer["embedding"].astype(np.float16).astype(np.float32))  # as face workers send them
        probabilities.append(over_emotions(artifact.metadata, answer["probabilities"]).astype(np.float32))
    return Embedded(np.concatenate(embeddings), np.concatenate(probabilities))
