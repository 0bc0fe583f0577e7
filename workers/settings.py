"""Settings of each kind of process at its start: plain values that travel as JSON.

Sections of config.yaml go to their process whole: they are declared here and in */settings.py only. The supervisor
works out the rest (bimodal/supervisor/processes.py). These files import nothing heavy, since both sides import them.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from bimodal.broker.messages import MOST_AT_A_TIME, ExpectedWorker, Pixels, Policy
from bimodal.drawing.marks import Marks
from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.workers.audio.settings import AudioSettings
from bimodal.workers.capture.settings import CaptureSettings, StreamSettings
from bimodal.workers.face.settings import FaceSettings
from bimodal.workers.fusion.settings import MEAN, Ensemble, FusionSettings
from bimodal.workers.view.settings import ViewSettings


class NetworkSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section `network` of config.yaml.

    Attributes:
        workers: addresses to which workers of other machines connect.
        pixels: how pictures are sent to them; auto: frames of live streams as JPEG, of files as they are.
        quality: of JPEG and WebP.
    """

    workers: tuple[str, ...] = ()
    pixels: Pixels = "auto"
    quality: Annotated[int, msgspec.Meta(ge=1, le=100)] = 90


class BrokerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`events`: further addresses of the event bus; `expected`: the workers that other machines are to have."""

    events: tuple[str, ...] = ()
    network: NetworkSettings = NetworkSettings()
    expected: tuple[ExpectedWorker, ...] = ()


class RuntimeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """ONNX Runtime in every worker (`runtime` in config.yaml).

    Attributes:
        provider: execution provider.
        threads: number of threads of a session.
        spinning: whether idle threads spin.
        max_batch, max_wait_ms: jobs at a time, and the time to collect them; auto: by provider.
        gpu_memory_mb: limit of GPU memory for a model, in MiB; None for all.
        cuda_graph: whether runs are captured as CUDA graphs.
        precision: variant of the models that have several; auto: by the processor (models/precision.py).
    """

    provider: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Literal["auto"] | Annotated[int, msgspec.Meta(ge=1, le=256)] = 1
    spinning: bool = False
    max_batch: Literal["auto"] | Annotated[int, msgspec.Meta(ge=1, le=MOST_AT_A_TIME)] = "auto"
    max_wait_ms: Literal["auto"] | Annotated[float, msgspec.Meta(ge=0, le=1000)] = "auto"
    gpu_memory_mb: Annotated[int, msgspec.Meta(ge=64)] | None = None
    cuda_graph: Literal["auto", "off"] = "auto"
    precision: Literal["auto", "fp32", "int8"] = "auto"


class WorkerRuntime(RuntimeSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section for one worker: its number of threads, and the number of GPUs of the machine."""

    threads: int = 1
    gpus: int = 0


class FaceActorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Paths of a face worker's artifacts; several static ones are an `ensemble`. `details`: a landmark model with
    irises and a blendshape model, for a finer look; None for none."""

    detector: str
    landmarks: str
    static: tuple[str, ...]
    runtime: WorkerRuntime
    face: FaceSettings
    details: tuple[str, str] | None = None
    emotions: EmotionSet = SEVEN
    ensemble: Ensemble = MEAN

    @property
    def artifacts(self) -> tuple[tuple[str, str], ...]:
        """Kind and path of each artifact, in the order in which the worker names them."""
        static = (("face-static", path) for path in self.static)
        details = () if self.details is None else zip(("face-landmarks", "face-blendshapes"), self.details, strict=True)
        return (("face-detector", self.detector), ("face-landmarks", self.landmarks), *static, *details)


class AudioActorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Paths of an audio worker's artifacts; several speech ones are an `ensemble`.

    `window_s`: length of the windows from capture, in seconds.
    """

    speech: tuple[str, ...]
    voice_activity: str | None
    window_s: float
    runtime: WorkerRuntime
    audio: AudioSettings
    emotions: EmotionSet = SEVEN
    ensemble: Ensemble = MEAN

    @property
    def artifacts(self) -> tuple[tuple[str, str], ...]:
        """Kind and path of each artifact, in the order in which the worker names them."""
        activity = () if self.voice_activity is None else (("voice-activity", self.voice_activity),)
        return (*(("speech", path) for path in self.speech), *activity)


class FusionActorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Paths of artifacts: `dynamic` or None; `static`, the first static one, for its embedding space; `learned`, the
    fusion artifact, with that strategy."""

    dynamic: str | None
    static: str
    runtime: WorkerRuntime
    fusion: FusionSettings
    learned: str | None = None
    emotions: EmotionSet = SEVEN


class RecordSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Recordings of the live streams (`outputs.record` in config.yaml); docs/recordings.md lists the files.

    Attributes:
        folder: parent of the session folders; for the recorder and the films, the folder of the session.
        begin: `by_button`: when someone presses the button of the live page.
        split_minutes: length of one part, in the stream's own time.
        retention_days: age at which older sessions next to this one are deleted; None: never.
        video: whether films are written, with sound.
        annotated: whether results are drawn into the pictures.
        draw: what of the faces is drawn into them beside their boxes.
        faces: `hide` films boxes on a plain ground.
        private: whether nobody but this user may read them (0600, folders 0700); else they follow the umask.
        min_free_mb: least free space on the disk at which films are written, in MiB.
    """

    folder: str  # as recorder and films have it, packed (broker/paths.py)
    begin: Literal["at_once", "by_button"] = "at_once"
    split_minutes: Annotated[float, msgspec.Meta(gt=0, le=1440)] = 60.0
    retention_days: Annotated[float, msgspec.Meta(gt=0)] | None = None
    video: bool = False
    annotated: bool = True
    draw: Marks = ()
    faces: Literal["show", "hide"] = "show"
    private: bool = True
    min_free_mb: Annotated[int, msgspec.Meta(ge=10)] = 1000


class FilmActorSettings(RecordSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section, and the path of the face-landmarks artifact that finds the meshes to draw; None draws none."""

    landmarks: str | None = None


class RecordActorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the recorder.

    Attributes:
        record: its folder is that of the results of files, or the session folder of live streams.
        sources: path of the source file by stream, where there is one; packed (broker/paths.py).
        session: record of the session (bimodal/supervisor/provenance.py), as JSON-like values, to be written next to
            the results of each file; empty where it is in the session folder already.
        given: of sources that are no files of their own (stdin, an address): what their results belong to, by stream.
        overwrite: whether results of another source are replaced.
    """

    record: RecordSettings
    sources: dict[str, str] = {}
    session: dict[str, object] = {}
    given: dict[str, str] = {}
    overwrite: bool = False


class WindowSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The window on the desktop (`outputs.window` in config.yaml): whether to show faces and latency."""

    enabled: bool = True
    faces: Literal["show", "hide"] = "show"
    latency: bool = True


class ViewActorSettings(ViewSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section, and what of other sections the page needs.

    Attributes:
        visitor_streams: names of the streams that visitors' browsers may be.
        emotions: what results are about.
        records: whether there is a folder for recordings, and so a button that begins and stops them.
    """

    visitor_streams: tuple[str, ...] = ()
    emotions: EmotionSet = SEVEN
    records: bool = False


class LslActorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The streams announced from the start; `lsl` as in config.yaml: "machine" announces them on this machine only."""

    streams: tuple[str, ...] = ()
    lsl: bool | Literal["machine"] = True
    emotions: EmotionSet = SEVEN


class ReplaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """The path of a recording (recordings/reading.py), the speed as a factor, and whether to repeat it."""

    recording: str
    speed: float = 1.0
    loop: bool = False


class CaptureActorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One stream and its reading.

    Attributes:
        policy: `every` for analysed files, `latest` for live streams.
        realtime: play a file at its own pace.
        speech: whether there is a speech model; without one no sound is read.
        emotions: what results are about, for the announcement.
        quick: whether frames of a file are analysed one after another, each with the hints of the one before.
    """

    stream: str
    source: StreamSettings
    capture: CaptureSettings
    policy: Policy
    realtime: bool
    speech: bool
    emotions: EmotionSet = SEVEN
    quick: bool = False
