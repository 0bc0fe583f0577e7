"""config.yaml as one typed model. What the keys mean stands in config.yaml itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from bimodal.workers.audio.settings import AudioSettings
from bimodal.workers.config.inference import ModelsConfig, RuntimeConfig, WorkersConfig
from bimodal.workers.config.outputs import OutputsConfig
from bimodal.workers.config.section import Section, struct_section
from bimodal.workers.config.streams import StreamConfig, StreamName
from bimodal.workers.face.settings import FaceSettings
from bimodal.workers.fusion.settings import FusionSettings


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
