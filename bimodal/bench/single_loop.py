"""One process that does everything in a loop, as demos do (`python -m bench.single_loop`): the product's own code for
faces, speech and fusion, one after another, without a queue."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from bimodal.bench.loop_models import face_models, speech_models
from bimodal.bench.looping import serve
from bimodal.broker.events import Emotion
from bimodal.broker.messages import FaceResult, SpeechResult, StreamOpened
from bimodal.workers.audio.pipeline import SpeechPipeline
from bimodal.workers.face.actor import face_message
from bimodal.workers.face.pipeline import FacePipeline
from bimodal.workers.fusion.actor import load
from bimodal.workers.fusion.streams import Fusion
from bimodal.workers.settings import AudioActorSettings, FaceActorSettings, FusionActorSettings

STREAM = "bench"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What the loop works with.

    Attributes:
        frames: a .npy file, uint8 [N, H, W, 3] RGB.
        sound: a .npy file, float32 [samples] mono, None for a stream without sound.
        rate: of the sound, in Hz.
        fps: of the frames, which says when a speech window is due.
        hop_s, window_s: how sound is cut.
        face, audio, fusion: what the workers of the system are told; `audio` None where nobody listens.
        opencv_threads: 0 for as many as OpenCV takes by itself.
    """

    frames: str
    sound: str | None
    rate: int
    fps: float
    hop_s: float
    window_s: float
    face: FaceActorSettings
    audio: AudioActorSettings | None
    fusion: FusionActorSettings
    opencv_threads: int


class Everything:
    """Frames and sound in, events out. The frames are looked at again and again, on a time line that goes on."""

    def __init__(self, order: Order) -> None:
        self._order = order
        if order.opencv_threads:
            cv2.setNumThreads(order.opencv_threads)
        self._frames: NDArray[np.uint8] = np.load(Path(order.frames), mmap_mode="r", allow_pickle=False)
        self._sound = None if order.sound is None else np.load(Path(order.sound), allow_pickle=False)
        detector, landmarks, static = face_models(order.face)
        self._see = FacePipeline(detector, landmarks, static, order.face.face)
        # Fusion feeds embeddings to a dynamic model only where they come from the static model that it knows.
        self._models = {"face-static": "+".join(artifact.identity for artifact in static)}
        self._hear = None
        if order.audio is not None and self._sound is not None:
            self._hear = SpeechPipeline(*speech_models(order.audio), order.audio.audio)
        loaded = load(order.fusion)
        self._fusion = Fusion(loaded.settings.fusion, loaded.dynamic, loaded.learned)
        self._seq = self.hops = 0
        self.events = 0
        self._tell(
            StreamOpened(
                stream=STREAM,
                run=1,
                policy="every",
                source=order.frames,
                has_picture=True,
                has_sound=self._hear is not None,
                hop_ns=round(order.hop_s * 1e9),
            )
        )

    def look(self) -> int:
        """The next frame, and the speech window that ends before it, if one does: how many faces there are."""
        grab_ns = time.monotonic_ns()
        pts_ns = round(self._seq / self._order.fps * 1e9)
        if self._hear is not None and pts_ns >= (self.hops + 1) * self._order.hop_s * 1e9:
            self._listen(self._hear, grab_ns)
        frame = self._frames[self._seq % len(self._frames)]
        found, _ = self._see.look(frame, self._seq, None)
        self._tell(
            FaceResult(
                number=1,
                stream=STREAM,
                run=1,
                seq=self._seq,
                pts_ns=pts_ns,
                grab_ns=grab_ns,
                faces=tuple(map(face_message, found)),
                queue_ns=0,
                inference_ns=time.monotonic_ns() - grab_ns,
                models=self._models,
            )
        )
        self._seq += 1
        return len(found)

    def _listen(self, hear: SpeechPipeline, grab_ns: int) -> None:
        assert self._sound is not None
        fresh = round(self._order.hop_s * self._order.rate)
        self.hops += 1
        end = fresh + (self.hops * fresh) % max(1, self._sound.size - fresh)
        window = self._sound[max(0, end - round(self._order.window_s * self._order.rate)) : end]
        reading = hear(window, self._order.rate, fresh)
        self._tell(
            SpeechResult(
                number=1,
                stream=STREAM,
                run=1,
                seq=self.hops - 1,
                pts_ns=round(self.hops * self._order.hop_s * 1e9),
                grab_ns=grab_ns,
                voice=reading.voice,
                probabilities=reading.probabilities,
                because=reading.because,
            )
        )

    def _tell(self, message: Any) -> None:
        self.events += sum(isinstance(event, Emotion) for event in self._fusion.receive(message, time.monotonic_ns()))


def prepare(order: Order) -> Callable[[], int]:
    """What looks at one frame."""
    return Everything(order).look


if __name__ == "__main__":
    serve(Order, prepare)
