"""`models`, `runtime` and `workers`: what looks and listens, and with how much of the machine."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, model_validator

from bimodal.broker.messages import MOST_AT_A_TIME
from bimodal.workers.config.section import Section


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
