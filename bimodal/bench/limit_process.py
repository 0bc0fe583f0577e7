"""Bare ONNX Runtime (`python -m bimodal.bench.limit_process`).

The model runs of frames or windows, and nothing else.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import msgspec
import numpy as np

from bimodal.bench.loops import serve
from bimodal.doctor.sizing_process import Run, recording, runs_of
from bimodal.workers.audio.actor import open_models as open_speech_models
from bimodal.workers.audio.pipeline import SpeechPipeline
from bimodal.workers.face.actor import open_models as open_face_models
from bimodal.workers.settings import AudioActorSettings, FaceActorSettings

WORKER = "bench 1"
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
    detector, landmarks, static, _ = open_face_models(mine, WORKER)
    assert order.frames is not None
    pictures = np.load(Path(order.frames), mmap_mode="r", allow_pickle=False)[::10]
    works = [runs_of(np.ascontiguousarray(picture), detector, landmarks, static, mine.face) for picture in pictures]
    return [(runs, sum(len(run.inputs["faces"]) for run in runs if run.artifact is static[0])) for runs in works]


def _windows(order: LimitOrder) -> Sequence[Work]:
    """The model runs of a few windows: voice activity and the speech models."""
    assert order.audio is not None
    assert order.sound is not None
    mine, runs = order.audio, list[Run]()
    speech, voice = open_speech_models(mine, WORKER)
    heard = [recording(each, runs) for each in speech]
    pipeline = SpeechPipeline(heard, None if voice is None else recording(voice, runs), mine.audio)
    sound, works = np.load(Path(order.sound), allow_pickle=False), []
    hop = round(order.hop_s * order.rate)
    for end in range(hop, sound.size + 1, hop):
        runs.clear()
        pipeline(sound[max(0, end - round(order.window_s * order.rate)) : end], order.rate, hop)
        works.append((list(runs), 1))
    return works


if __name__ == "__main__":
    serve(LimitOrder, prepare)
