"""Fusion's process: results of all streams in, events out."""

from __future__ import annotations

import time

from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Body, FaceResult, LaneMessage, Reconfigure, Reconfigured
from bimodal.workers.actor import ActorSettings, own
from bimodal.workers.fusion.foreign import ForeignEmbeddings
from bimodal.workers.fusion.fusion import Fusion
from bimodal.workers.fusion.loading import Loaded, Loading, load
from bimodal.workers.lane_reader import LaneReader
from bimodal.workers.settings import FusionActorSettings


class FusionActor(LaneReader):
    """Holds the state of all streams; loses it with its process, which files pay with a new start.

    Told other settings, it goes on with what it holds. Another dynamic model is loaded in a thread of its own, so that
    no frame waits for it; where that fails, everything stays as it was.
    """

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        """Load the dynamic model, if there is one; raises ArtifactError or ProviderError."""
        super().__init__(mailbox)
        self._name = settings.name
        self._events = 0
        self._in_use = load(own(settings, FusionActorSettings))
        self._loading: Loading | None = None
        self._told = 0
        self._foreign = ForeignEmbeddings()
        self._fusion = Fusion(self._in_use.settings.fusion, self._in_use.dynamic, self._in_use.learned)
        self.models.update(self._in_use.models)

    def handle(self, body: Body) -> None:
        """A message of the lane, or other settings."""
        if isinstance(body, Reconfigure):
            self._begin(body)
        else:
            super().handle(body)
        self._settle()

    def idle(self) -> None:
        """Acknowledge what is left; see whether a model is loaded."""
        super().idle()
        self._settle()

    def receive(self, message: LaneMessage) -> None:
        """Send on what the message lets out."""
        if isinstance(message, FaceResult):
            self._foreign.see(self._in_use.dynamic, message.models.get("face-static"), time.monotonic())
        for event in self._fusion.receive(message, time.monotonic_ns()):
            self._mailbox.send_soon(event)
            self._events += 1

    def _begin(self, order: Reconfigure) -> None:
        """The supervisor says the same until it is answered; what is loading already goes on loading."""
        if order.revision != self._told:
            self._told = order.revision
            self._loading = Loading(order, self._in_use)
        elif self._loading is None:
            self._mailbox.send(Reconfigured(name=self._name, revision=order.revision))

    def _settle(self) -> None:
        loading = self._loading
        if loading is None or loading.busy:
            return
        self._loading = None
        if isinstance(loading.outcome, Loaded):
            self._in_use = loading.outcome
            self._fusion.reconfigure(self._in_use.settings.fusion, self._in_use.dynamic, self._in_use.learned)
            self.models.clear()
            self.models.update(self._in_use.models)
            because = None
        else:
            because = loading.outcome
            self._told = 0
        self._mailbox.send(Reconfigured(name=self._name, revision=loading.revision, because=because))

    def trouble(self) -> str | None:
        """What is passed over of what comes in, and why."""
        return self._foreign.sentence(self._in_use.dynamic, time.monotonic())

    def figures(self) -> dict[str, float]:
        """Events sent, and results that wait for others."""
        return {"events": float(self._events), "held": float(self._fusion.held)}

    def close(self) -> None:
        """Nothing to let go of that the process's end does not free."""
