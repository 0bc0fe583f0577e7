"""What each kind of process is told at its start: plain values that travel as JSON.

The supervisor makes them from config.yaml (bimodal/supervisor/processes.py). They import nothing heavy, so that neither
side pays for the other's libraries.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from bimodal.broker.messages import Policy
from bimodal.workers.audio.settings import AudioSettings
from bimodal.workers.face.settings import FaceSettings
from bimodal.workers.fusion.settings import FusionSettings
from bimodal.workers.view.settings import VisitorSettings


class BrokerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`events`: further addresses of the event bus; `workers`: where workers on other machines connect."""

    events: tuple[str, ...] = ()
    workers: tuple[str, ...] = ()


class RuntimeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How ONNX Runtime runs in a worker.

    Attributes:
        provider: execution provider.
        threads: of a session.
        spinning: whether idle threads spin.
        max_batch, max_wait_ms: jobs at a time, and how long they are collected; None: as suits the provider.
        gpus: how many there are to share out; gpu_memory_mb: what a model may take of one, None for all.
        cuda_graph: whether runs are captured.
    """

    provider: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = 1
    spinning: bool = False
    max_batch: int | None = None
    max_wait_ms: float | None = None
    gpus: int = 0
    gpu_memory_mb: int | None = None
    cuda_graph: Literal["auto", "off"] = "auto"


class FaceActorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Paths of a face worker's artifacts; several static ones are averaged."""

    detector: str
    landmarks: str
    static: tuple[str, ...]
    runtime: RuntimeSettings
    face: FaceSettings


class AudioActorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Paths of an audio worker's artifacts; `window_s` is what capture cuts."""

    speech: str
    voice_activity: str | None
    window_s: float
    runtime: RuntimeSettings
    audio: AudioSettings


class FusionActorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`dynamic` is the path of the dynamic artifact, None where there is none; `static`, the
    first of the static ones, tells its space; `learned` that of the fusion artifact, where the strategy is that."""

    dynamic: str | None
    static: str
    runtime: RuntimeSettings
    fusion: FusionSettings
    learned: str | None = None


class RecordActorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where recordings go.

    Attributes:
        folder: of the results of files, and the session folder of live streams (docs/recordings.md).
        split_s: seconds of the stream's own time in one part of a live stream's recording.
        sources: of the streams that are read from a file: its path.
        session: what is known of the whole session (bimodal/supervisor/provenance.py), as JSON-like values, which goes
            beside the results of each file; empty where it lies in the session folder already.
        retention_days: how long older sessions beside this one are kept; None for ever.
    """

    folder: str
    split_s: float = 3600.0
    sources: dict[str, str] = {}
    session: dict[str, object] = {}
    retention_days: float | None = None


class WindowActorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The window on the desk: whether faces are shown or hidden, and whether latency is."""

    faces: Literal["show", "hide"] = "show"
    latency: bool = False


class FilmActorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Films of the live streams.

    Attributes:
        folder: the session folder (docs/recordings.md).
        split_s: seconds of the stream's own time in one film.
        annotated: whether what was seen is drawn into the pictures.
        faces: `hide` films boxes on a plain ground.
        min_free_mb: no film is written where the disk has less room than that.
    """

    folder: str
    split_s: float = 3600.0
    annotated: bool = True
    faces: Literal["show", "hide"] = "show"
    min_free_mb: int = 1000


class ViewActorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The live page: where it is served, who may see it, and what of it.

    Attributes:
        port: where to begin to look for a free one; 0 takes any.
        token: what a visitor must know; None on loopback only.
        tls_certificate, tls_key: paths of PEM files, both or neither.
        faces: "hide" sends boxes without video.
        origins: of other sites whose pages may read events.
        visitors, visitor_streams: which streams visitors' browsers may be, and within which limits.
    """

    host: str = "127.0.0.1"
    port: int = 8484
    token: str | None = None
    tls_certificate: str | None = None
    tls_key: str | None = None
    faces: Literal["show", "hide"] = "show"
    origins: tuple[str, ...] = ()
    visitors: VisitorSettings = VisitorSettings()
    visitor_streams: tuple[str, ...] = ()


class LslActorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The streams that recorders find from the start; `machine_only`: not announced to other machines."""

    streams: tuple[str, ...] = ()
    machine_only: bool = False


class ReplaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is played back: a path that recordings/reading.py understands; how fast; whether for ever."""

    recording: str
    speed: float = 1.0
    loop: bool = False


class CaptureSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One stream and its source.

    Attributes:
        auto, camera, microphone, url, file, browser: the source, as in config.yaml.
        loop: begin a file again at its end, for ever.
        policy: `every` for files that are analysed, `latest` for what is live.
        realtime: play a file at its own pace.
        max_height: higher pictures are scaled down to it.
        memory_mb: what the stream's shared slots may take.
        hop_s, window_s: how sound is cut into windows.
        speech: whether anyone listens; without a speech model no sound is read.
    """

    stream: str
    auto: bool = False
    camera: int | str | None = None
    microphone: int | str | None = None
    url: str | None = None
    file: str | None = None
    loop: bool = False
    browser: bool = False
    policy: Policy
    realtime: bool
    max_height: int
    memory_mb: int
    hop_s: float
    window_s: float
    speech: bool

    @property
    def ends(self) -> bool:
        """Whether the source is over some time: a file that is not looped."""
        return self.file is not None and not self.loop
