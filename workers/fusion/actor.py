"""Fusion's process: results of all streams in, events out."""

from __future__ import annotations

import time

from broker.mailbox import Mailbox
from broker.messages import LaneMessage
from models.session import open_artifact
from workers.actor import ActorSettings, own
from workers.fusion.dynamic import DynamicModel, dynamic_model
from workers.fusion.fusion import Fusion
from workers.lane_reader import LaneReader
from workers.settings import FusionActorSettings


class FusionActor(LaneReader):
    """Holds the state of all streams; loses it with its process, which files pay with a new start."""

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        """Load the dynamic model, if there is one; raises ArtifactError or ProviderError."""
        super().__init__(mailbox)
        mine = own(settings, FusionActorSettings)
        self._events = 0
        self._fusion = Fusion(mine.fusion, self._open_dynamic(mine))

    def _open_dynamic(self, mine: FusionActorSettings) -> DynamicModel | None:
        if mine.dynamic is None:
            return None
        runtime = mine.runtime
        artifact = open_artifact(mine.dynamic, "face-dynamic", provider=runtime.provider, threads=runtime.threads)
        static = open_artifact(mine.static, "face-static", provider="cpu")
        self.models["face-dynamic"] = artifact.identity
        return dynamic_model(artifact, static.metadata.embedding_space or "")

    def receive(self, message: LaneMessage) -> None:
        """Send on what the message lets out."""
        for event in self._fusion.receive(message, time.monotonic_ns()):
            self._mailbox.send(event)
            self._events += 1

    def figures(self) -> dict[str, float]:
        """Events sent, and results that wait for others."""
        return {"events": float(self._events), "held": float(self._fusion.held)}

    def close(self) -> None:
        """Nothing to let go of that the process's end does not free."""
