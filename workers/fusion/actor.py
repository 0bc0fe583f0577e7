"""Fusion's process: results of all streams in, events out."""

from __future__ import annotations

import logging
import math
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Body, FaceResult, LaneMessage, Reconfigure, Reconfigured
from bimodal.errors import BimodalError
from bimodal.models.scan import metadata_of
from bimodal.models.session import open_artifact
from bimodal.workers.actor import ActorSettings, LaneReader, own
from bimodal.workers.fusion.combine import LearnedFusion, learned_fusion
from bimodal.workers.fusion.dynamic import DynamicModel, dynamic_model
from bimodal.workers.fusion.streams import Fusion
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

    def on_message(self, body: Body) -> None:
        """A message of the lane, or other settings."""
        if isinstance(body, Reconfigure):
            self._begin(body)
        else:
            super().on_message(body)
        self._settle()

    def on_idle(self) -> None:
        """Acknowledge what is left; see whether a model is loaded."""
        super().on_idle()
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

    def degraded_reason(self) -> str | None:
        """What is passed over of what comes in, and why."""
        return self._foreign.sentence(self._in_use.dynamic, time.monotonic())

    def figures(self) -> dict[str, float]:
        """Events sent, and results that wait for others."""
        return {"events": float(self._events), "held": float(self._fusion.held)}

    def close(self) -> None:
        """Nothing to let go of that the process's end does not free."""


# Fusion's settings and its models, loaded; also beside those in use, in a thread of its own.


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """What fusion works with. `models` are its artifacts by kind, as name@version."""

    settings: FusionActorSettings
    dynamic: DynamicModel | None
    models: dict[str, str]
    learned: LearnedFusion | None = None


def load(settings: FusionActorSettings) -> Loaded:
    """Open the dynamic and the fusion model, where there are any; raises ArtifactError."""
    models: dict[str, str] = {}
    dynamic = learned = None
    if settings.dynamic is not None:
        # A step of it is smaller than the way to a GPU, where it would hold memory of its own.
        artifact = open_artifact(settings.dynamic, "face-dynamic", provider="cpu", threads=settings.runtime.threads)
        static = metadata_of(Path(settings.static), "face-static")
        dynamic = dynamic_model(artifact, static.embedding_space or "", static.identity)
        models["face-dynamic"] = artifact.identity
    if settings.learned is not None:
        learned = learned_fusion(open_artifact(settings.learned, "fusion", provider="cpu", threads=1))
        models["fusion"] = learned.identity
    return Loaded(settings, dynamic, models, learned)


class Loading:
    """Settings that are on their way in.

    Attributes:
        revision: of what was told.
        outcome: once it is not `busy` any more: what is loaded, or the sentence that says why that failed.
    """

    def __init__(self, order: Reconfigure, in_use: Loaded) -> None:
        self.revision = order.revision
        self.outcome: Loaded | str = "it was stopped before it was done"
        self._thread = threading.Thread(target=self._load, args=(order, in_use), name="loading", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether it still loads."""
        return self._thread.is_alive()

    def _load(self, order: Reconfigure, in_use: Loaded) -> None:
        try:
            settings = msgspec.convert(order.settings, FusionActorSettings, strict=False)
            self.outcome = _kept(settings, in_use) or load(settings)
        except (BimodalError, msgspec.ValidationError) as error:
            self.outcome = str(error)
        except Exception as error:  # whatever it is, what works must go on working
            log.exception("new settings failed")
            self.outcome = f"fusion met an unexpected {type(error).__name__}; the log has the details"


def _kept(settings: FusionActorSettings, in_use: Loaded) -> Loaded | None:
    """With the model that is open, where nothing but the settings of fusion itself is new; else None.

    Settings that are all the same mean that a model's file is new.
    """
    only_fusion = msgspec.structs.replace(settings, fusion=in_use.settings.fusion) == in_use.settings
    return replace(in_use, settings=settings) if only_fusion and settings != in_use.settings else None


# Embeddings that come from another static model than the dynamic one is fed with: a worker elsewhere may have it.


NOTED_AFTER_S = 3.0
"""While models are swapped a few results of the others still come: that is nothing to speak of."""
FORGOTTEN_AFTER_S = 5.0


class ForeignEmbeddings:
    """Remembers since when results with foreign embeddings have been coming. Times in seconds of any steady clock."""

    def __init__(self) -> None:
        self._identity = ""
        self._first_s = self._last_s = -math.inf

    def see(self, model: DynamicModel | None, static: str | None, now_s: float) -> None:
        """A result of the static model `static` (name@version, of several joined by +) has come."""
        if model is None or model.reads(static):
            return
        if static != self._identity or now_s - self._last_s > FORGOTTEN_AFTER_S:
            self._identity, self._first_s = static or "an unnamed model", now_s
        self._last_s = now_s

    def sentence(self, model: DynamicModel | None, now_s: float) -> str | None:
        """What is said of it while it lasts; None where there is nothing to say."""
        lasts = self._last_s - self._first_s >= NOTED_AFTER_S and now_s - self._last_s <= FORGOTTEN_AFTER_S
        if model is None or not lasts:
            return None
        return (
            f"faces judged by '{self._identity}' have no dynamic judgement: the dynamic model needs the embeddings of "
            f"'{model.static}'; give every worker the same models"
        )
