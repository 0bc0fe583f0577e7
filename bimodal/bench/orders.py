"""What a loop of the bench looks at, listens to and works with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from bimodal.config import Config
from bimodal.supervisor.processes import ProcessSpec, Wanted, processes
from bimodal.workers.settings import AudioActorSettings, FaceActorSettings, FusionActorSettings

_T = TypeVar("_T")
_S = TypeVar("_S", FaceActorSettings, AudioActorSettings, FusionActorSettings)


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What the loops look at, and listen to.

    Attributes:
        frames: a .npy file, uint8 [N, H, W, 3] RGB, `fps` of them a second.
        sound: a .npy file, float32 [samples] mono at `rate` Hz; None for a stream without sound.
    """

    frames: Path
    fps: float
    sound: Path | None = None
    rate: int = 0


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


def order_of(config: Config, heard: Heard, *, threads: int, spinning: bool, opencv_threads: int) -> Order:
    """What a loop with the config's models and settings is told; raises CatalogError where a model is unknown."""
    rows = processes(Wanted(config))
    face, audio = _told(rows, FaceActorSettings), _told(rows, AudioActorSettings)
    fusion = _told(rows, FusionActorSettings)
    runtime = {"threads": threads, "spinning": spinning}
    return Order(
        frames=str(heard.frames),
        sound=None if heard.sound is None else str(heard.sound),
        rate=heard.rate,
        fps=heard.fps,
        hop_s=config.capture.hop_s,
        window_s=config.capture.window_s,
        face=_running(face[0], runtime),
        audio=_running(audio[0], runtime) if audio else None,
        fusion=_running(fusion[0], runtime),
        opencv_threads=opencv_threads,
    )


def _told(rows: Sequence[ProcessSpec], kind: type[_T]) -> list[_T]:
    return [row.settings for row in rows if isinstance(row.settings, kind)]


def _running(settings: _S, runtime: Mapping[str, Any]) -> _S:
    """What a worker is told, with ONNX Runtime running otherwise."""
    return msgspec.structs.replace(settings, runtime=msgspec.structs.replace(settings.runtime, **runtime))
