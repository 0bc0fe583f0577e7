"""The wire protocol, read top to bottom: every message that crosses a process border, as one msgspec Struct.

Bytes on the wire are one MessagePack map: an Envelope whose `body` is one of the tagged Structs below (the tag
is the key "type"). Nothing is pickled. Times are integers of nanoseconds: `pts_ns` on the stream's own time
line (all logic uses it), every other `*_ns` on the capturing host's monotonic clock (latency only).
Probabilities are maps from emotion to 0…1; an emotion that a model does not know is absent, never zero.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from bimodal.broker.errors import MessageError, VersionError
from bimodal.broker.events import (
    Emotion,
    FaceMeasures,
    Hop,
    Message,
    Probabilities,
    Size,
    Stretch,
    VoiceMeasures,
    Whole,
)
from bimodal.broker.words import MAX_DATA_BYTES as MAX_DATA_BYTES
from bimodal.broker.words import MAX_MESSAGE_BYTES as MAX_MESSAGE_BYTES
from bimodal.broker.words import Modality as Modality
from bimodal.broker.words import Policy as Policy
from bimodal.broker.words import Role as Role
from bimodal.broker.words import State as State
from bimodal.broker.words import StreamStatus as StreamStatus

PROTOCOL_VERSION = 1
# Jobs that a worker may do in one batch.
MOST_AT_A_TIME = 32
# Faces of one frame that are passed on as hints, and how many frames in a row may use them.
MOST_REGIONS = 64
MOST_FOLLOWED = 100
# Of a thumbnail that travels with hints (workers/face/change.py).
MOST_THUMBNAIL_BYTES = 1 << 13
# In the names of workers on other machines, after the name of their key.
ELSEWHERE = ": "
# In `models` of a Hello, beside the kinds: a checksum of the worker's thresholds.
SETTINGS = "settings"

# How a picture is sent to a worker on another machine, and what config.yaml may say of it.
Encoding = Literal["raw", "jpeg", "webp"]
Pixels = Literal["auto", "raw", "jpeg", "webp"]


# ---------------------------------------------------------------------------------- presence


class ModelFile(msgspec.Struct, frozen=True):
    """A model file that a worker has loaded: the path in its settings, its sha256 and its size."""

    path: str
    sha256: str
    bytes: Whole


class ExpectedWorker(msgspec.Struct, frozen=True, kw_only=True):
    """Models and settings for workers of other machines, of a kind that has none here; fields as of a Hello."""

    modality: Modality
    product: str
    models: dict[str, str]
    settings: dict[str, object]
    files: tuple[ModelFile, ...]


class Hello(Message, frozen=True, tag="hello"):
    """Actor → broker, twice a second: the actor is present. Answered by Welcome, whose envelope carries the epoch.

    A broker that does not know the sender's incarnation takes it as new and forgets older ones of that name. A worker
    says with which `product` version it works, and with which `models`: sha256 by kind. One of this machine also says
    its `settings`, and the `files` that these name; one of another machine, whether it `takes` these over.
    """

    role: Role
    modality: Modality | None = None
    pid: int = 0
    product: str = ""
    models: dict[str, str] = {}
    settings: dict[str, object] = {}
    files: tuple[ModelFile, ...] = ()
    takes: bool = False


class Welcome(Message, frozen=True, tag="welcome"):
    """Broker → actor: answer to Hello. `fresh` is true if the broker did not know this incarnation before."""

    fresh: bool


class Refusal(Message, frozen=True, tag="refusal"):
    """Broker → worker on another machine: it gets no jobs, and why; `because` is None once it gets some again."""

    because: str | None = None


class Instruct(Message, frozen=True, tag="instruct"):
    """Broker → worker on another machine that `takes` models: what a worker here works with. It asks for the files that
    it has not, by FileWanted, and begins again with them. Repeated each second until it does."""

    settings: dict[str, object]
    files: tuple[ModelFile, ...]


class FileWanted(Message, frozen=True, tag="file_wanted"):
    """Worker on another machine → broker: send me the piece of this file that begins at `offset`."""

    sha256: str
    offset: Whole


class FilePiece(Message, frozen=True, tag="file_piece"):
    """Broker → worker on another machine: a piece of a file; empty where the file is not to be had."""

    sha256: str
    offset: Whole
    data: bytes


class Gone(Message, frozen=True, tag="gone"):
    """Supervisor → broker: this process has exited; everything it held is free."""

    name: str
    incarnation: Whole


class Heartbeat(Message, frozen=True, tag="heartbeat"):
    """Actor → supervisor, twice a second and at each change of state; the supervisor publishes it on the bus.

    `because` is the one sentence that explains `failed`; `figures` are plain numbers for people (fps, drops …);
    `models` the artifacts in use, by kind, as name@version; `address` is the URL where people reach it (the live page).
    A thread of its own sends it, so that a process beats while it works: `busy_s` is the time that it has been at its
    present work, and `deadline_s` the time after which that counts as hung (0: never).
    The supervisor adds figures of its own on the way: `cpu_percent` (of one core), `memory_mb` (private), `restarts`,
    `up_s`; and sends one of itself ("supervisor").
    """

    name: str
    incarnation: Whole
    state: State
    pid: int
    because: str | None = None
    figures: dict[str, float] = {}
    models: dict[str, str] = {}
    address: str | None = None
    busy_s: float = 0.0
    deadline_s: float = 0.0


class Dismissed(Message, frozen=True, tag="dismissed"):
    """Broker → supervisor: this worker gets no more jobs, because it answered three in a row wrongly or not at all, or
    works with other models; `because` is None once it gets some again."""

    name: str
    incarnation: Whole
    because: str | None


# ---------------------------------------------------------------------------------- orders of the supervisor


class OffDuty(Message, frozen=True, tag="off_duty"):
    """Supervisor → broker: exactly these workers get no jobs, because they load beside those they will replace or are
    about to leave. They finish the jobs they hold. One message moves all work from old workers to new ones."""

    workers: tuple[str, ...]


class Shadow(Message, frozen=True, tag="shadow"):
    """Supervisor → broker: give copies of live jobs to exactly these workers, which are off duty. Answers only count
    in the `Shadowed` that the broker sends each second: new workers are tried on real frames before they take over."""

    workers: tuple[str, ...]


class Shadowed(Message, frozen=True, tag="shadowed"):
    """Broker → supervisor: how a worker does on copies of live jobs.

    Attributes:
        asked, done, failed: jobs so far.
        compared, agreed: of those done, how many the workers on duty answered too, and how many with the same label.
        mean_ms, duty_ms: mean time of a job, and that of the workers on duty.
        because: why the newest failed, else None.
    """

    name: str
    incarnation: Whole
    asked: int = 0
    done: int = 0
    failed: int = 0
    compared: int = 0
    agreed: int = 0
    mean_ms: float = 0.0
    duty_ms: float = 0.0
    because: str | None = None


class Reconfigure(Message, frozen=True, tag="reconfigure"):
    """Supervisor → broker → actor `to`: use these settings from now on. Repeated until it is answered.

    `settings` are the complete settings of the actor's kind (workers/settings.py); `revision` counts the messages of
    this type to all actors.
    """

    to: str
    revision: int
    settings: dict[str, object]


class Reconfigured(Message, frozen=True, tag="reconfigured"):
    """Actor → broker → supervisor: Reconfigure is done. `because` says why nothing changed, None if it did."""

    name: str
    revision: int
    because: str | None = None


class StreamWithdrawn(Message, frozen=True, tag="stream_withdrawn"):
    """Supervisor → broker: this stream's source was removed from the config; the stream ends after its jobs so far."""

    stream: str


# ---------------------------------------------------------------------------------- streams and jobs


class StreamOpened(Message, frozen=True, tag="stream_opened"):
    """Capture → broker → fusion and recorders: a stream begins, or is announced again.

    `run` counts the attempts at the same source: a new run discards all state of the stream. The same run announced
    again (after a restart of broker or fusion, policy `latest`) continues: nothing before `next_face_seq` and
    `next_speech_seq` will come any more.
    Hop k of the sound ends at sound_start_ns + (k + 1) · hop_ns.
    `channels` are the names of the voices where each channel is one: hop k of voice c is then speech job
    k · len(channels) + c.
    `emotions` are those that its events are about (empty: the seven), `categories` what they hold under `other`;
    `dominance` says whether a speech model gives it.
    `quick`: the frames of this file are analysed one after another, each with the hints of the one before.
    """

    stream: str
    run: Whole
    policy: Policy
    source: str
    has_picture: bool
    has_sound: bool
    width: int = 0
    height: int = 0
    fps: float = 0.0
    frames_estimate: int | None = None
    duration_ns: int | None = None
    sound_start_ns: int = 0
    hop_ns: int = 0
    next_face_seq: Whole = 0
    next_speech_seq: Whole = 0
    channels: tuple[str, ...] = ()
    emotions: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    dominance: bool = False
    quick: bool = False


class Job(Message, frozen=True, tag="job"):
    """Capture → broker → worker: one frame (face) or one speech window in a shared slot.

    Attributes:
        seq: counts jobs of this stream, run and modality from 0.
        pts_ns: of a frame, its time; of a speech window, its end.
        ring, slot, generation: location of the data; a slot of another generation holds something else.
        shape: uint8 [H, W, 3] RGB of a frame, float32 [samples] of a window.
        rate, fresh: Hz, and how many samples at the window's end are new since the hop before. Speech only.
        size: (width, height) of a picture as it is shown; its frame may be smaller (`capture.max_height`).
        shot: number of the shot of a frame, from 0; a hard cut begins the next.
    """

    stream: str
    run: Whole
    modality: Modality
    seq: Whole
    pts_ns: int
    grab_ns: int
    ring: str
    slot: Whole
    generation: Whole
    shape: tuple[int, ...]
    rate: int = 0
    fresh: int = 0
    size: Size | None = None
    shot: Whole = 0


class StreamEnded(Message, frozen=True, tag="stream_ended"):
    """Capture → broker → fusion: no more jobs of this modality; `count` were offered in this run.

    Sent for both modalities of every stream, including one that it does not have (count 0).
    """

    stream: str
    run: Whole
    modality: Modality
    count: Whole
    end_ns: int = 0


class Release(Message, frozen=True, tag="release"):
    """Broker → capture: these jobs are settled; their slots and credits are free again (policy `every`)."""

    stream: str
    run: Whole
    modality: Modality
    seqs: tuple[Whole, ...]


class StartAgain(Message, frozen=True, tag="start_again"):
    """Broker → capture: a stateful actor was lost; start the file again as a new run (policy `every`)."""

    stream: str
    run: Whole
    because: str


class StreamClosed(Message, frozen=True, tag="stream_closed"):
    """Fusion → broker → recorders, recorder → broker → capture: everything of this run is dealt with.

    `because` is set if recording it failed (a full disk): the sentence for the user.
    """

    stream: str
    run: Whole
    frames: int = 0
    because: str | None = None


# ---------------------------------------------------------------------------------- workers


class Ready(Message, frozen=True, tag="ready"):
    """Worker → broker: idle. `last` is the number of the last assignment it has answered (0: none yet); `capacity`,
    the number of jobs it does at a time; `in_advance`, the number of further jobs of files that a worker with a
    capacity of 1 takes, so that their answers leave together (docs/protocol.md)."""

    last: Whole = 0
    capacity: Annotated[int, msgspec.Meta(ge=1, le=MOST_AT_A_TIME)] = 1
    in_advance: Annotated[int, msgspec.Meta(ge=1, le=MOST_AT_A_TIME)] = 1


Thumbnail = Annotated[bytes, msgspec.Meta(max_length=MOST_THUMBNAIL_BYTES)]


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """Position of a face in an earlier frame.

    Attributes:
        x, y, side, angle: rotated square in pixels of the frame, radians clockwise (models/faces/mesh.py).
        score: detection score, 0…1.
        box: detection box relative to the box around the landmarks: offset of its centre (x, y), then width and
            height, in sides of the square.
        mesh: whether the landmark model was sure of it, so that it can be followed without the detector.
        still: thumbnail of the face in the frame in which the landmark model last ran on it; empty: unknown.
        shape: of the mesh in the frame that the static models last read; empty: unknown.
        read: the frame in which they did, as `Hints.frames` counts.
    """

    x: float
    y: float
    side: float
    angle: float
    score: float
    box: tuple[float, float, float, float]
    mesh: bool = True
    still: Thumbnail = b""
    shape: Thumbnail = b""
    read: Whole = 0


class Hints(msgspec.Struct, frozen=True, kw_only=True):
    """The faces of a frame, for the next frames; empty if it has none.

    Frames before seq `until`, and before `until_ns` on the stream's time line where that is given, may search these
    regions only; that frame and later ones run detection in full. From frame `coarse` on, where that is given, they
    look for new, large faces beside them.

    Attributes:
        regions: in the order of the answer's faces.
        frames: the number of frames in a row that had hints, each those of the one before.
        scene: thumbnail of the frame that was last searched in full; empty: unknown.
        full, full_ns: from this frame (as `frames` counts) or time on, what has changed since is searched in full.
        coarse_ns: from this time on there is a coarse look, even where nothing has changed.
    """

    regions: Annotated[tuple[Region, ...], msgspec.Meta(max_length=MOST_REGIONS)]
    until: Whole
    until_ns: int | None = None
    frames: Whole = 0
    coarse: Whole | None = None
    scene: Thumbnail = b""
    full: Whole = 0
    full_ns: int = 0
    coarse_ns: int = 0


class Assignment(Message, frozen=True, tag="assignment"):
    """Broker → worker: do this job. `number` counts the assignments to this worker from 1; `waited_ns` is the time the
    job waited at the broker for a worker. Of a stream whose frames come in order (a live one, a `quick` file), `hints`
    are those of an earlier frame, and `seen` the faces of its answer. `encoding` is how the picture is sent to a worker
    on another machine."""

    number: Whole
    job: Job
    waited_ns: int = 0
    ordered: bool = False
    hints: Hints | None = None
    seen: tuple[Face, ...] = ()
    encoding: Encoding = "raw"


class Face(msgspec.Struct, frozen=True, kw_only=True):
    """One face of a frame, from a face worker.

    Attributes:
        box: [x, y, width, height] in pixels of the frame.
        score: detection score, 0…1.
        presence: confidence of the landmark model that its crop shows a face, 0…1; low in profile and in the dark,
            where the crop follows the detector's points, and gets less weight in fusion.
        sharpness: 0…1; a blurred crop gets less weight in fusion.
        light: mean brightness of the face, 0 black … 1 white; None where a worker does not say.
        eyes_seen, mouth_seen: how much can be seen where the eyes and the mouth are, 0 nothing (they are covered) … 1
            as in an open face; None without a mesh.
        mouth: opening of the lips relative to the distance of the eyes, 0 = closed; None without a mesh.
        probabilities: of the static model, calibrated, over the emotions it knows.
        other: of its further categories that count, each its share of all classes.
        embedding: float16 little-endian bytes of the static model's embedding, or None where it has none.
        identity: float16 little-endian bytes of an embedding that tells people apart; None without such a model.
        novelty: how unlike the face is to what the static model learnt; above 1 is rare. None where the model does not
            say.
        measures: what the face does; fusion adds what needs more than one frame.
    """

    box: tuple[float, float, float, float]
    score: float
    presence: float = 1.0
    sharpness: float
    light: float | None = None
    eyes_seen: float | None = None
    mouth_seen: float | None = None
    mouth: float | None = None
    probabilities: Probabilities
    other: Probabilities = {}
    embedding: bytes | None = None
    identity: bytes | None = None
    novelty: float | None = None
    measures: FaceMeasures | None = None


class FaceResult(Message, frozen=True, tag="face_result"):
    """Face worker → broker → fusion: the faces of one frame. Also ends the worker's assignment `number`.

    `hints` are for the frames after it, None if detection runs on every frame (files, `face.detect_every` 1).
    Boxes are in pixels of the frame, whose (width, height) is `frame`; `size` is the job's. Fusion turns the one into
    the other.
    """

    number: Whole
    stream: str
    run: Whole
    seq: Whole
    pts_ns: int
    grab_ns: int
    faces: tuple[Face, ...]
    queue_ns: int
    inference_ns: int
    models: dict[str, str] = {}
    waited_ns: int = 0
    hints: Hints | None = None
    frame: Size | None = None
    size: Size | None = None
    shot: Whole = 0


class SpeechResult(Message, frozen=True, tag="speech_result"):
    """Audio worker → broker → fusion: the result of one speech window; there is one for every hop.

    Attributes:
        pts_ns: the window's end.
        voice: share of the newest hop that is voice, 0…1.
        probabilities: None if the window was gated, so that the model did not run.
        other: of its further categories that count, each its share of all classes.
        because: why it was gated ("no voice", "too quiet", "not enough sound yet"), else None.
        snr_db: level of the voice over the noise between and below it; None where the window was gated.
        bandwidth_hz: highest frequency that the voice reaches, as far as the speech model hears; None likewise.
        clipped: share of the samples that are cut off at full scale, 0…1; None likewise.
        measures: how the newest hop sounds; None where there was no sound.
        valence, arousal, dominance: −1…1, from a speech model that has them, of the window; else None.
    """

    number: Whole
    stream: str
    run: Whole
    seq: Whole
    pts_ns: int
    grab_ns: int
    voice: float
    probabilities: Probabilities | None
    because: str | None = None
    queue_ns: int = 0
    inference_ns: int = 0
    models: dict[str, str] = {}
    waited_ns: int = 0
    snr_db: float | None = None
    bandwidth_hz: float | None = None
    clipped: float | None = None
    measures: VoiceMeasures | None = None
    valence: float | None = None
    arousal: float | None = None
    dominance: float | None = None
    other: Probabilities = {}


class JobFailed(Message, frozen=True, tag="job_failed"):
    """Worker → broker → fusion: this job can't be done, and why; it keeps its place in the order.

    `stale` is true if the slot had been overwritten (policy `latest`): then the frame counts as dropped. `gone` is true
    if its shared memory was removed; `stale` is true then as well.
    """

    number: Whole
    stream: str
    run: Whole
    modality: Modality
    seq: Whole
    pts_ns: int
    grab_ns: int
    because: str
    stale: bool = False
    size: Size | None = None
    shot: Whole = 0
    gone: bool = False


def failed(job: Job, reason: str, *, number: int = 0, stale: bool = False, gone: bool = False) -> JobFailed:
    """Make a JobFailed for `job`; `number` is the worker's assignment, 0 if it does not come from a worker."""
    return JobFailed(
        number=number,
        stream=job.stream,
        run=job.run,
        modality=job.modality,
        seq=job.seq,
        pts_ns=job.pts_ns,
        grab_ns=job.grab_ns,
        because=reason,
        stale=stale,
        size=job.size,
        shot=job.shot,
        gone=gone,
    )


class Dropped(Message, frozen=True, tag="dropped"):
    """Broker → fusion: this job will not come (policy `latest`): replaced by a newer one, late, or lost."""

    stream: str
    run: Whole
    modality: Modality
    seq: Whole
    because: str


# ---------------------------------------------------------------------------------- the acknowledged lane


class Ack(Message, frozen=True, tag="ack"):
    """Fusion or recorder → broker: every delivery up to and including `number` is dealt with."""

    number: Whole


LaneMessage: TypeAlias = (
    StreamOpened | FaceResult | SpeechResult | JobFailed | Dropped | StreamEnded | StreamClosed | Emotion | Hop
)


class Delivery(Message, frozen=True, tag="delivery"):
    """Broker → fusion or recorder, in order and acknowledged: `number` counts per receiver from 1."""

    number: Whole
    message: LaneMessage


class Status(Message, frozen=True, tag="status"):
    """Broker → bus, once a second: the counters of all streams.

    `undecodable` counts arrivals that are no message of this protocol; `ignored`, messages of unknown senders: an
    older incarnation of an actor, one that addresses an older broker (a few after each restart), a stranger, or an
    observer that sends more than heartbeats. `received_bytes` and `sent_bytes` count all messages on this machine since
    the broker started, one on the bus counted once; pixels and samples are not included, they lie in shared slots.
    """

    streams: tuple[StreamStatus, ...]
    waiting: int
    workers: dict[str, int]
    undecodable: int
    ignored: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0


Body: TypeAlias = (
    Hello
    | Welcome
    | Refusal
    | Instruct
    | FileWanted
    | FilePiece
    | Gone
    | Heartbeat
    | Dismissed
    | OffDuty
    | Shadow
    | Shadowed
    | Reconfigure
    | Reconfigured
    | StreamWithdrawn
    | StreamOpened
    | Job
    | StreamEnded
    | Release
    | StartAgain
    | StreamClosed
    | Ready
    | Assignment
    | FaceResult
    | SpeechResult
    | JobFailed
    | Dropped
    | Ack
    | Emotion
    | Hop
    | Stretch
    | Delivery
    | Status
)


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """Header and body of every message.

    Attributes:
        v: protocol version.
        epoch: of the broker, from its last Welcome to the sender; 0 if there was none.
        sender, incarnation: the process's name, and the number of its start.
    """

    v: int
    epoch: int
    sender: str
    incarnation: Whole
    body: Body


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Envelope)


def encode(envelope: Envelope) -> bytes:
    """Encode an envelope as MessagePack."""
    return _encoder.encode(envelope)


def seal(body: Body, *, epoch: int, sender: str, incarnation: int) -> bytes:
    """Put a message into an envelope and encode it as MessagePack."""
    return encode(Envelope(v=PROTOCOL_VERSION, epoch=epoch, sender=sender, incarnation=incarnation, body=body))


def decode(data: bytes | memoryview) -> Envelope:
    """Decode an envelope from MessagePack.

    Raises MessageError for anything else: oversize, another protocol version, an unknown or ill-typed body.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise MessageError(f"a message of {len(data)} bytes is larger than {MAX_MESSAGE_BYTES}")
    try:
        envelope = _decoder.decode(data)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError, ValueError) as error:
        _check_version(data)
        raise MessageError(f"not a message of this protocol: {error}") from error
    if envelope.v != PROTOCOL_VERSION:
        raise VersionError(envelope.v, PROTOCOL_VERSION)
    return envelope


class _Header(msgspec.Struct, frozen=True):
    v: int


def _check_version(data: bytes | memoryview) -> None:
    """Raise VersionError where a message that can't be decoded is of another version."""
    try:
        version = msgspec.msgpack.decode(data, type=_Header).v
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError, ValueError):
        return
    if version != PROTOCOL_VERSION:
        raise VersionError(version, PROTOCOL_VERSION)
