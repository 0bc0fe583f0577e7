"""State of an open stream at the broker, beside its jobs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bimodal.broker.dispatch import Dispatch
from bimodal.broker.messages import (
    MOST_FOLLOWED,
    Face,
    FaceResult,
    Hints,
    Job,
    Modality,
    StreamClosed,
    StreamEnded,
    StreamOpened,
    StreamStatus,
)

MODALITIES: tuple[Modality, ...] = ("face", "speech")


@dataclass
class LastSeen:
    """Face positions in the newest answered frame of a live stream, passed on with the next frames.

    This keeps workers stateless: the hints of an answer travel on with the next assignment.
    """

    seq: int = -1
    hints: Hints | None = None
    faces: tuple[Face, ...] = ()
    models: Mapping[str, str] = field(default_factory=dict)

    def remember(self, answer: FaceResult, models: Mapping[str, str] | None = None) -> None:
        """Keep the hints of an answer and its faces, unless a newer frame was answered before.

        Args:
            models: of the worker that answered, as it said in its Hello; an answer names them in other words.
        """
        if answer.seq > self.seq:
            self.seq, self.hints = answer.seq, answer.hints
            self.faces = answer.faces if answer.hints is not None else ()
            self.models = models or {}

    def for_job(self, job: Job) -> Hints | None:
        """The hints for this frame; None if its worker has to detect faces anew."""
        if job.modality != "face" or self.hints is None:
            return None
        until = min(self.hints.until, self.seq + MOST_FOLLOWED)
        in_time = self.hints.until_ns is None or job.pts_ns < self.hints.until_ns
        return self.hints if self.seq < job.seq < until and in_time else None

    def read_by(self, models: Mapping[str, str]) -> tuple[Face, ...]:
        """The faces, for a worker with the models that read them; another one reads each face itself."""
        return self.faces if self.models == models else ()


@dataclass
class OpenStream:
    """One run of a stream.

    Attributes:
        capture: name of its capture process.
        leases: jobs of a file whose credits are not yet released.
        settled: seqs of frames whose credits are to be released.
        ended: end of each modality as capture announced it, kept for a fusion process that joins later.
        closed: fusion's announcement that everything is dealt with.
        unsaved_by: names of the recorders that have not yet confirmed a closed stream.
        restarting: true once capture was asked to start a new run; nothing of this run counts any more.
        last_seen: hints for the next frames of a stream whose frames come in order.
    """

    opened: StreamOpened
    capture: str
    leases: set[tuple[Modality, int]] = field(default_factory=set)
    settled: list[int] = field(default_factory=list)
    ended: dict[Modality, StreamEnded] = field(default_factory=dict)
    closed: StreamClosed | None = None
    unsaved_by: set[str] = field(default_factory=set)
    restarting: bool = False
    last_seen: LastSeen = field(default_factory=LastSeen)

    @property
    def every(self) -> bool:
        """True for a file, every frame of which is analysed (policy `every`)."""
        return self.opened.policy == "every"

    @property
    def ordered(self) -> bool:
        """True where frames come in order: of a live stream, and of a file that is analysed quickly."""
        return not self.every or self.opened.quick

    def status(self, dispatch: Dispatch) -> StreamStatus:
        """The stream's counters, for the bus."""
        opened = self.opened
        counts = {modality: dispatch.counts(opened.stream, modality) for modality in MODALITIES}
        return StreamStatus(
            stream=opened.stream,
            policy=opened.policy,
            source=opened.source,
            offered={modality: found.offered for modality, found in counts.items()},
            done={modality: found.done for modality, found in counts.items()},
            dropped={modality: found.dropped for modality, found in counts.items()},
            failed={modality: found.failed for modality, found in counts.items()},
            reasons={modality: dict(found.reasons) for modality, found in counts.items()},
        )
