"""What `bimodal scale` may ask for: pure checks of a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from bimodal.broker.errors import ControlError
from bimodal.broker.messages import Modality
from bimodal.workers.config import Config

MOST_WORKERS = 256

Kind: TypeAlias = Literal["face", "audio"]
KINDS: dict[Kind, Modality] = {"face": "face", "audio": "speech"}


def checked_counts(counts: Mapping[str, int], config: Config) -> dict[Kind, int]:
    """The numbers of workers that are asked for. Raises ControlError where there can't be such workers."""
    wanted: dict[Kind, int] = {kind: counts[kind] for kind in KINDS if kind in counts}
    if not wanted or set(counts) - set(KINDS):
        raise ControlError("only face and audio workers can be scaled: say face=4 or audio=2")
    if not all(1 <= count <= MOST_WORKERS for count in wanted.values()):
        raise ControlError(f"there may be 1 to {MOST_WORKERS} workers of a kind")
    if "audio" in wanted and config.models.speech == "none":
        raise ControlError("there is no speech model, so there are no audio workers to scale")
    return wanted


def describe_scale(before: Mapping[Kind, int], after: Mapping[Kind, int]) -> str:
    """One sentence on it."""
    return "; ".join(f"{kind}: {before[kind]} → {count} workers" for kind, count in after.items())
