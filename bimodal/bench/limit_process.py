"""Bare ONNX Runtime (`python -m bimodal.bench.limit_process`): the very runs that frames or windows take, and nothing
around."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import msgspec
import numpy as np

from bimodal.bench.loops import serve
from bimodal.doctor.sizing_process import Run, noting, runs_of
from bimodal.workers.audio.actor import open_models as open_speech_models
from bimodal.workers.audio.pipeline import SpeechPipeline
from bimodal.workers.face.actor import open_models as open_face_models
from bimodal.workers.settings import AudioActorSettings, FaceActorSettings

WORKER = "bench 1"
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
    detector, landmarks, static = open_face_models(mine, WORKER)
    assert order.frames is not None
    pictures = np.load(Path(order.frames), mmap_mode="r", allow_pickle=False)[::10]
    works = [runs_of(np.ascontiguousarray(picture), detector, landmarks, static, mine.face) for picture in pictures]
    return [(runs, sum(len(run.inputs["faces"]) for run in runs if run.artifact is static[0])) for runs in works]


def _windows(order: LimitOrder) -> Sequence[Work]:
    """The work of a few windows: voice activity and the speech model."""
    assert order.audio is not None
    assert order.sound is not None
    mine, runs = order.audio, list[Run]()
    speech, voice = open_speech_models(mine, WORKER)
    hear = SpeechPipeline(noting(speech, runs), None if voice is None else noting(voice, runs), mine.audio)
    sound, works = np.load(Path(order.sound), allow_pickle=False), []
    hop = round(order.hop_s * order.rate)
    for end in range(hop, sound.size + 1, hop):
        runs.clear()
        hear(sound[max(0, end - round(order.window_s * order.rate)) : end], order.rate, hop)
        works.append((list(runs), 1))
    return works


if __name__ == "__main__":
    serve(LimitOrder, prepare)
