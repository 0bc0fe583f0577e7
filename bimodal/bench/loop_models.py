"""The models of the loops, opened as the workers open theirs."""

from __future__ import annotations

from typing import NamedTuple

from bimodal.models.session import Artifact
from bimodal.workers.inference import open_model
from bimodal.workers.settings import AudioActorSettings, FaceActorSettings

WORKER = "bench 1"


class FaceModels(NamedTuple):
    """What looks at frames."""

    detector: Artifact
    landmarks: Artifact
    static: list[Artifact]


class SpeechModels(NamedTuple):
    """What listens to windows; `voice` None where every window is listened to."""

    speech: Artifact
    voice: Artifact | None


def face_models(settings: FaceActorSettings) -> FaceModels:
    """Open them; raises ArtifactError or ProviderError."""
    return FaceModels(
        detector=open_model(settings.detector, "face-detector", settings.runtime, WORKER),
        landmarks=open_model(settings.landmarks, "face-landmarks", settings.runtime, WORKER),
        static=[open_model(path, "face-static", settings.runtime, WORKER) for path in settings.static],
    )


def speech_models(settings: AudioActorSettings) -> SpeechModels:
    """Open them; raises ArtifactError or ProviderError."""
    voice = None
    if settings.voice_activity is not None:
        voice = open_model(settings.voice_activity, "voice-activity", settings.runtime, WORKER)
    return SpeechModels(open_model(settings.speech, "speech", settings.runtime, WORKER), voice)
