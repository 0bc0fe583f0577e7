"""The face worker's process: frames in, faces out."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import cv2
from numpy.typing import NDArray

from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Assignment, FaceResult
from bimodal.models.session import Artifact
from bimodal.workers.actor import ActorSettings, own
from bimodal.workers.face.pipeline import FacePipeline
from bimodal.workers.inference import JobWorker, batching, open_model
from bimodal.workers.settings import FaceActorSettings


class FaceModels(NamedTuple):
    """The artifacts of a face worker, opened and warmed up."""

    detector: Artifact
    landmarks: Artifact
    static: list[Artifact]
    details: tuple[Artifact, Artifact] | None = None

    @property
    def names(self) -> dict[str, str]:
        """name@version by kind; several of a kind (static, landmarks of a finer look) are joined by a plus sign."""
        landmarks, fine = [self.landmarks.identity], {}
        if self.details is not None:
            landmarks.append(self.details[0].identity)
            fine = {"face-blendshapes": self.details[1].identity}
        return fine | {
            "face-detector": self.detector.identity,
            "face-landmarks": "+".join(dict.fromkeys(landmarks)),
            "face-static": "+".join(artifact.identity for artifact in self.static),
        }


def open_models(settings: FaceActorSettings, worker: str) -> FaceModels:
    """Open and warm up a face worker's artifacts. Raises ArtifactError or ProviderError."""
    # OpenCV's own threads would compete with the workers for the cores.
    cv2.setNumThreads(1)
    return FaceModels(
        open_model(settings.detector, "face-detector", settings.runtime, worker),
        open_model(settings.landmarks, "face-landmarks", settings.runtime, worker),
        [open_model(path, "face-static", settings.runtime, worker) for path in settings.static],
        None
        if settings.details is None
        else (
            open_model(settings.details[0], "face-landmarks", settings.runtime, worker),
            open_model(settings.details[1], "face-blendshapes", settings.runtime, worker),
        ),
    )


def face_result(
    pipeline: FacePipeline, names: dict[str, str], assignment: Assignment, pixels: NDArray[Any], taken_ns: int
) -> FaceResult:
    """Analyse the faces of one frame, uint8 [H, W, 3] RGB, and return the answer to its assignment."""
    job = assignment.job
    if assignment.ordered:
        found, hints = pipeline.look(pixels, job.seq, job.pts_ns, assignment.hints, assignment.seen)
    else:
        found, hints = pipeline(pixels), None
    return FaceResult(
        number=assignment.number,
        stream=job.stream,
        run=job.run,
        seq=job.seq,
        pts_ns=job.pts_ns,
        grab_ns=job.grab_ns,
        faces=tuple(found),
        queue_ns=taken_ns - job.grab_ns,
        inference_ns=time.monotonic_ns() - taken_ns,
        models=names,
        waited_ns=assignment.waited_ns,
        hints=hints,
        frame=(pixels.shape[1], pixels.shape[0]),
        size=job.size,
        shot=job.shot,
    )


class FaceActor(JobWorker):
    """A face worker: holds the artifacts, and no state between frames."""

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        """Load and warm up; raises ArtifactError or ProviderError."""
        super().__init__(settings, mailbox)
        mine = own(settings, FaceActorSettings)
        models = open_models(mine, settings.name)
        self.artifacts = (models.detector, models.landmarks, *models.static, *(models.details or ()))
        self.models = models.names
        limits = batching(mine.runtime, models.static[0].provider)
        join = self.enable_batching(limits).join if limits.most > 1 else _alone
        # One for each concurrent job: a pipeline has arrays of its own.
        self._pipelines = [
            FacePipeline(
                join(models.detector),
                join(models.landmarks),
                [join(one) for one in models.static],
                mine.face,
                models.details,
                mine.emotions,
                mine.ensemble,
            )
            for _ in range(limits.most)
        ]

    def work(self, assignment: Assignment, data: NDArray[Any], taken_ns: int) -> FaceResult:
        """Analyse one frame, uint8 [H, W, 3] RGB."""
        pipeline = self._pipelines.pop()
        try:
            return face_result(pipeline, self.models, assignment, data, taken_ns)
        finally:
            self._pipelines.append(pipeline)


def _alone(artifact: Artifact) -> Artifact:
    return artifact
