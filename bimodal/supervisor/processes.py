"""The table of all kinds of processes: what runs each, what it needs, and how it changes. Read it top to bottom."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from bimodal.broker.messages import Modality, Policy
from bimodal.broker.messages import Role as ActorRole
from bimodal.config import Between, Config, CountConfig, WorkersConfig
from bimodal.models.catalog import resolve
from bimodal.models.cuda import usable_gpus
from bimodal.supervisor.usage import cores, machine_memory_mb
from bimodal.workers.capture.settings import StreamSettings
from bimodal.workers.errors import ConfigError
from bimodal.workers.settings import (
    AudioActorSettings,
    BrokerSettings,
    CaptureActorSettings,
    FaceActorSettings,
    FusionActorSettings,
    LslActorSettings,
    RecordActorSettings,
    ViewActorSettings,
    WorkerRuntime,
)

Role = Literal["broker", "face", "audio", "fusion", "record", "view", "window", "film", "lsl", "replay", "capture"]

# What each role is to the broker, its module, and which roles must be ready before it starts. Capture does not wait
# for workers: its jobs do. It waits for those who would miss the beginning of a stream.
TABLE: dict[Role, tuple[ActorRole, str, tuple[Role, ...]]] = {
    "broker": ("supervisor", "broker:main", ()),
    "face": ("worker", "face.actor:FaceActor", ()),
    "audio": ("worker", "audio.actor:AudioActor", ()),
    "fusion": ("fusion", "fusion.actor:FusionActor", ()),
    "record": ("recorder", "record:RecordActor", ()),
    "view": ("observer", "view.actor:ViewActor", ()),
    "window": ("observer", "window:WindowActor", ()),
    "film": ("observer", "film.actor:FilmActor", ()),
    "lsl": ("observer", "lsl:LslActor", ()),
    "replay": ("fusion", "replay:ReplayActor", ("broker",)),
    "capture": ("capture", "capture.actor:CaptureActor", ("broker", "fusion", "record")),
}

# How a row changes while the system runs (bimodal/supervisor/reconcile.py). Workers hold no state: new ones load
# beside the old. The broker and fusion hold the state of every stream: they are told. Every other process stops and
# is started again.
BESIDE: tuple[Role, ...] = ("face", "audio")
TOLD: tuple[Role, ...] = ("broker", "fusion")
# Where one of these can't work (no display, no room on the disk), it says so and everything else goes on.
OPTIONAL: tuple[Role, ...] = ("window", "film")


class ProcessSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One process: a row made from the table and the config.

    Attributes:
        name: its title, unique in the session.
        settings: what its kind of actor is told.
        ends: whether it may end by itself when its work is done (a file); anything else is started again.
        artifacts: marks of the files it loads, so that a file replaced under the same name makes another row.
        cores: the only ones it may run on; empty for all.
        max_memory_mb: private memory beyond which it is started again, None without limit.
    """

    name: str
    role: Role
    settings: msgspec.Struct
    modality: Modality | None = None
    ends: bool = False
    artifacts: tuple[str, ...] = ()
    cores: tuple[int, ...] = ()
    max_memory_mb: int | None = None

    @property
    def entry(self) -> str:
        """What `python -m bimodal.workers` is given: MODULE:NAME."""
        return TABLE[self.role][1]

    @property
    def actor_role(self) -> ActorRole:
        """What the process is to the broker."""
        return TABLE[self.role][0]

    @property
    def needs(self) -> tuple[Role, ...]:
        """The roles of which one process each must be ready first."""
        return TABLE[self.role][2]


# The rows of the process table that config.yaml asks for: which processes there are, and what each is told.


def processes(
    config: Config, *, record: RecordActorSettings | None, counts: Mapping[Literal["face", "audio"], int] | None = None
) -> list[ProcessSpec]:
    """Every process but the sources; `counts` are numbers of workers instead of the config's.

    Raises CatalogError where a model's name is unknown.
    """
    counts = counts or {}
    rows = [broker(config)]
    rows += face_workers(config, counts.get("face"))
    rows += audio_workers(config, counts.get("audio"))
    fusion = _fusion(config)
    marks = _marks(fusion.dynamic, fusion.static, fusion.learned)
    rows.append(ProcessSpec(name="fusion", role="fusion", settings=fusion, artifacts=marks))
    if record is not None:
        rows.append(ProcessSpec(name="record", role="record", settings=record))
    return rows


def broker(config: Config) -> ProcessSpec:
    """The broker, with the event bus at the addresses that the config names."""
    settings = BrokerSettings(events=config.outputs.events, network=config.network)
    return ProcessSpec(name="broker", role="broker", settings=settings)


def face_workers(config: Config, count: int | None = None) -> list[ProcessSpec]:
    """The face workers. Raises ConfigError where `cores` names some that are not here."""
    models = config.models
    settings = FaceActorSettings(
        detector=str(resolve(models.face_detector)),
        landmarks=str(resolve(models.face_landmarks)),
        static=tuple(str(resolve(name)) for name in models.face_static),
        runtime=_runtime(config),
        face=config.face,
    )
    row = ProcessSpec(
        name="face",
        role="face",
        modality="face",
        settings=settings,
        artifacts=_marks(settings.detector, settings.landmarks, *settings.static),
        cores=_cores("face", config.workers.face),
    )
    return _numbered(row, count or _sizes(config).face)


def audio_workers(config: Config, count: int | None = None) -> list[ProcessSpec]:
    """The audio workers; none where the config has no speech model. Raises ConfigError like `face_workers`."""
    if config.models.speech == "none":
        return []
    settings = AudioActorSettings(
        speech=str(resolve(config.models.speech)),
        voice_activity=_optional(config.models.voice_activity),
        window_s=config.capture.window_s,
        runtime=_runtime(config),
        audio=config.audio,
    )
    row = ProcessSpec(
        name="audio",
        role="audio",
        modality="speech",
        settings=settings,
        artifacts=_marks(settings.speech, settings.voice_activity),
        cores=_cores("audio", config.workers.audio),
    )
    return _numbered(row, count or _sizes(config).audio)


def _numbered(row: ProcessSpec, count: int) -> list[ProcessSpec]:
    return [msgspec.structs.replace(row, name=f"{row.role} {number}") for number in range(1, count + 1)]


def _marks(*files: str | None) -> tuple[str, ...]:
    """Of each file its name, time and size; a file that is not there has none."""
    marks = []
    for file in files:
        if file is not None and Path(file).is_file():
            status = Path(file).stat()
            marks.append(f"{file} {status.st_mtime_ns} {status.st_size}")
    return tuple(marks)


def _cores(kind: str, workers: CountConfig) -> tuple[int, ...]:
    wanted = workers.cores or ()
    here = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    for core in wanted:
        if core not in here:
            known = ", ".join(map(str, sorted(here))) or "none can be chosen on this system"
            raise ConfigError(f"workers.{kind}.cores names core {core}, but there are: {known}")
    return wanted


def lsl(config: Config) -> list[ProcessSpec]:
    """Events as streams of the Lab Streaming Layer, where the config wants them."""
    wanted = config.outputs.lsl
    if not wanted:
        return []
    settings = LslActorSettings(streams=tuple(config.streams), lsl=wanted)
    return [ProcessSpec(name="lsl", role="lsl", settings=settings)]


def source(config: Config, stream: str, wanted: StreamSettings, *, policy: Policy, realtime: bool) -> ProcessSpec:
    """The capture process of one stream."""
    settings = CaptureActorSettings(
        stream=stream,
        source=wanted,
        capture=config.capture,
        policy=policy,
        realtime=realtime,
        speech=config.models.speech != "none",
    )
    return ProcessSpec(name=f"capture {stream}", role="capture", settings=settings, ends=wanted.ends)


def view(config: Config) -> list[ProcessSpec]:
    """The live page, where the config wants it."""
    wanted = config.outputs.view
    if not wanted.enabled:
        return []
    visitor_streams = tuple(name for name, stream in config.streams.items() if stream.browser)
    settings = ViewActorSettings(**msgspec.structs.asdict(wanted), visitor_streams=visitor_streams)
    return [ProcessSpec(name="view", role="view", settings=settings)]


def watchers(config: Config, record: RecordActorSettings | None) -> list[ProcessSpec]:
    """The window and the films, where the config wants them. When the window ends, everything does."""
    rows = []
    window = config.outputs.window
    if window.enabled:
        rows.append(ProcessSpec(name="window", role="window", settings=window, ends=True))
    if record is not None and record.record.video:
        rows.append(ProcessSpec(name="film", role="film", settings=record.record))
    return rows


def live_sources(config: Config) -> list[ProcessSpec]:
    """The capture processes of config.yaml's streams, policy `latest`."""
    return [source(config, *stream, policy="latest", realtime=True) for stream in config.streams.items()]


def limited(rows: list[ProcessSpec], max_memory_mb: int | str | None) -> list[ProcessSpec]:
    """The rows with the memory limit that config.yaml gives each; `auto` is half of the machine's memory."""
    limit = machine_memory_mb() // 2 if max_memory_mb == "auto" else max_memory_mb
    return [msgspec.structs.replace(row, max_memory_mb=limit) for row in rows]


def _sizes(config: Config) -> Sizes:
    return sizes(config.workers, config.runtime.threads, cores(), usable_gpus(config.runtime.provider))


def _fusion(config: Config) -> FusionActorSettings:
    return FusionActorSettings(
        dynamic=_optional(config.models.face_dynamic),
        static=str(resolve(config.models.face_static[0])),
        runtime=_runtime(config),
        fusion=config.fusion,
        learned=_optional(config.models.fusion) if config.fusion.strategy == "learned" else None,
    )


def _optional(name: str) -> str | None:
    return None if name == "none" else str(resolve(name))


def _runtime(config: Config) -> WorkerRuntime:
    section = msgspec.structs.asdict(config.runtime)
    return WorkerRuntime(**section | {"threads": _sizes(config).threads}, gpus=usable_gpus(config.runtime.provider))


# How many workers with how many threads: what config.yaml leaves open, worked out from the cores. Pure.


class Sizes(NamedTuple):
    """Processes of each kind, and threads of each of them."""

    face: int
    audio: int
    threads: int


def sizes(workers: WorkersConfig, threads: int | str, cores: int, gpus: int = 0) -> Sizes:
    """The sizes that a machine of `cores` begins with, and of `gpus` that ONNX Runtime will use.

    Workers times threads is never more than the cores, unless the numbers given say so. One thread a worker with as
    many workers as cores is fastest (docs/configuration.md), so `auto` prefers workers to threads. `{min, max}`
    begins with `min`, and its threads leave room for `max`. With GPUs, `auto` is a face worker for each: two on one
    would take turns, and one does as many jobs at a time (workers/inference.py).
    """
    face = workers.face.count
    if face == "auto":
        each = 1 if threads == "auto" else int(threads)
        return Sizes(gpus or max(1, cores // each), _count(workers.audio.count), each)
    most = face.max if isinstance(face, Between) else face
    each = max(1, cores // most) if threads == "auto" else int(threads)
    return Sizes(_count(face), _count(workers.audio.count), each)


def _count(count: int | str | Between) -> int:
    if isinstance(count, Between):
        return count.min
    return count if isinstance(count, int) else 1
