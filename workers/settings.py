"""What each kind of process is told at its start: plain values that travel as JSON.

Sections of config.yaml go to their process whole: they are declared here and in */settings.py, and nowhere else. The
rest the supervisor works out (bimodal/supervisor/processes.py). They import nothing heavy, so that neither side pays
for the other's libraries.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from bimodal.broker.messages import MOST_AT_A_TIME, Policy
from bimodal.workers.audio.settings import AudioSettings
from bimodal.workers.capture.settings import CaptureSettings, StreamSettings
from bimodal.workers.face.settings import FaceSettings
from bimodal.workers.fusion.settings import FusionSettings
from bimodal.workers.view.settings import ViewSettings


class NetworkSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What other machines may bring in (`network` in config.yaml): `workers` are the addresses where theirs connect."""

    workers: tuple[str, ...] = ()


class BrokerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`events`: further addresses of the event bus."""

    events: tuple[str, ...] = ()
    network: NetworkSettings = NetworkSettings()


class RuntimeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How ONNX Runtime runs in every worker (`runtime` in config.yaml).

    Attributes:
        provider: execution provider.
        threads: of a session.
        spinning: whether idle threads spin.
        max_batch, max_wait_ms: jobs at a time, and how long they are collected; auto: as suits the provider.
        gpu_memory_mb: what a model may take of a GPU, None for all.
        cuda_graph: whether runs are captured.
    """

    provider: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Literal["auto"] | Annotated[int, msgspec.Meta(ge=1, le=256)] = 1
    spinning: bool = False
    max_batch: Literal["auto"] | Annotated[int, msgspec.Meta(ge=1, le=MOST_AT_A_TIME)] = "auto"
    max_wait_ms: Literal["auto"] | Annotated[float, msgspec.Meta(ge=0, le=1000)] = "auto"
    gpu_memory_mb: Annotated[int, msgspec.Meta(ge=64)] | None = None
    cuda_graph: Literal["auto", "off"] = "auto"


class WorkerRuntime(RuntimeSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section as one worker has it: how many threads, and how many GPUs there are to share out."""

    threads: int = 1
    gpus: int = 0


class FaceActorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Paths of a face worker's artifacts; several static ones are averaged."""

    detector: str
    landmarks: str
    static: tuple[str, ...]
    runtime: WorkerRuntime
    face: FaceSettings


class AudioActorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Paths of an audio worker's artifacts; `window_s` is what capture cuts."""

    speech: str
    voice_activity: str | None
    window_s: float
    runtime: WorkerRuntime
    audio: AudioSettings


class FusionActorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`dynamic` is the path of the dynamic artifact, None where there is none; `static`, the
    first of the static ones, tells its space; `learned` that of the fusion artifact, where the strategy is that."""

    dynamic: str | None
    static: str
    runtime: WorkerRuntime
    fusion: FusionSettings
    learned: str | None = None


class RecordSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Recordings of the live streams (`outputs.record` in config.yaml); docs/recordings.md says what lies where.

    Attributes:
        folder: where session folders are made; as the recorder and the films have it, the folder of the session.
        split_minutes: of the stream's own time in one part.
        retention_days: how long older sessions beside this one are kept; None for ever.
        video: whether films are written, with sound.
        annotated: whether what was seen is drawn into the pictures.
        faces: `hide` films boxes on a plain ground.
        min_free_mb: no film is written where the disk has less room than that.
    """

    folder: str
    split_minutes: Annotated[float, msgspec.Meta(gt=0, le=1440)] = 60.0
    retention_days: Annotated[float, msgspec.Meta(gt=0)] | None = None
    video: bool = False
    annotated: bool = True
    faces: Literal["show", "hide"] = "show"
    min_free_mb: Annotated[int, msgspec.Meta(ge=10)] = 1000


class RecordActorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where recordings go.

    Attributes:
        record: its folder is that of the results of files, or the session folder of live streams.
        sources: of the streams that are read from a file: its path.
        session: what is known of the whole session (bimodal/supervisor/provenance.py), as JSON-like values, which goes
            beside the results of each file; empty where it lies in the session folder already.
    """

    record: RecordSettings
    sources: dict[str, str] = {}
    session: dict[str, object] = {}


class WindowSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The window on the desk (`outputs.window` in config.yaml): whether faces are shown or hidden, and latency."""

    enabled: bool = True
    faces: Literal["show", "hide"] = "show"
    latency: bool = True


class ViewActorSettings(ViewSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section, and which streams visitors' browsers may be."""

    visitor_streams: tuple[str, ...] = ()


class LslActorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The streams that recorders find from the start; `lsl` as in config.yaml: "machine" announces them here only."""

    streams: tuple[str, ...] = ()
    lsl: bool | Literal["machine"] = True


class ReplaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is played back: a path that recordings/reading.py understands; how fast; whether for ever."""

    recording: str
    speed: float = 1.0
    loop: bool = False


class CaptureActorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One stream and how it is read.

    Attributes:
        policy: `every` for files that are analysed, `latest` for what is live.
        realtime: play a file at its own pace.
        speech: whether anyone listens; without a speech model no sound is read.
    """

    stream: str
    source: StreamSettings
    capture: CaptureSettings
    policy: Policy
    realtime: bool
    speech: bool
