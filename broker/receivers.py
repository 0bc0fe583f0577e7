"""What fusion and the recorders are told, and what one is told again that is new or was too far behind."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bimodal.broker.dispatch import Dispatch
from bimodal.broker.lanes import MOST_BACKLOG, Lane, Lanes
from bimodal.broker.messages import Dropped, Job, LaneMessage, Role, StreamClosed
from bimodal.broker.open_stream import MODALITIES, OpenStream


class Receivers:
    """The lanes, and the streams that go over them.

    Attributes:
        lanes: one for each receiver that is here.
    """

    def __init__(self, dispatch: Dispatch, streams: Mapping[str, OpenStream]) -> None:
        self.lanes = Lanes()
        self._dispatch = dispatch
        self._streams = streams

    def tell(self, role: Role, message: LaneMessage, *, later: bool = False) -> None:
        """Tell all receivers of a role."""
        for lane in self.lanes.tell(role, message, later=later):
            self._shed(lane)

    def tell_missing(self, job: Job) -> None:
        """Jobs before this one that were offered while no broker was there: fusion must not wait for them."""
        due = self._dispatch.tally(job.stream, job.modality).next_seq
        for seq in range(max(due, job.seq - MOST_BACKLOG), job.seq):
            missing = Dropped(
                stream=job.stream, run=job.run, modality=job.modality, seq=seq, because="no broker was there"
            )
            self.tell("fusion", missing)

    def resume(self, stream: OpenStream, lane: Lane) -> None:
        """Announce a live stream from its oldest open job on; fusion must not wait for later ones that are settled."""
        name, run = stream.opened.stream, stream.opened.run
        oldest = {modality: self._dispatch.oldest_open(name, modality) for modality in MODALITIES}
        lane.push(
            msgspec.structs.replace(stream.opened, next_face_seq=oldest["face"], next_speech_seq=oldest["speech"])
        )
        if lane not in self.lanes.of("fusion").values():
            return
        for modality in MODALITIES:
            for seq in self._dispatch.settled_early(name, modality):
                because = "it was settled before fusion was there"
                lane.push(Dropped(stream=name, run=run, modality=modality, seq=seq, because=because))
        for end in stream.ended.values():
            lane.push(end)

    def _shed(self, lane: Lane) -> None:
        """The receiver is far behind: drop what waits of live streams, and announce them again from here."""
        live = {name: stream for name, stream in self._streams.items() if not stream.every}
        dropped = lane.discard(lambda message: message.stream in live)
        if not dropped:
            return
        for stream in live.values():
            self.resume(stream, lane)
        # Nobody says twice that a stream is closed.
        for message in dropped:
            if isinstance(message, StreamClosed):
                lane.push(message)
