"""The audio worker: speech windows in, SpeechResults out."""

from __future__ import annotations

import time
from typing import Any

from numpy.typing import NDArray

from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Assignment, SpeechResult
from bimodal.models.session import open_artifact
from bimodal.workers.actor import ActorSettings, own
from bimodal.workers.audio.pipeline import SpeechPipeline
from bimodal.workers.errors import ConfigError
from bimodal.workers.inference import JobWorker, open_model
from bimodal.workers.settings import AudioActorSettings


class AudioActor(JobWorker):
    """Opens the models and runs the speech pipeline; keeps no state between windows."""

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        """Load and warm up; raises ArtifactError, ProviderError, or ConfigError for windows too short."""
        super().__init__(settings, mailbox)
        mine = own(settings, AudioActorSettings)
        speech = open_model(mine.speech, "speech", mine.runtime, settings.name)
        wanted_s = speech.metadata.window_s or 0.0
        if wanted_s > mine.window_s:
            raise ConfigError(
                f"{speech.metadata.name} wants windows of {wanted_s:g} s, but capture cuts {mine.window_s:g} s; "
                f"set capture.window_s to {wanted_s:g} or more"
            )
        self.artifacts = [speech]
        self.models = {"speech": speech.identity}
        voice_activity = None
        if mine.voice_activity is not None:
            # Its steps are too small for CUDA to pay.
            voice_activity = open_artifact(mine.voice_activity, "voice-activity", provider="cpu", threads=1)
            self.artifacts.append(voice_activity)
            self.models["voice-activity"] = voice_activity.identity
        self._pipeline = SpeechPipeline(speech, voice_activity, mine.audio)

    def work(self, assignment: Assignment, data: NDArray[Any], taken_ns: int) -> SpeechResult:
        """Run the speech pipeline on one window, float32 [samples] at the source's rate."""
        job = assignment.job
        reading = self._pipeline(data, job.rate, job.fresh)
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
            queue_ns=taken_ns - job.grab_ns,
            inference_ns=time.monotonic_ns() - taken_ns,
            models=self.models,
            waited_ns=assignment.waited_ns,
        )
