"""config.yaml as one typed model. What the keys mean stands in config.yaml itself."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, model_validator

from bimodal.broker.messages import MOST_AT_A_TIME
from bimodal.workers.audio.settings import AudioSettings
from bimodal.workers.face.settings import FaceSettings
from bimodal.workers.fusion.settings import FusionSettings
from bimodal.workers.view.settings import VisitorSettings, is_loopback

# What every section of config.yaml is: typed, and closed to unknown keys.


_S = TypeVar("_S", bound=msgspec.Struct)


class Section(BaseModel):
    """A part of config.yaml: unknown keys are refused, and so are values of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


def struct_section(kind: type[_S]) -> PlainValidator:
    """Validates a section whose keys are the fields of an actor's own settings."""

    def convert(value: Any) -> _S:
        if isinstance(value, kind):
            return value
        if value is not None and not isinstance(value, dict):
            raise ValueError("must be a section of keys and values")
        for key in value or {}:
            if key not in kind.__struct_fields__:
                raise ValueError(unknown_key(str(key), kind.__struct_fields__))
        return msgspec.convert(value or {}, kind)

    return PlainValidator(convert)


def unknown_key(key: str, known: tuple[str, ...] | list[str]) -> str:
    """What is said of a key that is none of `known`."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
    return f"unknown key '{key}'; {hint}"


# `models`, `runtime` and `workers`: what looks and listens, and with how much of the machine.


def _some_model(name: str) -> str:
    if name in ("none", ""):
        raise ValueError("must name a model: only face-dynamic, speech, voice-activity and fusion may be none")
    return name


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _no_model_twice(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("names the same model twice")
    return names


Model = Annotated[str, AfterValidator(_some_model)]
Ensemble = Annotated[tuple[Model, ...], BeforeValidator(_as_list), AfterValidator(_no_model_twice)]


class ModelsConfig(Section):
    """A catalog name, a path to an .onnx, or none where the kind may be missing; several static ones are averaged."""

    face_detector: Model = Field("blazeface-short", alias="face-detector")
    face_landmarks: Model = Field("facemesh-468", alias="face-landmarks")
    face_static: Ensemble = Field(("face-compact",), alias="face-static", min_length=1, max_length=8)
    face_dynamic: str = Field("none", alias="face-dynamic")
    speech: str = "speech-voice"
    voice_activity: str = Field("silero-vad", alias="voice-activity")
    fusion: str = "none"


def _off(value: object) -> object:
    """YAML reads a plain `off` as false."""
    return "off" if value is False else value


class RuntimeConfig(Section):
    """How ONNX Runtime runs in every worker."""

    provider: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = 1
    spinning: bool = False
    max_batch: Annotated[int, Field(ge=1, le=MOST_AT_A_TIME)] | Literal["auto"] = "auto"
    max_wait_ms: Annotated[float, Field(ge=0, le=1000)] | Literal["auto"] = "auto"
    gpu_memory_mb: Annotated[int, Field(ge=64)] | None = None
    cuda_graph: Annotated[Literal["auto", "off"], BeforeValidator(_off)] = "auto"


class Between(Section):
    """A number of processes that follows the load."""

    min: Annotated[int, Field(ge=1, le=256)] = 1
    max: Annotated[int, Field(ge=1, le=256)]

    @model_validator(mode="after")
    def _in_order(self) -> Between:
        if self.min > self.max:
            raise ValueError("'min' is more than 'max'")
        return self


def _count(value: object) -> int | str | Between:
    if isinstance(value, dict):
        return Between.model_validate(value)
    if isinstance(value, Between) or value == "auto":
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 256:
        return value
    raise ValueError("must be 'auto', a number from 1 to 256, or {min: …, max: …}")


class CountConfig(Section):
    """How many processes of one kind, and the cores they may run on (None: all)."""

    count: Annotated[int | Literal["auto"] | Between, PlainValidator(_count)] = "auto"
    cores: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] | None = None


class WorkersConfig(Section):
    """How many workers, and the private memory that each process of the system may take, in MiB."""

    face: CountConfig = CountConfig()
    audio: CountConfig = CountConfig(count=1)
    max_memory_mb: Annotated[int, Field(ge=1)] | Literal["auto"] | None = "auto"


# `outputs`: the live page, the window, recordings, and further addresses.


class RecordConfig(Section):
    """Recordings of the live streams; docs/recordings.md says what lies where. A plain folder is the short form."""

    folder: Path
    split_minutes: float = Field(60.0, gt=0, le=1440)
    retention_days: float | None = Field(None, gt=0)
    video: bool = False
    annotated: bool = True
    faces: Literal["show", "hide"] = "show"
    min_free_mb: int = Field(1000, ge=10)


def _folder_only(value: object) -> object:
    if value is not None and not isinstance(value, str | Path | dict | RecordConfig):
        raise ValueError("must be a folder, or a section with the key 'folder'")
    return {"folder": value} if isinstance(value, str | Path) else value


class ViewConfig(Section):
    """The live page; docs/view.md. `true`, `false`, a port, or "host:port" are short forms."""

    enabled: bool = True
    host: str = Field("127.0.0.1", min_length=1, max_length=253)
    port: int = Field(8484, ge=0, le=65535)
    token: str | None = Field(None, min_length=16, max_length=256)
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    faces: Literal["show", "hide"] = "show"
    origins: tuple[Annotated[str, Field(pattern=r"^https?://[^/\s]+/?$")], ...] = ()
    visitors: Annotated[VisitorSettings, struct_section(VisitorSettings)] = VisitorSettings()

    @model_validator(mode="after")
    def _safe(self) -> ViewConfig:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("'tls_certificate' and 'tls_key' go together")
        if self.enabled and self.token is None and not is_loopback(self.host):
            raise ValueError(
                f"host '{self.host}' is reachable from other machines and needs a 'token' of at least 16 characters"
            )
        return self


def _view_section(value: object) -> object:
    match value:
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
            return value


class WindowConfig(Section):
    """The window on the desk. `true` and `false` are short forms."""

    enabled: bool = True
    faces: Literal["show", "hide"] = "show"
    latency: bool = True


def _window_section(value: object) -> object:
    return {"enabled": value} if isinstance(value, bool) else value


class OutputsConfig(Section):
    """What leaves the system beside the event bus of the session."""

    view: Annotated[ViewConfig, BeforeValidator(_view_section)] = ViewConfig()  # type: ignore[call-arg]
    window: Annotated[WindowConfig, BeforeValidator(_window_section)] = WindowConfig(enabled=False)
    record: Annotated[RecordConfig | None, BeforeValidator(_folder_only)] = None
    events: tuple[str, ...] = ()
    lsl: bool | Literal["machine"] = False


# `streams`: what to watch and listen to.


ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def _stream_name(name: str) -> str:
    if not name or len(name) > 64 or name.startswith(".") or any(c in "/\\\0" or not c.isprintable() for c in name):
        raise ValueError("a stream's name is 1 to 64 printable characters without slashes")
    return name


class StreamConfig(Section):
    """One stream: `auto`, or a camera and/or a microphone, or a url, or a file, or visitors' browsers."""

    auto: bool = False
    camera: int | str | None = None
    microphone: int | str | None = None
    url: str | None = None
    file: Path | None = None
    loop: bool = False
    browser: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> StreamConfig:
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
        return self


StreamName = Annotated[str, AfterValidator(_stream_name)]


class CaptureConfig(Section):
    """How sources are read."""

    max_height: int = Field(720, ge=64, le=8640)
    memory_mb: int = Field(64, ge=1, le=65536)
    hop_s: float = Field(0.5, ge=0.1, le=10)
    window_s: float = Field(4.0, ge=0.5, le=30)


class NetworkConfig(Section):
    """What other machines may bring in."""

    workers: tuple[str, ...] = ()


class LogConfig(Section):
    """Where the log goes, and how much of it."""

    file: Path | None = None
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class Config(Section):
    """All of config.yaml."""

    streams: dict[StreamName, StreamConfig] = Field(default={"desk": StreamConfig(auto=True)})
    models: ModelsConfig = ModelsConfig()  # type: ignore[call-arg]
    runtime: RuntimeConfig = RuntimeConfig()
    workers: WorkersConfig = WorkersConfig()
    capture: CaptureConfig = CaptureConfig()  # type: ignore[call-arg]
    face: Annotated[FaceSettings, struct_section(FaceSettings)] = FaceSettings()
    audio: Annotated[AudioSettings, struct_section(AudioSettings)] = AudioSettings()
    fusion: Annotated[FusionSettings, struct_section(FusionSettings)] = FusionSettings()
    outputs: OutputsConfig = OutputsConfig()
    network: NetworkConfig = NetworkConfig()
    log: LogConfig = LogConfig()

    @model_validator(mode="after")
    def _some_stream(self) -> Config:
        if not self.streams:
            raise ValueError("'streams' names no stream")
        return self

    @model_validator(mode="after")
    def _some_fusion_model(self) -> Config:
        if self.fusion.strategy == "learned" and self.models.fusion == "none":
            raise ValueError(
                "fusion.strategy 'learned' needs a model: set 'models.fusion', to fusion-learned for example"
            )
        return self
