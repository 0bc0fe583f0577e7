"""What can go wrong in the bench."""

from __future__ import annotations

from bimodal.workers.errors import WorkerError


class BenchError(WorkerError):
    """A part could not be measured; the sentence says why and what to do."""
