"""Bare ONNX Runtime (`python -m bimodal.bench.limit_process`): the very runs that frames or windows take, and nothing
around."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import msgspec
import numpy as np

from bimodal.bench.loops import serve
from bimodal.doctor.sizing_process import Run, noting, runs_of
from bimodal.models.session import Artifact
from bimodal.workers.audio.pipeline import SpeechPipeline
from bimodal.workers.inference import open_model
from bimodal.workers.settings import AudioActorSettings, FaceActorSettings

Work = tuple[list[Run], int]
"""The runs that a frame or window takes, and how many faces or windows it is."""


class LimitOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What the loop repeats.

    Attributes:
        core: the only one it may run on, None for any.
        frames: a .npy file, uint8 [N, H, W, 3] RGB; None where windows are repeated.
        face: what a face worker is told.
        sound: a .npy file, float32 [samples] mono; None where frames are repeated.
        rate: of the sound, in Hz.
        hop_s, window_s: how sound is cut.
        audio: what an audio worker is told.
    """

    core: int | None
    face: FaceActorSettings
    frames: str | None = None
    sound: str | None = None
    rate: int = 0
    hop_s: float = 0.5
    window_s: float = 4.0
    audio: AudioActorSettings | None = None


def prepare(order: LimitOrder) -> Callable[[], int]:
    """What runs one frame's or window's work; how many faces or windows it was."""
    if order.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {order.core})
    cv2.setNumThreads(1)
    works = itertools.cycle(_frames(order) if order.frames is not None else _windows(order))

    def look() -> int:
        runs, count = next(works)
        for run in runs:
            run.again()
        return count

    return look


def _frames(order: LimitOrder) -> Sequence[Work]:
    """The work of every tenth frame."""
    mine = order.face
    detector, landmarks, static = face_models(mine)
    assert order.frames is not None
    pictures = np.load(Path(order.frames), mmap_mode="r", allow_pickle=False)[::10]
    works = [runs_of(np.ascontiguousarray(picture), detector, landmarks, static, mine.face) for picture in pictures]
    return [(runs, sum(len(run.inputs["faces"]) for run in runs if run.artifact is static[0])) for runs in works]


def _windows(order: LimitOrder) -> Sequence[Work]:
    """The work of a few windows: voice activity and the speech model."""
    assert order.audio is not None
    assert order.sound is not None
    mine, runs = order.audio, list[Run]()
    speech, voice = speech_models(mine)
    hear = SpeechPipeline(noting(speech, runs), None if voice is None else noting(voice, runs), mine.audio)
    sound, works = np.load(Path(order.sound), allow_pickle=False), []
    hop = round(order.hop_s * order.rate)
    for end in range(hop, sound.size + 1, hop):
        runs.clear()
        hear(sound[max(0, end - round(order.window_s * order.rate)) : end], order.rate, hop)
        works.append((list(runs), 1))
    return works


# The models of the loops, opened as the workers open theirs.


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


if __name__ == "__main__":
    serve(LimitOrder, prepare)
