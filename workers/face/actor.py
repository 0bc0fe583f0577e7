"""The face worker's process: frames in, faces out."""

from __future__ import annotations

import time
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Assignment, Face, FaceResult
from bimodal.models.session import Artifact
from bimodal.workers.actor import ActorSettings, own
from bimodal.workers.face.pipeline import FacePipeline, FoundFace
from bimodal.workers.inference import JobWorker, batching, open_model
from bimodal.workers.settings import FaceActorSettings


class FaceActor(JobWorker):
    """Holds the artifacts and no state between frames."""

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        """Load and warm up; raises ArtifactError or ProviderError."""
        super().__init__(settings, mailbox)
        mine = own(settings, FaceActorSettings)
        runtime = mine.runtime
        # The cores belong to the workers: OpenCV's own threads would only fight over them.
        cv2.setNumThreads(1)
        detector = open_model(mine.detector, "face-detector", runtime, settings.name)
        landmarks = open_model(mine.landmarks, "face-landmarks", runtime, settings.name)
        static = [open_model(path, "face-static", runtime, settings.name) for path in mine.static]
        self.artifacts = (detector, landmarks, *static)
        self.models = {artifact.metadata.kind: artifact.identity for artifact in (detector, landmarks)}
        self.models["face-static"] = "+".join(artifact.identity for artifact in static)
        limits = batching(runtime, static[0].provider)
        join = self.enable_batching(limits).join if limits.most > 1 else _alone
        # One for each job at a time: jobs that are done together must not meet in a pipeline's own arrays.
        self._pipelines = [
            FacePipeline(join(detector), join(landmarks), [join(one) for one in static], mine.face)
            for _ in range(limits.most)
        ]

    def work(self, assignment: Assignment, data: NDArray[Any], taken_ns: int) -> FaceResult:
        """The faces of one frame, uint8 [H, W, 3] RGB."""
        job = assignment.job
        pipeline = self._pipelines.pop()
        try:
            found, hints = pipeline.look(data, job.seq, assignment.hints)
        finally:
            self._pipelines.append(pipeline)
        return FaceResult(
            number=assignment.number,
            stream=job.stream,
            run=job.run,
            seq=job.seq,
            pts_ns=job.pts_ns,
            grab_ns=job.grab_ns,
            faces=tuple(face_message(face) for face in found),
            queue_ns=taken_ns - job.grab_ns,
            inference_ns=time.monotonic_ns() - taken_ns,
            models=self.models,
            waited_ns=assignment.waited_ns,
            hints=hints,
        )


def _alone(artifact: Artifact) -> Artifact:
    return artifact


def face_message(found: FoundFace) -> Face:
    """A face as it goes over the wire."""
    embedding = found.embedding
    return Face(
        box=found.box,
        score=found.score,
        sharpness=found.sharpness,
        mouth=found.mouth,
        probabilities=found.probabilities,
        embedding=None if embedding is None else np.asarray(embedding, dtype="<f2").tobytes(),
    )
