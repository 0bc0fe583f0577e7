"""The table of all kinds of processes: what runs each, what it needs, and how it changes. Read it top to bottom."""

from __future__ import annotations

from typing import Literal

import msgspec

from bimodal.broker.messages import Modality
from bimodal.broker.messages import Role as ActorRole

Role = Literal["broker", "face", "audio", "fusion", "record", "view", "window", "film", "lsl", "replay", "capture"]

# What each role is to the broker, its module, and which roles must be ready before it starts. Capture does not wait
# for workers: its jobs do. It waits for those who would miss the beginning of a stream.
TABLE: dict[Role, tuple[ActorRole, str, tuple[Role, ...]]] = {
    "broker": ("supervisor", "bimodal.workers.broker", ()),
    "face": ("worker", "bimodal.workers.face", ()),
    "audio": ("worker", "bimodal.workers.audio", ()),
    "fusion": ("fusion", "bimodal.workers.fusion", ()),
    "record": ("recorder", "bimodal.workers.record", ()),
    "view": ("observer", "bimodal.workers.view", ()),
    "window": ("observer", "bimodal.workers.window", ()),
    "film": ("observer", "bimodal.workers.film", ()),
    "lsl": ("observer", "bimodal.workers.lsl", ()),
    "replay": ("fusion", "bimodal.workers.replay", ("broker",)),
    "capture": ("capture", "bimodal.workers.capture", ("broker", "fusion", "record")),
}


# How a row changes while the system runs (workers/supervision/plan.py). Workers hold no state: new ones load beside the
# old. The broker and fusion hold the state of every stream: they are told. Every other process stops and is started
# again.
BESIDE: tuple[Role, ...] = ("face", "audio")
TOLD: tuple[Role, ...] = ("broker", "fusion")
# Where one of these can't work (no display, no room on the disk), it says so and everything else goes on.
OPTIONAL: tuple[Role, ...] = ("window", "film")


class ProcessSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One process: a row made from the table and the config.

    Attributes:
        name: its title, unique in the session.
        settings: what its kind of actor is told.
        ends: whether it may end by itself when its work is done (a file); anything else is started again.
        artifacts: marks of the files it loads, so that a file replaced under the same name makes another row.
        cores: the only ones it may run on; empty for all.
        max_memory_mb: private memory beyond which it is started again, None without limit.
    """

    name: str
    role: Role
    settings: msgspec.Struct
    modality: Modality | None = None
    ends: bool = False
    artifacts: tuple[str, ...] = ()
    cores: tuple[int, ...] = ()
    max_memory_mb: int | None = None

    @property
    def module(self) -> str:
        """The module that is run."""
        return TABLE[self.role][1]

    @property
    def actor_role(self) -> ActorRole:
        """What the process is to the broker."""
        return TABLE[self.role][0]

    @property
    def needs(self) -> tuple[Role, ...]:
        """The roles of which one process each must be ready first."""
        return TABLE[self.role][2]
