"""config.yaml as one typed Struct. What the keys mean stands in config.yaml itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from bimodal.broker.messages import MOST_AT_A_TIME
from bimodal.values import Forms, WrongValueError, truth
from bimodal.workers.audio.settings import AudioSettings
from bimodal.workers.face.settings import FaceSettings
from bimodal.workers.fusion.settings import FusionSettings
from bimodal.workers.view.settings import VisitorSettings, is_loopback

# `models`, `runtime` and `workers`: what looks and listens, and with how much of the machine.


Ensemble = Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=8)]


class ModelsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """A catalog name, a path to an .onnx, or none where the kind may be missing; several static ones are averaged."""

    face_detector: str = "blazeface-short"
    face_landmarks: str = "facemesh-468"
    face_static: Ensemble = ("face-compact",)
    face_dynamic: str = "none"
    speech: str = "speech-voice"
    voice_activity: str = "silero-vad"
    fusion: str = "none"

    def __post_init__(self) -> None:
        static = {f"face-static.{number}": name for number, name in enumerate(self.face_static)}
        needed = {"face-detector": self.face_detector, "face-landmarks": self.face_landmarks, **static}
        for place, name in needed.items():
            if name in ("none", ""):
                missing = "only face-dynamic, speech, voice-activity and fusion may be none"
                raise WrongValueError(f"must name a model: {missing}", place)
        if len(set(self.face_static)) < len(self.face_static):
            raise WrongValueError("names the same model twice", "face-static")


Number = Annotated[int, msgspec.Meta(ge=1, le=256)]


class RuntimeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How ONNX Runtime runs in every worker."""

    provider: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Literal["auto"] | Number = 1
    spinning: bool = False
    max_batch: Literal["auto"] | Annotated[int, msgspec.Meta(ge=1, le=MOST_AT_A_TIME)] = "auto"
    max_wait_ms: Literal["auto"] | Annotated[float, msgspec.Meta(ge=0, le=1000)] = "auto"
    gpu_memory_mb: Annotated[int, msgspec.Meta(ge=64)] | None = None
    cuda_graph: Literal["auto", "off"] = "auto"


class Between(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A number of processes that follows the load."""

    min: Number = 1
    max: Number

    def __post_init__(self) -> None:
        if self.min > self.max:
            raise ValueError("'min' is more than 'max'")


class CountConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many processes of one kind, and the cores they may run on (None: all)."""

    count: Literal["auto"] | Number | Between = "auto"
    cores: Annotated[tuple[Annotated[int, msgspec.Meta(ge=0)], ...], msgspec.Meta(min_length=1)] | None = None


class WorkersConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many workers, and the private memory that each process of the system may take, in MiB."""

    face: CountConfig = CountConfig()
    audio: CountConfig = CountConfig(count=1)
    max_memory_mb: Literal["auto"] | Annotated[int, msgspec.Meta(ge=1)] | None = "auto"


# `outputs`: the live page, the window, recordings, and further addresses.


class RecordConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Recordings of the live streams; docs/recordings.md says what lies where. A plain folder is the short form."""

    folder: Path
    split_minutes: Annotated[float, msgspec.Meta(gt=0, le=1440)] = 60.0
    retention_days: Annotated[float, msgspec.Meta(gt=0)] | None = None
    video: bool = False
    annotated: bool = True
    faces: Literal["show", "hide"] = "show"
    min_free_mb: Annotated[int, msgspec.Meta(ge=10)] = 1000


def _record_section(value: Any) -> Any:
    match value:
        case dict() | None:
            return value
        case False:
            return None
        case str():
            return {"folder": value}
        case _:
            raise ValueError("must be a folder, or a section with the key 'folder'")


class ViewConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The live page; docs/view.md. `true`, `false`, a port, or "host:port" are short forms."""

    enabled: bool = True
    host: Annotated[str, msgspec.Meta(min_length=1, max_length=253)] = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8484
    token: Annotated[str, msgspec.Meta(min_length=16, max_length=256)] | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    faces: Literal["show", "hide"] = "show"
    origins: tuple[Annotated[str, msgspec.Meta(pattern=r"^https?://[^/\s]+/?$")], ...] = ()
    visitors: VisitorSettings = VisitorSettings()

    def __post_init__(self) -> None:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("'tls_certificate' and 'tls_key' go together")
        if self.enabled and self.token is None and not is_loopback(self.host):
            raise ValueError(
                f"host '{self.host}' is reachable from other machines and needs a 'token' of at least 16 characters"
            )


def _view_section(value: Any) -> Any:
    match value := truth(value):
        case dict():
            return value
        case None | False:
            return {"enabled": False}
        case True:
            return {}
        case int():
            return {"port": value}
        case str():
            host, _, port = value.rpartition(":")
            with_port = bool(host) and port.isdigit() and (":" not in host or host.endswith("]"))
            return {"host": host.strip("[]"), "port": int(port)} if with_port else {"host": value.strip("[]")}
        case _:
            raise ValueError("must be true, false, a port, 'HOST:PORT', or a section of keys and values")


class WindowConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The window on the desk. `true` and `false` are short forms."""

    enabled: bool = True
    faces: Literal["show", "hide"] = "show"
    latency: bool = True


def _window_section(value: Any) -> Any:
    match value := truth(value):
        case dict():
            return value
        case bool():
            return {"enabled": value}
        case _:
            raise ValueError("must be true, false, or a section of keys and values")


class OutputsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What leaves the system beside the event bus of the session."""

    view: ViewConfig = ViewConfig()
    window: WindowConfig = WindowConfig(enabled=False)
    record: RecordConfig | None = None
    events: tuple[str, ...] = ()
    lsl: bool | Literal["machine"] = False


# `streams`: what to watch and listen to.


ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def _is_stream_name(name: str) -> bool:
    strange = any(c in "/\\\0" or not c.isprintable() for c in name)
    return 0 < len(name) <= 64 and not name.startswith(".") and not strange


class StreamConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stream: `auto`, or a camera and/or a microphone, or a url, or a file, or visitors' browsers."""

    auto: bool = False
    camera: int | str | None = None
    microphone: int | str | None = None
    url: str | None = None
    file: Path | None = None
    loop: bool = False
    browser: bool = False

    def __post_init__(self) -> None:
        devices = self.camera is not None or self.microphone is not None
        sources = [self.auto, devices, self.url is not None, self.file is not None, self.browser]
        if sum(sources) != 1:
            raise ValueError(
                "needs exactly one source: 'auto', 'camera' and/or 'microphone', 'url', 'file', or 'browser'"
            )
        if self.loop and self.file is None:
            raise ValueError("'loop' goes with 'file' only")
        if ":/" in str(self.camera) or (self.file is not None and ADDRESS.match(str(self.file))):
            # As a file's or a device's name its password would be shown.
            raise ValueError("an address goes under 'url'")


class CaptureConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How sources are read."""

    max_height: Annotated[int, msgspec.Meta(ge=64, le=8640)] = 720
    memory_mb: Annotated[int, msgspec.Meta(ge=1, le=65536)] = 64
    hop_s: Annotated[float, msgspec.Meta(ge=0.1, le=10)] = 0.5
    window_s: Annotated[float, msgspec.Meta(ge=0.5, le=30)] = 4.0


class NetworkConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What other machines may bring in."""

    workers: tuple[str, ...] = ()


class LogConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the log goes, and how much of it."""

    file: Path | None = None
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of config.yaml."""

    streams: dict[str, StreamConfig] = msgspec.field(default_factory=lambda: {"desk": StreamConfig(auto=True)})
    models: ModelsConfig = ModelsConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    workers: WorkersConfig = WorkersConfig()
    capture: CaptureConfig = CaptureConfig()
    face: FaceSettings = FaceSettings()
    audio: AudioSettings = AudioSettings()
    fusion: FusionSettings = FusionSettings()
    outputs: OutputsConfig = OutputsConfig()
    network: NetworkConfig = NetworkConfig()
    log: LogConfig = LogConfig()

    def __post_init__(self) -> None:
        if not self.streams:
            raise ValueError("'streams' names no stream")
        for name in self.streams:
            if not _is_stream_name(name):
                raise WrongValueError(
                    "a stream's name is 1 to 64 printable characters without slashes", "streams", name
                )
        if self.fusion.strategy == "learned" and self.models.fusion == "none":
            raise ValueError(
                "fusion.strategy 'learned' needs a model: set 'models.fusion', to fusion-learned for example"
            )


SHORT_FORMS: Forms = {
    Ensemble: lambda value: [value] if isinstance(value, str) else value,
    ViewConfig: _view_section,
    WindowConfig: _window_section,
    RecordConfig: _record_section,
}
