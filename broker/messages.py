"""The wire protocol, read top to bottom: every message that crosses a process border, as one msgspec Struct.

Bytes on the wire are one MessagePack map: an Envelope whose `body` is one of the tagged Structs below (the tag
is the key "type"). Nothing is pickled. Times are integers of nanoseconds: `pts_ns` on the stream's own time
line (all logic uses it), every other `*_ns` on the capturing host's monotonic clock (latency only).
Probabilities are maps from emotion to 0…1; an emotion that a model does not know is absent, never zero.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from bimodal.broker.errors import MessageError
from bimodal.broker.events import Emotion, Message, Probabilities, Whole

PROTOCOL_VERSION = 1
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
# Jobs that a worker may do in one batch.
MOST_AT_A_TIME = 32
# What goes along with an assignment to another machine: a picture of 8K.
MAX_DATA_BYTES = 128 * 1024 * 1024
# Faces of one frame that the next one may look for, and how many frames in a row may do so.
MOST_REGIONS = 64
MOST_FOLLOWED = 100

Modality = Literal["face", "speech"]
Policy = Literal["latest", "every"]
# An observer only listens to the bus; the broker has nothing for it to do.
Role = Literal["capture", "worker", "fusion", "recorder", "supervisor", "observer"]
State = Literal["starting", "ready", "draining", "stopped", "failed"]


# ---------------------------------------------------------------------------------- who is there


class Hello(Message, frozen=True, tag="hello"):
    """Actor → broker, twice a second: I am here. Answered by Welcome, whose envelope carries the epoch.

    A broker that has never seen the sender's incarnation takes it as new and forgets older ones of that name.
    """

    role: Role
    modality: Modality | None = None
    pid: int = 0


class Welcome(Message, frozen=True, tag="welcome"):
    """Broker → actor: known. `fresh` is true where the broker did not know this incarnation before."""

    fresh: bool


class Gone(Message, frozen=True, tag="gone"):
    """Supervisor → broker: this process has exited; whatever it held is free."""

    name: str
    incarnation: Whole


class Heartbeat(Message, frozen=True, tag="heartbeat"):
    """Actor → supervisor, twice a second and at each change of state; the supervisor puts it on the bus too.

    `because` is the one sentence that explains `failed`; `figures` are plain numbers for people (fps, drops …);
    `models` the artifacts in use, by kind, as name@version; `address` is the URL where people reach it (the live page).
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


# ---------------------------------------------------------------------------------- what the supervisor changes


class OffDuty(Message, frozen=True, tag="off_duty"):
    """Supervisor → broker: exactly these workers get no job: they load beside those they will replace, or are about
    to leave. What they hold they finish. One message moves the work from the old ones to the new."""

    workers: tuple[str, ...]


class Reconfigure(Message, frozen=True, tag="reconfigure"):
    """Supervisor → broker → actor `to`: work with these settings from now on. Repeated until it is answered.

    `settings` are those of the actor's kind (workers/settings.py), whole; `revision` counts what was told to anyone.
    """

    to: str
    revision: int
    settings: dict[str, object]


class Reconfigured(Message, frozen=True, tag="reconfigured"):
    """Actor → broker → supervisor: dealt with. `because` says why it goes on as it was, None where it changed."""

    name: str
    revision: int
    because: str | None = None


class StreamWithdrawn(Message, frozen=True, tag="stream_withdrawn"):
    """Supervisor → broker: the source of this stream was taken out of the config; the stream ends with what it has."""

    stream: str


# ---------------------------------------------------------------------------------- streams and jobs


class StreamOpened(Message, frozen=True, tag="stream_opened"):
    """Capture → broker → fusion and recorders: a stream begins, or is announced again.

    `run` counts the attempts at the same source: a new run starts everything about the stream afresh. The same
    run announced again (after a broker or fusion restart, policy `latest`) goes on: nothing before
    `next_face_seq` and `next_speech_seq` will come any more.
    Hop k of the sound ends at sound_start_ns + (k + 1) · hop_ns.
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


class Job(Message, frozen=True, tag="job"):
    """Capture → broker → worker: one frame (face) or one speech window, lying in a shared slot.

    Attributes:
        seq: counts jobs of this stream, run and modality from 0.
        pts_ns: of a frame, its time; of a speech window, its end.
        ring, slot, generation: where the data lies; a slot whose generation differs holds something else.
        shape: uint8 [H, W, 3] RGB of a frame, float32 [samples] of a window.
        rate, fresh: Hz, and how many samples at the window's end are new since the hop before. Speech only.
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


class StreamEnded(Message, frozen=True, tag="stream_ended"):
    """Capture → broker → fusion: no more jobs of this modality; `count` were offered in this run.

    Sent for both modalities of every stream, also for one that it never had (count 0).
    """

    stream: str
    run: Whole
    modality: Modality
    count: Whole
    end_ns: int = 0


class Release(Message, frozen=True, tag="release"):
    """Broker → capture: these jobs are settled, their slots are free and the credits are back (policy `every`)."""

    stream: str
    run: Whole
    modality: Modality
    seqs: tuple[Whole, ...]


class StartAgain(Message, frozen=True, tag="start_again"):
    """Broker → capture: a stateful actor was lost, so begin the file again as a new run (policy `every`)."""

    stream: str
    run: Whole
    because: str


class StreamClosed(Message, frozen=True, tag="stream_closed"):
    """Fusion → broker → recorders, recorder → broker → capture: everything of this run is dealt with.

    `because` is set where keeping it failed (a full disk): the sentence for the user.
    """

    stream: str
    run: Whole
    frames: int = 0
    because: str | None = None


# ---------------------------------------------------------------------------------- workers


class Ready(Message, frozen=True, tag="ready"):
    """Worker → broker: idle. `last` is the number of the last assignment it has answered (0: none yet); `capacity`,
    how many it does at a time; `in_advance`, how many jobs of files one that does them one by one takes beside the one
    it does, so that their answers leave together (docs/protocol.md)."""

    last: Whole = 0
    capacity: Annotated[int, msgspec.Meta(ge=1, le=MOST_AT_A_TIME)] = 1
    in_advance: Annotated[int, msgspec.Meta(ge=1, le=MOST_AT_A_TIME)] = 1


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """Where to look for a face that was seen in an earlier frame.

    Attributes:
        x, y, side, angle: the turned square in pixels of the frame, radians clockwise (models/faces/mesh.py).
        score: of its detection, 0…1.
        box: of its detection, against the box around its landmarks: the way between their middles, then width and
            height, in sides of the square.
    """

    x: float
    y: float
    side: float
    angle: float
    score: float
    box: tuple[float, float, float, float]


class Hints(msgspec.Struct, frozen=True, kw_only=True):
    """The faces of a frame, for the next ones; empty where nobody was there.

    Frames before seq `until` may look there only; that one and later ones look for faces themselves.
    """

    regions: Annotated[tuple[Region, ...], msgspec.Meta(max_length=MOST_REGIONS)]
    until: Whole


class Assignment(Message, frozen=True, tag="assignment"):
    """Broker → worker: do this job. `number` counts the assignments to this worker from 1; `waited_ns` is how long the
    job waited at the broker until a worker was free; `hints` are those of an earlier frame of the same live stream."""

    number: Whole
    job: Job
    waited_ns: int = 0
    hints: Hints | None = None


class Face(msgspec.Struct, frozen=True, kw_only=True):
    """One face of a frame as a face worker sees it.

    Attributes:
        box: [x, y, width, height] in pixels of the frame.
        score: detection score, 0…1.
        sharpness: 0…1; a blurred crop is worth less in fusion.
        mouth: opening of the lips relative to the distance of the eyes, 0 = closed.
        probabilities: of the static model, calibrated, over the emotions it knows.
        embedding: float16 little-endian bytes of the static model's embedding, or None where it has none.
    """

    box: tuple[float, float, float, float]
    score: float
    sharpness: float
    mouth: float
    probabilities: Probabilities
    embedding: bytes | None = None


class FaceResult(Message, frozen=True, tag="face_result"):
    """Face worker → broker → fusion: what one frame shows. Also ends the worker's assignment `number`.

    `hints` are for the frames after it, None where each is to be looked at afresh (`face.detect_every` 1).
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


class SpeechResult(Message, frozen=True, tag="speech_result"):
    """Audio worker → broker → fusion: what one speech window carries; there is one for every hop.

    Attributes:
        pts_ns: the window's end.
        voice: share of the newest hop that is voice, 0…1.
        probabilities: None where the gate kept the window from the model.
        because: why it was gated ("no voice", "too quiet", "not enough sound yet"), else None.
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


class JobFailed(Message, frozen=True, tag="job_failed"):
    """Worker → broker → fusion: this job can't be done, and why; it stands in its place in the order.

    `stale` is true where the slot had been overwritten (policy `latest`): then the frame counts as dropped.
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


def failed(job: Job, because: str, *, number: int = 0, stale: bool = False) -> JobFailed:
    """The failure of a job; `number` is the worker's assignment, 0 where no worker says it."""
    return JobFailed(
        number=number,
        stream=job.stream,
        run=job.run,
        modality=job.modality,
        seq=job.seq,
        pts_ns=job.pts_ns,
        grab_ns=job.grab_ns,
        because=because,
        stale=stale,
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
    """Fusion or recorder → broker: every delivery up to and with `number` is dealt with."""

    number: Whole


LaneMessage: TypeAlias = (
    StreamOpened | FaceResult | SpeechResult | JobFailed | Dropped | StreamEnded | StreamClosed | Emotion
)


class Delivery(Message, frozen=True, tag="delivery"):
    """Broker → fusion or recorder, in order and acknowledged: `number` counts per receiver from 1."""

    number: Whole
    message: LaneMessage


class StreamStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The broker's counters of one stream since it was opened, by modality.

    `reasons` splits `dropped`: replaced (by a newer one), late, lost (its worker ended) or overwritten (its slot).
    """

    stream: str
    policy: Policy
    source: str
    offered: dict[str, int]
    done: dict[str, int]
    dropped: dict[str, int]
    failed: dict[str, int]
    reasons: dict[str, dict[str, int]] = {}


class Status(Message, frozen=True, tag="status"):
    """Broker → bus, once a second: the counters of all streams.

    `undecodable` counts what arrived and is no message of this protocol; `ignored`, what came from nobody known: an
    older life of an actor, one that talks to an older broker (a few after each new start), a stranger, or an observer
    with more to say than that it is there. `received_bytes` and `sent_bytes` are those of all messages on this machine
    since the broker began, one on the bus counted once; pixels and samples are none of them, they lie in shared slots.
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
    | Gone
    | Heartbeat
    | OffDuty
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
    | Delivery
    | Status
)


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What every message travels in.

    Attributes:
        v: protocol version.
        epoch: of the broker, as the sender last heard it; 0 where it has not heard from one.
        sender, incarnation: the process's name, and which life of it this is.
    """

    v: int
    epoch: int
    sender: str
    incarnation: Whole
    body: Body


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Envelope)


def encode(envelope: Envelope) -> bytes:
    """An envelope as MessagePack bytes."""
    return _encoder.encode(envelope)


def seal(body: Body, *, epoch: int, sender: str, incarnation: int) -> bytes:
    """A message in its envelope, as MessagePack bytes."""
    return encode(Envelope(v=PROTOCOL_VERSION, epoch=epoch, sender=sender, incarnation=incarnation, body=body))


def decode(data: bytes | memoryview) -> Envelope:
    """MessagePack bytes → Envelope.

    Raises MessageError for anything else: oversize, another protocol version, an unknown or ill-typed body.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise MessageError(f"a message of {len(data)} bytes is larger than {MAX_MESSAGE_BYTES}")
    try:
        envelope = _decoder.decode(data)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError, ValueError) as error:
        raise MessageError(f"not a message of this protocol: {error}") from error
    if envelope.v != PROTOCOL_VERSION:
        raise MessageError(f"protocol version {envelope.v} is not {PROTOCOL_VERSION}")
    return envelope
