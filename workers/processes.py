"""The table of all processes: which there are, what each needs, and what it is told. Read it top to bottom."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec

from broker.messages import Modality, Policy
from broker.messages import Role as ActorRole
from models.catalog import resolve
from workers.config import Config
from workers.settings import (
    AudioActorSettings,
    BrokerSettings,
    CaptureSettings,
    FaceActorSettings,
    FusionActorSettings,
    LslActorSettings,
    RecordActorSettings,
    RuntimeSettings,
    ViewActorSettings,
)

Role = Literal["broker", "face", "audio", "fusion", "record", "view", "lsl", "capture"]

# What each role is to the broker, its module, and which roles must be ready before it starts. Capture does not wait
# for workers: its jobs do. It waits for those who would miss the beginning of a stream.
TABLE: dict[Role, tuple[ActorRole, str, tuple[Role, ...]]] = {
    "broker": ("supervisor", "workers.broker", ()),
    "face": ("worker", "workers.face", ()),
    "audio": ("worker", "workers.audio", ()),
    "fusion": ("fusion", "workers.fusion", ()),
    "record": ("recorder", "workers.record", ()),
    "view": ("observer", "workers.view", ()),
    "lsl": ("observer", "workers.lsl", ()),
    "capture": ("capture", "workers.capture", ("broker", "fusion", "record")),
}


class ProcessSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One process: a row made from the table and the config.

    Attributes:
        name: its title, unique in the session.
        settings: what its kind of actor is told.
        ends: whether it may end by itself when its work is done (a file); anything else is started again.
    """

    name: str
    role: Role
    settings: msgspec.Struct
    modality: Modality | None = None
    ends: bool = False

    @property
    def module(self) -> str:
        """The module that is run."""
        return TABLE[self.role][1]

    @property
    def actor_role(self) -> ActorRole:
        """What the process is to the broker."""
        return TABLE[self.role][0]

    @property
    def needs(self) -> tuple[Role, ...]:
        """The roles of which one process each must be ready first."""
        return TABLE[self.role][2]


def processes(config: Config, *, record: RecordActorSettings | None) -> list[ProcessSpec]:
    """Every process but the sources. Raises CatalogError where a model's name is unknown."""
    rows = [ProcessSpec(name="broker", role="broker", settings=BrokerSettings(events=config.outputs.events))]
    rows += face_workers(config)
    rows += audio_workers(config)
    rows.append(ProcessSpec(name="fusion", role="fusion", settings=_fusion(config)))
    if record is not None:
        rows.append(ProcessSpec(name="record", role="record", settings=record))
    return rows


def face_workers(config: Config) -> list[ProcessSpec]:
    """The face workers; one a core where the config says `auto`."""
    count = config.workers.face.count
    settings = FaceActorSettings(
        detector=str(resolve(config.models.face_detector)),
        landmarks=str(resolve(config.models.face_landmarks)),
        static=tuple(str(resolve(name)) for name in config.models.face_static),
        runtime=_runtime(config),
        face=config.face,
    )
    return [
        ProcessSpec(name=f"face {number}", role="face", modality="face", settings=settings)
        for number in range(1, (cores() if count == "auto" else count) + 1)
    ]


def audio_workers(config: Config) -> list[ProcessSpec]:
    """The audio workers; none where the config has no speech model."""
    if config.models.speech == "none":
        return []
    count = config.workers.audio.count
    settings = AudioActorSettings(
        speech=str(resolve(config.models.speech)),
        voice_activity=_optional(config.models.voice_activity),
        window_s=config.capture.window_s,
        runtime=_runtime(config),
        audio=config.audio,
    )
    return [
        ProcessSpec(name=f"audio {number}", role="audio", modality="speech", settings=settings)
        for number in range(1, (1 if count == "auto" else count) + 1)
    ]


def lsl(config: Config) -> list[ProcessSpec]:
    """Events as streams of the Lab Streaming Layer, where the config wants them."""
    wanted = config.outputs.lsl
    if not wanted:
        return []
    settings = LslActorSettings(streams=tuple(config.streams), machine_only=wanted == "machine")
    return [ProcessSpec(name="lsl", role="lsl", settings=settings)]


def source(stream: str, settings: CaptureSettings) -> ProcessSpec:
    """The capture process of one stream."""
    return ProcessSpec(name=f"capture {stream}", role="capture", settings=settings, ends=settings.ends)


def view(config: Config) -> list[ProcessSpec]:
    """The live page, where the config wants it."""
    wanted = config.outputs.view
    if not wanted.enabled:
        return []
    settings = ViewActorSettings(
        host=wanted.host,
        port=wanted.port,
        token=wanted.token,
        tls_certificate=str(wanted.tls_certificate.absolute()) if wanted.tls_certificate else None,
        tls_key=str(wanted.tls_key.absolute()) if wanted.tls_key else None,
        faces=wanted.faces,
    )
    return [ProcessSpec(name="view", role="view", settings=settings)]


def live_sources(config: Config) -> list[ProcessSpec]:
    """The capture processes of config.yaml's streams, policy `latest`."""
    rows = []
    for name, stream in config.streams.items():
        settings = capture_settings(config, name, policy="latest", realtime=True)
        rows.append(
            source(
                name,
                msgspec.structs.replace(
                    settings,
                    auto=stream.auto,
                    camera=stream.camera,
                    microphone=stream.microphone,
                    url=stream.url,
                    file=str(stream.file) if stream.file is not None else None,
                    loop=stream.loop,
                    browser=stream.browser,
                ),
            )
        )
    return rows


def capture_settings(
    config: Config, stream: str, *, policy: Policy, realtime: bool, file: Path | None = None
) -> CaptureSettings:
    """What a capture process is told about a stream, its source but for a file left open."""
    return CaptureSettings(
        stream=stream,
        policy=policy,
        realtime=realtime,
        file=str(file) if file is not None else None,
        max_height=config.capture.max_height,
        memory_mb=config.capture.memory_mb,
        hop_s=config.capture.hop_s,
        window_s=config.capture.window_s,
        speech=config.models.speech != "none",
    )


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _fusion(config: Config) -> FusionActorSettings:
    return FusionActorSettings(
        dynamic=_optional(config.models.face_dynamic),
        static=str(resolve(config.models.face_static[0])),
        runtime=_runtime(config),
        fusion=config.fusion,
    )


def _optional(name: str) -> str | None:
    return None if name == "none" else str(resolve(name))


def _runtime(config: Config) -> RuntimeSettings:
    runtime = config.runtime
    return RuntimeSettings(provider=runtime.provider, threads=runtime.threads, spinning=runtime.spinning)
