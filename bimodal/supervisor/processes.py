"""The table of all kinds of processes: entry point, needs, kind of change, and rows for a config.

A new kind of process is a function from the config to its rows, and an entry of TABLE.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from bimodal import __version__
from bimodal.broker.messages import ExpectedWorker, Modality, Policy
from bimodal.broker.messages import Role as BrokerRole
from bimodal.config import Between, Config, CountConfig, WorkersConfig
from bimodal.config.schema import DETAILS
from bimodal.models.cuda import usable_gpus
from bimodal.models.emotions import EmotionSet
from bimodal.supervisor.emotions import check_models, set_of_config
from bimodal.supervisor.usage import cores, machine_memory_mb
from bimodal.supervisor.variants import file_of
from bimodal.workers.capture.settings import StreamSettings
from bimodal.workers.errors import ConfigError
from bimodal.workers.introduction import introduce
from bimodal.workers.output_settings import MqttActorSettings, OscActorSettings
from bimodal.workers.settings import (
    AudioActorSettings,
    BrokerSettings,
    CaptureActorSettings,
    FaceActorSettings,
    FilmActorSettings,
    FusionActorSettings,
    LslActorSettings,
    RecordActorSettings,
    ReplaySettings,
    ViewActorSettings,
    WorkerRuntime,
)

Role: TypeAlias = str
"""A key of TABLE."""


class ProcessKind(NamedTuple):
    """A kind of process.

    Attributes:
        entry: argument of `python -m bimodal.workers`: MODULE:NAME.
        broker_role: role in its Hello to the broker.
        rows: its processes for a config.
        modality: of workers, the jobs that they take.
        needs: roles of which one process each must be ready before it starts.
        change: how a row changes while the system runs (bimodal/supervisor/reconcile.py). `start_alongside`: stateless,
            so a new one loads while the old one works. `reconfigure`: it holds the state of every stream, and takes new
            settings as it runs. `restart`: it stops and is started again.
        optional: its failure (no display, no room on the disk) is reported and does not end the system.
        live: for live streams only, not for analysed files.
        ends_system: the whole system ends when it ends by itself.
        stops_last: stopped after all others, because it carries their last messages.
    """

    entry: str
    broker_role: BrokerRole
    rows: Callable[[Wanted], list[ProcessSpec]]
    modality: Modality | None = None
    needs: tuple[Role, ...] = ()
    change: Literal["start_alongside", "reconfigure", "restart"] = "restart"
    optional: bool = False
    live: bool = False
    ends_system: bool = False
    stops_last: bool = False


class ProcessSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One process: a row made from the table and the config.

    Attributes:
        name: its title, unique in the session.
        settings: settings of its actor.
        stream: the stream of which it is the source, else None.
        ends: it may end by itself when its work is done (a file); any other is started again.
        artifacts: versions of the files it loads, so that a file replaced under the same name makes another row.
        cores: the cores it may run on; empty for all.
        max_memory_mb: private memory, in MiB, above which it is restarted; None without limit.
        preloaded: modules of bimodal.workers that it will need, and may load before its time has come.
    """

    name: str
    role: Role
    settings: msgspec.Struct
    stream: str | None = None
    ends: bool = False
    artifacts: tuple[str, ...] = ()
    cores: tuple[int, ...] = ()
    max_memory_mb: int | None = None
    preloaded: tuple[str, ...] = ()

    @property
    def kind(self) -> ProcessKind:
        """Its entry of the table."""
        return TABLE[self.role]


class Wanted(NamedTuple):
    """The input of the row functions.

    Attributes:
        counts: numbers of workers that override the config's.
        record: settings of the recorder, None where nothing is recorded.
        replay: the recording to play back in place of live streams.
        files: whether files are analysed: then `models.face-details: auto` means the models that ship.
        recorded: what the recording that is played back is about; None: the config and its models say.
    """

    config: Config
    counts: Mapping[Role, int] = {}
    record: RecordActorSettings | None = None
    replay: ReplaySettings | None = None
    files: bool = False
    recorded: EmotionSet | None = None

    @property
    def emotions(self) -> EmotionSet:
        """What results are about."""
        return self.recorded or set_of_config(self.config)


def processes(wanted: Wanted, roles: Collection[Role] | None = None) -> list[ProcessSpec]:
    """The rows of these roles, in the order of the table; by default of every role that is not for live streams only.

    Raises CatalogError where a model's name is unknown, ArtifactError where one does not fit, ConfigError where `cores`
    names a core that is missing here.
    """
    if roles is None or "fusion" in roles:  # all models are used here, not only those of one kind of worker
        check_models(wanted.config)
    chosen = [kind for role, kind in TABLE.items() if (not kind.live if roles is None else role in roles)]
    return [row for kind in chosen for row in kind.rows(wanted)]


def limited(rows: list[ProcessSpec], max_memory_mb: int | str | None) -> list[ProcessSpec]:
    """The rows with the memory limit that config.yaml gives each; `auto` is half of the machine's memory."""
    limit = machine_memory_mb() // 2 if max_memory_mb == "auto" else max_memory_mb
    return [msgspec.structs.replace(row, max_memory_mb=limit) for row in rows]


# The rows of each kind for a config.


def _broker(wanted: Wanted) -> list[ProcessSpec]:
    """The broker, with the event bus at the addresses in the config."""
    config = wanted.config
    settings = BrokerSettings(events=config.outputs.events, network=config.network, expected=_expected(wanted))
    return [ProcessSpec(name="broker", role="broker", settings=settings)]


def _expected(wanted: Wanted) -> tuple[ExpectedWorker, ...]:
    """Models and settings for workers of other machines, one for each kind of worker that has none here.

    Raises ConfigError where a model that they are to be given is missing.
    """
    if not wanted.config.network.workers:
        return ()
    found = []
    for role, kind in TABLE.items():
        if kind.modality is None or wanted.counts.get(role, getattr(_sizes(wanted.config), role)):
            continue
        rows = kind.rows(wanted._replace(counts={role: 1}))
        if not rows:  # no speech model
            continue
        settings = rows[0].settings
        assert isinstance(settings, FaceActorSettings | AudioActorSettings)
        own = msgspec.to_builtins(settings)
        try:
            said = introduce(settings.artifacts, own)
        except OSError as error:
            raise ConfigError(
                f"workers.{role}.count is 0, and the model {error.filename} that workers elsewhere are to be given "
                f"can't be read here: {error.strerror}"
            ) from error
        found.append(
            ExpectedWorker(
                modality=kind.modality, product=__version__, models=said.models, settings=own, files=said.files
            )
        )
    return tuple(found)


def _face(wanted: Wanted) -> list[ProcessSpec]:
    config = wanted.config
    settings = FaceActorSettings(
        detector=file_of(config, config.models.face_detector),
        landmarks=file_of(config, config.models.face_landmarks),
        static=tuple(file_of(config, name) for name in config.models.face_static),
        runtime=_runtime(config),
        face=config.face if wanted.files else msgspec.structs.replace(config.face, quick=False),
        details=details_of(config, files=wanted.files),
        emotions=wanted.emotions,
        ensemble=config.models.joined(config.models.face_static),
    )
    row = ProcessSpec(
        name="face",
        role="face",
        settings=settings,
        artifacts=_versions(settings.detector, settings.landmarks, *settings.static, *(settings.details or ())),
        cores=_cores("face", config.workers.face),
    )
    return _numbered(row, wanted.counts.get("face", _sizes(config).face))


def details_of(config: Config, *, files: bool) -> tuple[str, str] | None:
    """Paths of the models of a finer look: landmarks with irises, and blendshapes; None where there is none."""
    wanted = config.models.face_details
    if wanted == "none" or (wanted == "auto" and not files):
        return None
    landmarks, blendshapes = DETAILS if isinstance(wanted, str) else wanted
    return file_of(config, landmarks), file_of(config, blendshapes)


def mesh_model(config: Config, *, files: bool) -> str:
    """Path of the landmark model that finds the meshes drawn into films: that of the finer look where there is one."""
    details = details_of(config, files=files)
    return file_of(config, config.models.face_landmarks) if details is None else details[0]


def _audio(wanted: Wanted) -> list[ProcessSpec]:
    """The audio workers; no rows without a speech model."""
    config = wanted.config
    if not config.models.voices:
        return []
    settings = AudioActorSettings(
        speech=tuple(file_of(config, name) for name in config.models.voices),
        voice_activity=_optional(config, config.models.voice_activity),
        window_s=config.capture.window_s,
        runtime=_runtime(config),
        audio=config.audio,
        emotions=wanted.emotions,
        ensemble=config.models.joined(config.models.voices),
    )
    row = ProcessSpec(
        name="audio",
        role="audio",
        settings=settings,
        artifacts=_versions(*settings.speech, settings.voice_activity),
        cores=_cores("audio", config.workers.audio),
    )
    return _numbered(row, wanted.counts.get("audio", _sizes(config).audio))


def _fusion(wanted: Wanted) -> list[ProcessSpec]:
    config = wanted.config
    settings = FusionActorSettings(
        dynamic=_optional(config, config.models.face_dynamic),
        static=file_of(config, config.models.face_static[0]),
        runtime=_runtime(config),
        fusion=config.fusion,
        emotions=wanted.emotions,
        learned=_optional(config, config.models.fusion) if config.fusion.strategy == "learned" else None,
    )
    versions = _versions(settings.dynamic, settings.static, settings.learned)
    return [ProcessSpec(name="fusion", role="fusion", settings=settings, artifacts=versions)]


def _record(wanted: Wanted) -> list[ProcessSpec]:
    return [] if wanted.record is None else [ProcessSpec(name="record", role="record", settings=wanted.record)]


def _lsl(wanted: Wanted) -> list[ProcessSpec]:
    """The outlets of the Lab Streaming Layer."""
    config = wanted.config
    if not config.outputs.lsl:
        return []
    settings = LslActorSettings(streams=tuple(config.streams), lsl=config.outputs.lsl, emotions=wanted.emotions)
    return [ProcessSpec(name="lsl", role="lsl", settings=settings)]


def _osc(wanted: Wanted) -> list[ProcessSpec]:
    section = wanted.config.outputs.osc
    if section is None:
        return []
    settings = OscActorSettings(**msgspec.structs.asdict(section), streams=tuple(wanted.config.streams))
    return [ProcessSpec(name="osc", role="osc", settings=settings)]


def _mqtt(wanted: Wanted) -> list[ProcessSpec]:
    section = wanted.config.outputs.mqtt
    if section is None:
        return []
    settings = MqttActorSettings(
        **msgspec.structs.asdict(section),
        streams=tuple(wanted.config.streams),
        emotions=wanted.emotions.emotions,
    )
    return [ProcessSpec(name="mqtt", role="mqtt", settings=settings)]


def _webhook(wanted: Wanted) -> list[ProcessSpec]:
    section = wanted.config.outputs.webhook
    return [] if section is None else [ProcessSpec(name="webhook", role="webhook", settings=section)]


def _view(wanted: Wanted) -> list[ProcessSpec]:
    """The live page."""
    config, section = wanted.config, wanted.config.outputs.view
    if not section.enabled:
        return []
    visitor_streams = tuple(name for name, stream in config.streams.items() if stream.browser or stream.push)
    settings = ViewActorSettings(
        **msgspec.structs.asdict(section),
        visitor_streams=visitor_streams,
        emotions=wanted.emotions,
        records=config.outputs.record is not None,
    )
    return [ProcessSpec(name="view", role="view", settings=settings)]


def _api(wanted: Wanted) -> list[ProcessSpec]:
    """The HTTP API."""
    section = wanted.config.outputs.api
    return [ProcessSpec(name="api", role="api", settings=section)] if section.enabled else []


def _window(wanted: Wanted) -> list[ProcessSpec]:
    section = wanted.config.outputs.window
    return [ProcessSpec(name="window", role="window", settings=section, ends=True)] if section.enabled else []


def _film(wanted: Wanted) -> list[ProcessSpec]:
    if wanted.record is None or not wanted.record.record.video:
        return []
    record = wanted.record.record
    landmarks = mesh_model(wanted.config, files=False) if "mesh" in record.draw else None
    settings = FilmActorSettings(**msgspec.structs.asdict(record), landmarks=landmarks)
    return [ProcessSpec(name="film", role="film", settings=settings, artifacts=_versions(landmarks))]


def _replay(wanted: Wanted) -> list[ProcessSpec]:
    if wanted.replay is None:
        return []
    return [ProcessSpec(name="replay", role="replay", settings=wanted.replay, ends=True)]


def _capture(wanted: Wanted) -> list[ProcessSpec]:
    """The sources of config.yaml's streams, policy `latest`."""
    streams = wanted.config.streams.items()
    return [source(wanted.config, name, stream, policy="latest", realtime=True) for name, stream in streams]


def source(config: Config, name: str, stream: StreamSettings, *, policy: Policy, realtime: bool) -> ProcessSpec:
    """The capture process of one stream."""
    settings = CaptureActorSettings(
        stream=name,
        source=stream,
        capture=config.capture,
        policy=policy,
        realtime=realtime,
        speech=bool(config.models.voices),
        emotions=set_of_config(config),
        quick=config.face.quick and config.face.detect_every == "auto",
    )
    reader = "files" if stream.file is not None else "browser" if stream.browser else "reconnect"
    return ProcessSpec(
        name=f"capture {name}",
        role="capture",
        settings=settings,
        stream=name,
        ends=stream.ends,
        preloaded=(f"capture.{reader}",),
    )


def _numbered(row: ProcessSpec, count: int) -> list[ProcessSpec]:
    return [msgspec.structs.replace(row, name=f"{row.role} {number}") for number in range(1, count + 1)]


def _versions(*files: str | None) -> tuple[str, ...]:
    """Name, modification time and size of each file that exists."""
    versions = []
    for file in files:
        if file is not None and Path(file).is_file():
            status = Path(file).stat()
            versions.append(f"{file} {status.st_mtime_ns} {status.st_size}")
    return tuple(versions)


def _cores(kind: str, workers: CountConfig) -> tuple[int, ...]:
    wanted = workers.cores or ()
    here = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    for core in wanted:
        if core not in here:
            known = ", ".join(map(str, sorted(here))) or "none can be chosen on this system"
            raise ConfigError(f"workers.{kind}.cores names core {core}, but there are: {known}")
    return wanted


def _optional(config: Config, name: str) -> str | None:
    return None if name == "none" else file_of(config, name)


def _runtime(config: Config) -> WorkerRuntime:
    section = msgspec.structs.asdict(config.runtime)
    return WorkerRuntime(**section | {"threads": _sizes(config).threads}, gpus=usable_gpus(config.runtime.provider))


def _sizes(config: Config) -> Sizes:
    return sizes(config.workers, config.runtime.threads, cores(), usable_gpus(config.runtime.provider))


# Capture does not wait for workers, since its jobs can; it waits for those that would miss the start of a stream.
TABLE: dict[Role, ProcessKind] = {
    "broker": ProcessKind("broker:main", "supervisor", _broker, change="reconfigure", stops_last=True),
    "face": ProcessKind("face.actor:FaceActor", "worker", _face, modality="face", change="start_alongside"),
    "audio": ProcessKind("audio.actor:AudioActor", "worker", _audio, modality="speech", change="start_alongside"),
    "fusion": ProcessKind("fusion.actor:FusionActor", "fusion", _fusion, change="reconfigure"),
    "record": ProcessKind("record:RecordActor", "recorder", _record),
    "replay": ProcessKind("replay:ReplayActor", "fusion", _replay, needs=("broker",)),
    "lsl": ProcessKind("lsl:LslActor", "observer", _lsl, live=True),
    "osc": ProcessKind("osc:OscActor", "observer", _osc, live=True, optional=True),
    "mqtt": ProcessKind("mqtt:MqttActor", "observer", _mqtt, live=True, optional=True),
    "webhook": ProcessKind("webhook:WebhookActor", "observer", _webhook, live=True, optional=True),
    "view": ProcessKind("view.actor:ViewActor", "observer", _view, live=True),
    "api": ProcessKind("http_api.actor:ApiActor", "observer", _api, live=True),
    "window": ProcessKind("window:WindowActor", "observer", _window, live=True, optional=True, ends_system=True),
    "film": ProcessKind("film.actor:FilmActor", "observer", _film, live=True, optional=True),
    "capture": ProcessKind(
        "capture.actor:CaptureActor", "capture", _capture, needs=("broker", "fusion", "record"), live=True
    ),
}


# Numbers of workers and threads that config.yaml leaves open, from the number of cores. Pure.


class Sizes(NamedTuple):
    """Number of processes of each kind, and threads of each process."""

    face: int
    audio: int
    threads: int


def sizes(workers: WorkersConfig, threads: int | str, cores: int, gpus: int = 0) -> Sizes:
    """The sizes at the start on a machine with `cores` cores and `gpus` GPUs that ONNX Runtime will use.

    Workers times threads is never more than the cores, unless given so. One thread a worker with as many workers as
    cores is fastest (docs/configuration.md), so `auto` prefers workers to threads. `{min, max}` begins with `min`, and
    its threads leave room for `max`. With GPUs, `auto` is one face worker for each: two on one would take turns, and
    one does as many jobs at a time (workers/inference.py).
    """
    face = workers.face.count
    if face == "auto":
        each = 1 if threads == "auto" else int(threads)
        return Sizes(gpus or max(1, cores // each), _count(workers.audio.count), each)
    most = face.max if isinstance(face, Between) else face
    each = max(1, cores // max(1, most)) if threads == "auto" else int(threads)
    return Sizes(_count(face), _count(workers.audio.count), each)


def _count(count: int | str | Between) -> int:
    if isinstance(count, Between):
        return count.min
    return count if isinstance(count, int) else 1
