"""Bare ONNX Runtime (`python -m bimodal.bench.limit_process`).

The model runs of frames or windows, and nothing else.
"""

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
from bimodal.doctor.sizing_process import Run, recording, runs_of
from bimodal.models.session import Artifact
from bimodal.workers.audio.pipeline import SpeechPipeline
from bimodal.workers.inference import open_model
from bimodal.workers.settings import AudioActorSettings, FaceActorSettings

Work = tuple[list[Run], int]
"""The model runs of a frame or window, and the number of faces or windows in it."""


class LimitOrder(msgspec.Struct, frozen=True, kw_only=True):
    """The order of the loop: the frames or windows to repeat.

    Attributes:
        core: the core it is pinned to, None for any.
        frames: a .npy file, uint8 [N, H, W, 3] RGB; None to repeat windows.
        face: settings of a face worker.
        sound: a .npy file, float32 [samples] mono; None to repeat frames.
        rate: of the sound, in Hz.
        hop_s, window_s: how sound is cut.
        audio: settings of an audio worker.
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
    """Make the function that runs the next frame or window and returns its number of faces or windows."""
    if order.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {order.core})
    cv2.setNumThreads(1)
    works = itertools.cycle(_frames(order) if order.frames is not None else _windows(order))

    def step() -> int:
        runs, count = next(works)
        for run in runs:
            run.repeat()
        return count

    return step


def _frames(order: LimitOrder) -> Sequence[Work]:
    """The model runs of every tenth frame."""
    mine = order.face
    detector, landmarks, static = face_models(mine)
    assert order.frames is not None
    pictures = np.load(Path(order.frames), mmap_mode="r", allow_pickle=False)[::10]
    works = [runs_of(np.ascontiguousarray(picture), detector, landmarks, static, mine.face) for picture in pictures]
    return [(runs, sum(len(run.inputs["faces"]) for run in runs if run.artifact is static[0])) for runs in works]


def _windows(order: LimitOrder) -> Sequence[Work]:
    """The model runs of a few windows: voice activity and the speech model."""
    assert order.audio is not None
    assert order.sound is not None
    mine, runs = order.audio, list[Run]()
    speech, voice = speech_models(mine)
    pipeline = SpeechPipeline(recording(speech, runs), None if voice is None else recording(voice, runs), mine.audio)
    sound, works = np.load(Path(order.sound), allow_pickle=False), []
    hop = round(order.hop_s * order.rate)
    for end in range(hop, sound.size + 1, hop):
        runs.clear()
        pipeline(sound[max(0, end - round(order.window_s * order.rate)) : end], order.rate, hop)
        works.append((list(runs), 1))
    return works


# The models, opened as the workers open them.

WORKER = "bench 1"


class FaceModels(NamedTuple):
    """The face models."""

    detector: Artifact
    landmarks: Artifact
    static: list[Artifact]


class SpeechModels(NamedTuple):
    """The speech models; `voice` is None without voice activity."""

    speech: Artifact
    voice: Artifact | None


def face_models(settings: FaceActorSettings) -> FaceModels:
    """Open the face models. Raises ArtifactError or ProviderError."""
    return FaceModels(
        detector=open_model(settings.detector, "face-detector", settings.runtime, WORKER),
        landmarks=open_model(settings.landmarks, "face-landmarks", settings.runtime, WORKER),
        static=[open_model(path, "face-static", settings.runtime, WORKER) for path in settings.static],
    )


def speech_models(settings: AudioActorSettings) -> SpeechModels:
    """Open the speech models. Raises ArtifactError or ProviderError."""
    voice = None
    if settings.voice_activity is not None:
        voice = open_model(settings.voice_activity, "voice-activity", settings.runtime, WORKER)
    return SpeechModels(open_model(settings.speech, "speech", settings.runtime, WORKER), voice)


if __name__ == "__main__":
    serve(LimitOrder, prepare)
