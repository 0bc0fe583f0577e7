"""Runs the dynamic face model on a track's embeddings, at the model's own rate."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bimodal.models.contract import check_space, used_labels
from bimodal.models.emotions import SEVEN, EmotionSet, Mapped
from bimodal.models.errors import ArtifactError
from bimodal.workers.fusion.combine import clean, clean_other

if TYPE_CHECKING:
    from bimodal.models.session import Artifact


@dataclass(frozen=True)
class DynamicModel:
    """An opened dynamic model.

    Attributes:
        predict: float32 [1, steps, dimensions] → probabilities over the emotions it knows, and further categories;
            none where the model answers with something that is no number.
        interval_s: seconds between two steps.
        steps: number of steps in one run of the model.
        dimensions: of one embedding; None takes any.
        identity: name@version, for the event.
        static: name@version of the static model that gives its embeddings; None takes any.
        emotions: the set that it is read for.
    """

    predict: Callable[[NDArray[np.float32]], Mapped]
    interval_s: float
    steps: int
    dimensions: int | None = None
    identity: str = ""
    static: str | None = None
    emotions: EmotionSet = SEVEN

    def reads(self, static: str | None) -> bool:
        """True where it can use the embeddings of `static`: name@version, several joined by +; the first gives them."""
        return self.static is None or (static or "").partition("+")[0] == self.static.partition("+")[0]


def dynamic_model(
    artifact: Artifact,
    embedding_space: str | None = None,
    static: str | None = None,
    emotions: EmotionSet = SEVEN,
) -> DynamicModel:
    """Make a DynamicModel of an opened face-dynamic artifact.

    Args:
        embedding_space: of the face-static artifact in use; None skips the check.
        static: that artifact's identity; None takes the embeddings of any.

    Raises ArtifactError where the artifact lacks its number of steps, was trained on another network's embeddings, or
    knows none of `emotions`.
    """
    metadata = artifact.metadata
    if metadata.kind != "face-dynamic" or not metadata.labels or not metadata.interval_s or metadata.interval_s < 0:
        raise ArtifactError(f"{artifact.path} can't be a dynamic model: it needs labels and an 'interval_s' above 0")
    if embedding_space is not None:
        check_space(metadata, artifact.path, embedding_space)
    _, steps, dimensions = artifact.inputs[0].shape
    if not isinstance(steps, int):
        if not metadata.window_s:
            raise ArtifactError(f"{artifact.path} does not say how many steps it sees; give it 'window_s' metadata")
        steps = max(1, round(metadata.window_s / metadata.interval_s))
    labels = used_labels(metadata, artifact.path, emotions)

    def predict(embeddings: NDArray[np.float32]) -> Mapped:
        found = artifact.run(embeddings=embeddings)["probabilities"]
        return labels.split(found)[0] if np.isfinite(found).all() else Mapped({}, {})

    size = dimensions if isinstance(dimensions, int) else None
    return DynamicModel(predict, metadata.interval_s, steps, size, artifact.identity, static, emotions)


def decode_embedding(data: bytes | None) -> NDArray[np.float32] | None:
    """float16 little-endian bytes → float32 [dimensions]; None where there are none or they are not finite."""
    if not data or len(data) % 2:
        return None
    embedding = np.frombuffer(data, dtype="<f2").astype(np.float32)
    # Half precision squared fits single precision, so the sum is finite exactly where all values are.
    return embedding if math.isfinite(np.dot(embedding, embedding)) else None


class DynamicTrack:
    """The dynamic model on one track.

    Steps lie at whole multiples of the interval on the pts line, whatever the frame rate; a step takes the newest
    embedding at or before it, as training does, which takes every n-th frame. There is no answer before the first
    `steps` steps; an answer holds until the next step. Steps while a face is out of sight take its last embedding.
    """

    def __init__(self, model: DynamicModel) -> None:
        self._model = model
        self._interval_ns = max(1, round(model.interval_s * 1e9))
        self._steps: deque[NDArray[np.float32]] = deque(maxlen=model.steps)
        self._held: NDArray[np.float32] | None = None
        self._next_step = 0
        self._answer: Mapped | None = None

    def observe(self, pts_ns: int, embedding: NDArray[np.float32] | None) -> Mapped | None:
        """Take one frame of the track, in order. Returns the answer that holds now, or None.

        Embeddings that are None or not of the model's size are ignored.
        """
        if embedding is None or self._model.dimensions not in (None, embedding.size):
            return self._answer
        if self._held is None or self._held.shape != embedding.shape:
            self._begin(pts_ns)
        if self._fill(pts_ns, embedding) and len(self._steps) == self._model.steps:
            found, among = self._model.predict(np.stack(self._steps)[np.newaxis]), self._model.emotions
            known = clean(found.probabilities, among.emotions)
            self._answer = None if known is None else Mapped(known, clean_other(found.other, among.categories))
        self._held = embedding
        return self._answer

    def _begin(self, pts_ns: int) -> None:
        self._steps.clear()
        self._answer = None
        self._next_step = -(-pts_ns // self._interval_ns)

    def _fill(self, pts_ns: int, embedding: NDArray[np.float32]) -> bool:
        """Append the steps that are due; returns True where there were any."""
        newest = pts_ns // self._interval_ns
        if newest < self._next_step:
            return False
        for step in range(max(self._next_step, newest - self._model.steps + 1), newest + 1):
            exact = step * self._interval_ns == pts_ns
            self._steps.append(embedding if exact or self._held is None else self._held)
        self._next_step = newest + 1
        return True
