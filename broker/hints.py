"""Where faces of a live stream were last seen, kept for the next frame's worker. Pure; one of these a stream and run.

Workers stay without state: what one of them found travels back with its answer, and on with the next assignment.
"""

from __future__ import annotations

from dataclasses import dataclass

from bimodal.broker.messages import MOST_FOLLOWED, FaceResult, Hints, Job


@dataclass
class LastSeen:
    """What the answer to the newest frame said."""

    seq: int = -1
    hints: Hints | None = None

    def remember(self, answer: FaceResult) -> None:
        """An answer came; those to older frames, which another worker took longer for, change nothing."""
        if answer.seq > self.seq:
            self.seq, self.hints = answer.seq, answer.hints

    def for_job(self, job: Job) -> Hints | None:
        """What goes along with this frame; None where its worker has to look for faces itself."""
        if job.modality != "face" or self.hints is None:
            return None
        until = min(self.hints.until, self.seq + MOST_FOLLOWED)
        return self.hints if self.seq < job.seq < until else None
