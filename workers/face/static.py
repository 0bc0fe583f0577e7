"""The static models: one artifact, or several as an ensemble, each with its own crop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from bimodal.broker.events import Probabilities
from bimodal.models.contract import Crop, used_labels
from bimodal.models.emotions import SEVEN, EmotionSet, Mapped
from bimodal.models.errors import ArtifactError
from bimodal.models.faces.crop import Outline, crop_outline
from bimodal.models.faces.quality import FaceQuality, face_quality, regions_of
from bimodal.models.faces.resampling import stacked
from bimodal.models.session import Artifact, check_finite
from bimodal.workers.fusion.combine import STRATEGIES, Opinion, pooled_other
from bimodal.workers.fusion.settings import MEAN, Ensemble

DEFAULT_CROP_SIZE = 112
"""Side of the crop where a static model takes any size."""


class StaticResults(NamedTuple):
    """Results for N faces.

    Attributes:
        quality: measures of each crop of the first model.
        probabilities: one mapping for each face, over the emotions that any model knows; each sums to 1.
        embeddings: of the first model, float32 [N, D]; None where it has none.
        novelty: of the first model, by face; None where it has none.
        affect: valence and arousal by face, −1…1, of the first model that has them; None where none has.
        other: shares of the further categories that count, by face; of an ensemble over the models that know each.
    """

    quality: list[FaceQuality]
    probabilities: list[Probabilities]
    embeddings: NDArray[np.float32] | None
    novelty: list[float] | None = None
    affect: list[tuple[float, float]] | None = None
    other: list[Probabilities] = []  # noqa: RUF012 - never changed


class StaticModels:
    """One or more face-static artifacts behind one call.

    Each model's probabilities are calibrated inside its graph. They are averaged, or multiplied as `ensemble` says, for
    every emotion over the models that know it (one that does not know it abstains), and scaled to a sum of 1.

    Raises ArtifactError where a crop size can't be read from an artifact, or one knows none of `emotions`.
    """

    def __init__(self, artifacts: Sequence[Artifact], emotions: EmotionSet = SEVEN, ensemble: Ensemble = MEAN) -> None:
        self._models = [_Static(artifact, emotions) for artifact in artifacts]
        self._emotions = emotions
        self._ensemble = ensemble

    def __call__(self, pixels: NDArray[np.uint8], outlines: Sequence[Outline]) -> StaticResults:
        """Frame uint8 [H, W, 3] RGB and its N ≥ 1 faces → results, with one run of each model."""
        first, *others = self._models
        crops = first.crop(pixels, outlines)
        # Before the model runs, while the crops are still in the processor's caches.
        quality = [
            face_quality(crop, first.regions if outline.points is not None else None)
            for crop, outline in zip(crops, outlines, strict=True)
        ]
        mine = first(crops)
        if not others:
            rows = mine.rows
            probabilities, further = [row.probabilities for row in rows], [row.other for row in rows]
            return StaticResults(quality, probabilities, mine.embeddings, mine.novelty, mine.affect, further)
        all_answers = [mine, *(model(model.crop(pixels, outlines)) for model in others)]
        affect = next((answer.affect for answer in all_answers if answer.affect is not None), None)
        faces = [
            [
                Opinion(str(number), row.probabilities, self._ensemble.weight(number), other=row.other)
                for number, row in enumerate(face)
            ]
            for face in zip(*(answer.rows for answer in all_answers), strict=True)
        ]
        rule = STRATEGIES[self._ensemble.rule]
        together = [rule(opinions, self._emotions.emotions) for opinions in faces]
        further = [pooled_other(opinions, rule, self._emotions) for opinions in faces]
        return StaticResults(quality, together, mine.embeddings, mine.novelty, affect, further)


class _Answer(NamedTuple):
    """One model's answer for N faces; None where the model has no such output."""

    rows: list[Mapped]
    embeddings: NDArray[np.float32] | None
    novelty: list[float] | None
    affect: list[tuple[float, float]] | None


class _Static:
    """One static model."""

    def __init__(self, artifact: Artifact, emotions: EmotionSet) -> None:
        self._artifact = artifact
        self._labels = used_labels(artifact.metadata, artifact.path, emotions)
        self._crop = cast("Crop", artifact.metadata.crop)
        self._size = crop_size(artifact)
        self.regions = regions_of(self._crop)

    def crop(self, pixels: NDArray[np.uint8], outlines: Sequence[Outline]) -> NDArray[np.uint8]:
        """Crop the faces for the model: uint8 [N, size, size, 3]."""
        return stacked([crop_outline(pixels, face, self._crop, self._size) for face in outlines])

    def __call__(self, crops: NDArray[np.uint8]) -> _Answer:
        """Probabilities by face; embeddings float32 [N, D], novelty, valence and arousal where the model has them.

        Raises ArtifactError where the probabilities are no numbers.
        """
        answer = self._artifact.run(faces=crops)
        check_finite(self._artifact, answer["probabilities"])
        novelty = answer["novelty"][:, 0].tolist() if "novelty" in answer else None
        affect = None
        if "valence_arousal" in answer:
            # Networks of regression may overshoot.
            affect = [(valence, arousal) for valence, arousal in np.clip(answer["valence_arousal"], -1, 1).tolist()]
        return _Answer(self._labels.split(answer["probabilities"]), answer.get("embedding"), novelty, affect)


def crop_size(static: Artifact) -> int:
    """Side of the square crops that a face-static artifact takes.

    Raises ArtifactError where its crops are not square.
    """
    _, height, width, _ = static.inputs[0].shape
    fixed = [side for side in (height, width) if isinstance(side, int)]
    if len(set(fixed)) > 1:
        raise ArtifactError(f"{static.path} wants faces of {width}×{height} pixels, but faces are cut out square")
    return fixed[0] if fixed else DEFAULT_CROP_SIZE
