"""config.yaml as one typed Struct. config.yaml itself explains the keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from bimodal.drawing.marks import Marks
from bimodal.models.catalog import DEFAULTS
from bimodal.models.emotions import EMOTIONS, wrong_names
from bimodal.values import Forms, WrongValueError, truth
from bimodal.workers.audio.settings import AudioSettings
from bimodal.workers.capture.settings import CaptureSettings, StreamSettings
from bimodal.workers.face.settings import FaceSettings
from bimodal.workers.fusion.settings import MEAN, Ensemble, FusionSettings
from bimodal.workers.http_api.settings import ApiSettings
from bimodal.workers.output_settings import MqttSettings, OscSettings, WebhookSettings
from bimodal.workers.settings import NetworkSettings, RecordSettings, RuntimeSettings, WindowSettings
from bimodal.workers.view.settings import ViewSettings

# The sections `models` and `workers`.

Several = Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=8)]


# A landmark model with irises, and a blendshape model.
Pair = tuple[str, str]
DETAILS: Pair = ("facemesh-478", "face-blendshapes")


class ModelsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """Models by kind: a catalog name, a path to an .onnx, or none for optional kinds.

    Several static ones, and several speech ones, become one by the rule `ensemble`, with relative `weights` by name.
    """

    face_detector: str = "yunet-n"
    face_landmarks: str = "facemesh-468"
    face_details: Literal["auto", "on", "none"] | Pair = "auto"
    face_static: Several = DEFAULTS["face-static"]
    face_dynamic: str = "none"
    speech: Several = DEFAULTS["speech"]
    voice_activity: str = "silero-vad"
    fusion: str = "none"
    ensemble: Literal["average", "product"] = "average"
    weights: dict[str, Annotated[float, msgspec.Meta(gt=0)]] = {}

    def __post_init__(self) -> None:
        static = {f"face-static.{number}": name for number, name in enumerate(self.face_static)}
        needed = {"face-detector": self.face_detector, "face-landmarks": self.face_landmarks, **static}
        for place, name in needed.items():
            if name in ("none", ""):
                missing = "only face-dynamic, speech, voice-activity and fusion may be none"
                raise WrongValueError(f"must name a model: {missing}", place)
        for place, names in (("face-static", self.face_static), ("speech", self.speech)):
            if len(set(names)) < len(names):
                raise WrongValueError("names the same model twice", place)
        if len(self.speech) > 1 and not {"none", ""}.isdisjoint(self.speech):
            raise WrongValueError("is none, or a list of models, but not both", "speech")
        strangers = [name for name in self.weights if name not in (*self.face_static, *self.speech)]
        if strangers:
            raise WrongValueError("names no model of face-static or speech", "weights", strangers[0])

    def joined(self, names: tuple[str, ...]) -> Ensemble:
        """The rule by which several models of a kind become one; the plain average for a single one."""
        if len(names) < 2:
            return MEAN
        weights = tuple(self.weights.get(name, 1.0) for name in names)
        return Ensemble(rule=self.ensemble, weights=() if len(set(weights)) == 1 else weights)

    @property
    def voices(self) -> tuple[str, ...]:
        """The speech models; empty where there is none."""
        return () if self.speech == ("none",) else self.speech


Number = Annotated[int, msgspec.Meta(ge=1, le=256)]
NumberOrNone = Annotated[int, msgspec.Meta(ge=0, le=256)]


class Between(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of a number of workers that follows the load."""

    min: Number = 1
    max: Number

    def __post_init__(self) -> None:
        if self.min > self.max:
            raise ValueError("'min' is more than 'max'")


class CountConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Number of workers of one kind, and the cores they may run on (None: all). 0: other machines do the work."""

    count: Literal["auto"] | NumberOrNone | Between = "auto"
    cores: Annotated[tuple[Annotated[int, msgspec.Meta(ge=0)], ...], msgspec.Meta(min_length=1)] | None = None


class WorkersConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Numbers of workers, and the limit of private memory of each process of the system, in MiB."""

    face: CountConfig = CountConfig()
    audio: CountConfig = CountConfig(count=1)
    max_memory_mb: Literal["auto"] | Annotated[int, msgspec.Meta(ge=1)] | None = "auto"


# The section `outputs`, and its short forms.


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


def _served_section(value: Any) -> Any:
    match value := truth(value):
        case dict():
            return value
        case None | False:
            return {"enabled": False}
        case True:
            return {"enabled": True}
        case int():
            return {"enabled": True, "port": value}
        case str():
            host, _, port = value.rpartition(":")
            with_port = bool(host) and port.isdigit() and (":" not in host or host.endswith("]"))
            place = {"host": host.strip("[]"), "port": int(port)} if with_port else {"host": value.strip("[]")}
            return {"enabled": True, **place}
        case _:
            raise ValueError("must be true, false, a port, 'HOST:PORT', or a section of keys and values")


def _window_section(value: Any) -> Any:
    match value := truth(value):
        case dict():
            return value
        case bool():
            return {"enabled": value}
        case _:
            raise ValueError("must be true, false, or a section of keys and values")


def _place_section(value: Any) -> Any:
    match value := truth(value):
        case dict():
            return value
        case None | False:
            return None
        case True:
            return {}
        case int():
            return {"port": value}
        case str() if value.isdigit():
            return {"port": int(value)}
        case str():
            host, _, port = value.rpartition(":")
            with_port = bool(host) and port.isdigit() and (":" not in host or host.endswith("]"))
            return {"host": host.strip("[]"), "port": int(port)} if with_port else {"host": value.strip("[]")}
        case _:
            raise ValueError("must be true, false, a port, 'HOST:PORT', or a section of keys and values")


def _webhook_section(value: Any) -> Any:
    match value := truth(value):
        case dict():
            return value
        case None | False:
            return None
        case str():
            return {"url": value}
        case _:
            raise ValueError("must be an address, or a section with the key 'url'")


class OutputsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Outputs of the system besides the event bus of the session."""

    view: ViewSettings = ViewSettings()
    api: ApiSettings = ApiSettings(enabled=False)
    window: WindowSettings = WindowSettings(enabled=False)
    record: RecordSettings | None = None
    events: tuple[str, ...] = ()
    lsl: bool | Literal["machine"] = False
    osc: OscSettings | None = None
    mqtt: MqttSettings | None = None
    webhook: WebhookSettings | None = None

    def __post_init__(self) -> None:
        if self.record is not None and self.record.begin == "by_button" and not self.view.enabled:
            raise ValueError("'record.begin' is by_button, but the page that has the button is off: 'view' is false")


def _is_stream_name(name: str) -> bool:
    strange = any(c in "/\\\0" or not c.isprintable() for c in name)
    return 0 < len(name) <= 64 and not name.startswith(".") and not strange


class LogConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """File (None: the default) and level of the log."""

    file: Path | None = None
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of config.yaml.

    `emotions` are the set that results are about; `categories` are further classes that count (auto: the models' own).
    """

    streams: dict[str, StreamSettings] = msgspec.field(default_factory=lambda: {"desk": StreamSettings(auto=True)})
    models: ModelsConfig = ModelsConfig()
    emotions: tuple[str, ...] = EMOTIONS
    categories: Literal["auto", "none"] | tuple[str, ...] = "auto"
    runtime: RuntimeSettings = RuntimeSettings()
    workers: WorkersConfig = WorkersConfig()
    capture: CaptureSettings = CaptureSettings()
    face: FaceSettings = FaceSettings()
    audio: AudioSettings = AudioSettings()
    fusion: FusionSettings = FusionSettings()
    outputs: OutputsConfig = OutputsConfig()
    network: NetworkSettings = NetworkSettings()
    log: LogConfig = LogConfig()

    def __post_init__(self) -> None:
        if not self.streams:
            raise ValueError("'streams' names no stream")
        for name in self.streams:
            if not _is_stream_name(name):
                raise WrongValueError(
                    "a stream's name is 1 to 64 printable characters without slashes", "streams", name
                )
        for kind in ("face", "audio"):
            if getattr(self.workers, kind).count == 0 and not self.network.workers:
                raise WrongValueError(
                    "0 leaves the work to other machines: set 'network.workers' to the address where they connect, "
                    "tcp://0.0.0.0:5656 for example",
                    *("workers", kind, "count"),
                )
        wrong = wrong_names(self.emotions)
        if wrong is not None:
            raise WrongValueError(wrong, "emotions")
        if not isinstance(self.categories, str):
            wrong = wrong_names(self.emotions, self.categories)
            if wrong is not None:
                raise WrongValueError(wrong, "categories")
        if self.fusion.strategy == "learned" and self.models.fusion == "none":
            raise ValueError(
                "fusion.strategy 'learned' needs a model: set 'models.fusion', to fusion-learned for example"
            )


SHORT_FORMS: Forms = {
    Several: lambda value: [value] if isinstance(value, str) else value,
    ViewSettings: _served_section,
    ApiSettings: _served_section,
    WindowSettings: _window_section,
    RecordSettings: _record_section,
    OscSettings: _place_section,
    MqttSettings: _place_section,
    WebhookSettings: _webhook_section,
    Marks: lambda value: [value] if isinstance(value, str) else value,
}
