"""The audio worker: speech windows in, SpeechResults out."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from numpy.typing import NDArray

from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Assignment, SpeechResult
from bimodal.models.session import Artifact, open_artifact
from bimodal.workers.actor import ActorSettings, own
from bimodal.workers.audio.pipeline import SpeechPipeline
from bimodal.workers.audio.settings import check_windows
from bimodal.workers.inference import JobWorker, open_model
from bimodal.workers.settings import AudioActorSettings


class SpeechModels(NamedTuple):
    """The artifacts that listen, opened and warm; without voice activity, loudness decides what is voice."""

    speech: list[Artifact]
    voice_activity: Artifact | None

    @property
    def names(self) -> dict[str, str]:
        """name@version by kind; several speech models are joined by a plus sign."""
        voice = {} if self.voice_activity is None else {"voice-activity": self.voice_activity.identity}
        return {"speech": "+".join(artifact.identity for artifact in self.speech)} | voice


def open_models(settings: AudioActorSettings, worker: str) -> SpeechModels:
    """Open and warm up an audio worker's artifacts.

    Raises ArtifactError, ProviderError, or ConfigError for windows that are too short for the speech model.
    """
    speech = [open_model(path, "speech", settings.runtime, worker) for path in settings.speech]
    check_windows([artifact.metadata for artifact in speech], settings.window_s)
    voice_activity = None
    if settings.voice_activity is not None:
        # Its steps are far too small for CUDA to be worth the way there.
        voice_activity = open_artifact(settings.voice_activity, "voice-activity", provider="cpu", threads=1)
    return SpeechModels(speech, voice_activity)


AFFECT = ("arousal", "dominance", "valence")
"""In the order of the output of a speech model."""


def speech_result(
    pipeline: SpeechPipeline, names: dict[str, str], assignment: Assignment, samples: NDArray[Any], taken_ns: int
) -> SpeechResult:
    """Read one speech window, float32 [samples] at the source's rate, as the answer to its assignment."""
    job = assignment.job
    reading = pipeline(samples, job.rate, job.fresh)
    quality = {} if reading.quality is None else reading.quality._asdict()
    said: dict[str, Any] = {} if reading.affect is None else dict(zip(AFFECT, reading.affect, strict=True))
    return SpeechResult(
        number=assignment.number,
        stream=job.stream,
        run=job.run,
        seq=job.seq,
        pts_ns=job.pts_ns,
        grab_ns=job.grab_ns,
        voice=reading.voice,
        probabilities=reading.probabilities,
        because=reading.reason,
        measures=reading.measures,
        other=reading.other,
        **said,
        queue_ns=taken_ns - job.grab_ns,
        inference_ns=time.monotonic_ns() - taken_ns,
        models=names,
        waited_ns=assignment.waited_ns,
        **quality,
    )


class AudioActor(JobWorker):
    """Opens the models and runs the speech pipeline; keeps no state between windows."""

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        """Load and warm up; raises ArtifactError, ProviderError, or ConfigError for windows too short."""
        super().__init__(settings, mailbox)
        mine = own(settings, AudioActorSettings)
        models = open_models(mine, settings.name)
        self.artifacts = [*models.speech, *([] if models.voice_activity is None else [models.voice_activity])]
        self.models = models.names
        self._pipeline = SpeechPipeline(models.speech, models.voice_activity, mine.audio, mine.emotions, mine.ensemble)

    def work(self, assignment: Assignment, data: NDArray[Any], taken_ns: int) -> SpeechResult:
        """Run the speech pipeline on one window, float32 [samples] at the source's rate."""
        return speech_result(self._pipeline, self.models, assignment, data, taken_ns)
