"""A stream that is open: what the broker keeps of it beside its jobs."""

from __future__ import annotations

from dataclasses import dataclass, field

from bimodal.broker.dispatch import Dispatch
from bimodal.broker.hints import LastSeen
from bimodal.broker.messages import Modality, StreamClosed, StreamEnded, StreamOpened, StreamStatus

MODALITIES: tuple[Modality, ...] = ("face", "speech")


@dataclass
class OpenStream:
    """One run of a stream.

    Attributes:
        capture: the name of its capture.
        leases: of a file, the jobs whose credits are out.
        settled: seqs of frames whose credits are to go back.
        ended: what capture has said of the ends of its jobs: fusion that is new must hear it too.
        closed: what fusion has said when all was dealt with.
        unkept_by: of one that is closed, the recorders that have not yet kept all of it.
        restarting: whether capture was asked to begin anew: nothing of this run counts any more.
        seen: where faces were, for the next frames of a live stream.
    """

    opened: StreamOpened
    capture: str
    leases: set[tuple[Modality, int]] = field(default_factory=set)
    settled: list[int] = field(default_factory=list)
    ended: dict[Modality, StreamEnded] = field(default_factory=dict)
    closed: StreamClosed | None = None
    unkept_by: set[str] = field(default_factory=set)
    restarting: bool = False
    seen: LastSeen = field(default_factory=LastSeen)

    @property
    def every(self) -> bool:
        """Whether it is a file, of which every frame is looked at."""
        return self.opened.policy == "every"

    def status(self, dispatch: Dispatch) -> StreamStatus:
        """Its counters, for the bus."""
        opened = self.opened
        tallies = {modality: dispatch.tally(opened.stream, modality) for modality in MODALITIES}
        return StreamStatus(
            stream=opened.stream,
            policy=opened.policy,
            source=opened.source,
            offered={modality: tally.offered for modality, tally in tallies.items()},
            done={modality: tally.done for modality, tally in tallies.items()},
            dropped={modality: tally.dropped for modality, tally in tallies.items()},
            failed={modality: tally.failed for modality, tally in tallies.items()},
            reasons={modality: dict(tally.reasons) for modality, tally in tallies.items()},
        )
