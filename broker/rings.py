"""Names of rings of shared slots, and the removal of what is left of them. Without numpy: the supervisor loads it."""

from __future__ import annotations

from pathlib import Path

from bimodal.broker.messages import Modality


def ring_name(stream: str, run: int, modality: Modality, number: int) -> str:
    """The file name of a ring: the `number`th that this run of a stream has needed."""
    return f"{stream}.{run}.{modality}.{number}"


def remove_rings(folder: Path, stream: str) -> None:
    """Remove what a writer that was killed has left behind of a stream. Readers keep their view until they let go."""
    for path in folder.glob("*"):
        if path.name.rsplit(".", 3)[0] == stream:
            path.unlink(missing_ok=True)
