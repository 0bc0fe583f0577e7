"""Input and settings of the bench's loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from bimodal.config import Config
from bimodal.supervisor.processes import ProcessSpec, processes
from bimodal.workers.settings import AudioActorSettings, FaceActorSettings, FusionActorSettings

_T = TypeVar("_T")
_S = TypeVar("_S", FaceActorSettings, AudioActorSettings, FusionActorSettings)


class LoopInput(msgspec.Struct, frozen=True, kw_only=True):
    """The frames and sound that a loop processes.

    Attributes:
        frames: a .npy file, uint8 [N, H, W, 3] RGB, `fps` of them a second.
        sound: a .npy file, float32 [samples] mono at `rate` Hz; None without sound.
    """

    frames: Path
    fps: float
    sound: Path | None = None
    rate: int = 0


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Input and settings of a loop.

    Attributes:
        frames: a .npy file, uint8 [N, H, W, 3] RGB.
        sound: a .npy file, float32 [samples] mono; None without sound.
        rate: of the sound, in Hz.
        fps: of the frames; it determines when a speech window is due.
        hop_s, window_s: how sound is cut.
        face, audio, fusion: settings of the workers; `audio` is None without a speech model.
        opencv_threads: 0 for OpenCV's default.
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


def order_of(config: Config, inputs: LoopInput, *, threads: int, spinning: bool, opencv_threads: int) -> Order:
    """Make the order of a loop with the config's models and settings. Raises CatalogError if a model is unknown."""
    rows = processes(config, record=None, counts={"face": 1, "audio": 1})
    face, audio = _settings_of(rows, FaceActorSettings), _settings_of(rows, AudioActorSettings)
    fusion = _settings_of(rows, FusionActorSettings)
    runtime = {"threads": threads, "spinning": spinning}
    return Order(
        frames=str(inputs.frames),
        sound=None if inputs.sound is None else str(inputs.sound),
        rate=inputs.rate,
        fps=inputs.fps,
        hop_s=config.capture.hop_s,
        window_s=config.capture.window_s,
        face=_running(face[0], runtime),
        audio=_running(audio[0], runtime) if audio else None,
        fusion=_running(fusion[0], runtime),
        opencv_threads=opencv_threads,
    )


def _settings_of(rows: Sequence[ProcessSpec], kind: type[_T]) -> list[_T]:
    return [row.settings for row in rows if isinstance(row.settings, kind)]


def _running(settings: _S, runtime: Mapping[str, Any]) -> _S:
    """A worker's settings with other settings of ONNX Runtime."""
    return msgspec.structs.replace(settings, runtime=msgspec.structs.replace(settings.runtime, **runtime))
