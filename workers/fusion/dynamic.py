"""Feeds a track's embeddings to the dynamic face model at the model's own rate."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bimodal.broker.events import Probabilities
from bimodal.models.emotions import LabelMap
from bimodal.models.errors import ArtifactError
from bimodal.models.session import Artifact
from bimodal.workers.fusion.combine import clean


@dataclass(frozen=True)
class DynamicModel:
    """A dynamic model as fusion needs it.

    Attributes:
        predict: float32 [1, steps, dimensions] → probabilities over the emotions it knows.
        interval_s: seconds between two steps.
        steps: how many steps the model sees at once.
        dimensions: of one embedding; None takes any.
        identity: name@version, for the event.
        static: name@version of the static model whose embeddings it is fed; None takes any.
    """

    predict: Callable[[NDArray[np.float32]], Probabilities]
    interval_s: float
    steps: int
    dimensions: int | None = None
    identity: str = ""
    static: str | None = None

    def reads(self, static: str | None) -> bool:
        """Whether the embeddings of `static` mean something to it: name@version, of several joined by +, of which the
        first gives the embeddings."""
        return self.static is None or (static or "").partition("+")[0] == self.static.partition("+")[0]


def dynamic_model(artifact: Artifact, embedding_space: str | None = None, static: str | None = None) -> DynamicModel:
    """An opened face-dynamic artifact as fusion needs it.

    Args:
        embedding_space: of the face-static artifact in use; None leaves that unchecked.
        static: that artifact's identity; None takes the embeddings of any.

    Raises ArtifactError where the artifact does not say how many steps it sees, or was trained on the embeddings
    of another network.
    """
    metadata = artifact.metadata
    if metadata.kind != "face-dynamic" or not metadata.labels or not metadata.interval_s or metadata.interval_s < 0:
        raise ArtifactError(f"{artifact.path} can't be a dynamic model: it needs labels and an 'interval_s' above 0")
    if embedding_space is not None and metadata.embedding_space != embedding_space:
        raise ArtifactError(
            f"{artifact.path} was trained on embeddings of '{metadata.embedding_space}', but the static model gives "
            f"those of '{embedding_space}'; use a pair of the same embedding space"
        )
    _, steps, dimensions = artifact.inputs[0].shape
    if not isinstance(steps, int):
        if not metadata.window_s:
            raise ArtifactError(f"{artifact.path} does not say how many steps it sees; give it 'window_s' metadata")
        steps = max(1, round(metadata.window_s / metadata.interval_s))
    labels = LabelMap(metadata.labels)

    def predict(embeddings: NDArray[np.float32]) -> Probabilities:
        return labels.apply(artifact.run(embeddings=embeddings)["probabilities"])[0]

    size = dimensions if isinstance(dimensions, int) else None
    return DynamicModel(predict, metadata.interval_s, steps, size, artifact.identity, static)


def decode_embedding(data: bytes | None) -> NDArray[np.float32] | None:
    """float16 little-endian bytes → float32 [dimensions]; None where there are none or they are no numbers."""
    if not data or len(data) % 2:
        return None
    embedding = np.frombuffer(data, dtype="<f2").astype(np.float32)
    # Half precision squared fits single precision, so the sum is finite exactly where all of them are.
    return embedding if math.isfinite(np.dot(embedding, embedding)) else None


class DynamicTrack:
    """The dynamic model's view of one track.

    Steps lie at whole multiples of the interval on the pts line, whatever the frame rate; a step takes the newest
    embedding at or before it, as training does, which takes every n-th frame. Nothing is answered before `steps`
    of them are there; an answer holds until the next step. A face that was out of sight keeps its last embedding
    for the steps it missed.
    """

    def __init__(self, model: DynamicModel) -> None:
        self._model = model
        self._interval_ns = max(1, round(model.interval_s * 1e9))
        self._steps: deque[NDArray[np.float32]] = deque(maxlen=model.steps)
        self._held: NDArray[np.float32] | None = None
        self._next_step = 0
        self._answer: Probabilities | None = None

    def observe(self, pts_ns: int, embedding: NDArray[np.float32] | None) -> Probabilities | None:
        """One frame of the track; frames come in their order. Returns the answer that holds now, or None.

        An embedding that is None or of another size than the model takes is passed over.
        """
        if embedding is None or self._model.dimensions not in (None, embedding.size):
            return self._answer
        if self._held is None or self._held.shape != embedding.shape:
            self._begin(pts_ns)
        if self._fill(pts_ns, embedding) and len(self._steps) == self._model.steps:
            self._answer = clean(self._model.predict(np.stack(self._steps)[np.newaxis]))
        self._held = embedding
        return self._answer

    def _begin(self, pts_ns: int) -> None:
        self._steps.clear()
        self._answer = None
        self._next_step = -(-pts_ns // self._interval_ns)

    def _fill(self, pts_ns: int, embedding: NDArray[np.float32]) -> bool:
        """Append the steps that are due; whether there were any."""
        newest = pts_ns // self._interval_ns
        if newest < self._next_step:
            return False
        for step in range(max(self._next_step, newest - self._model.steps + 1), newest + 1):
            exact = step * self._interval_ns == pts_ns
            self._steps.append(embedding if exact or self._held is None else self._held)
        self._next_step = newest + 1
        return True
