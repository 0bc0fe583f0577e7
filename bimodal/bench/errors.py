"""Errors of the bench."""

from __future__ import annotations

from bimodal.workers.errors import WorkerError


class BenchError(WorkerError):
    """A part could not be measured; the message says why and what to do."""
