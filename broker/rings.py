"""Names of rings of shared slots, and removal of leftover rings. Without numpy, because the supervisor imports it."""

from __future__ import annotations

from pathlib import Path

from bimodal.broker.messages import Modality


def ring_name(stream: str, run: int, modality: Modality, number: int) -> str:
    """The file name of a ring: the `number`th that this run of a stream has needed."""
    return f"{stream}.{run}.{modality}.{number}"


def remove_rings(folder: Path, stream: str) -> None:
    """Remove the rings that a killed writer left of a stream. Readers keep their view until they close it."""
    for path in folder.glob("*"):
        if path.name.rsplit(".", 3)[0] == stream:
            path.unlink(missing_ok=True)


def remove_rings_of_run(folder: Path, stream: str, run: int) -> None:
    """Remove the rings of one run of a stream."""
    for path in folder.glob("*"):
        if path.name.rsplit(".", 2)[0] == f"{stream}.{run}":
            path.unlink(missing_ok=True)
