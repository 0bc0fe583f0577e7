"""Fusion's process: results of all streams in, events out."""

from __future__ import annotations

import logging
import math
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bimodal.broker.events import Emotion, Stretch
from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Body, FaceResult, LaneMessage, Reconfigure, Reconfigured, StreamClosed
from bimodal.errors import BimodalError
from bimodal.models.scan import metadata_of
from bimodal.recordings.segments import SegmentFinder, stretch
from bimodal.workers.actor import ActorSettings, LaneReader, own
from bimodal.workers.fusion.combine import learned_fusion
from bimodal.workers.fusion.dynamic import DynamicModel, dynamic_model
from bimodal.workers.fusion.scene import FusionModels
from bimodal.workers.fusion.streams import Fusion, FusionEvent
from bimodal.workers.settings import FusionActorSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bimodal.models.session import Artifact

LOOK_EVERY_S = 0.1


class FusionActor(LaneReader):
    """Fusion of all streams. State is in memory only: if this process dies, files in progress are analysed again.

    New settings apply without loss of state. A new dynamic model is loaded in a thread of its own, so that no frame
    waits for it; where that fails, everything stays as it was.
    """

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        """Load the dynamic model, if there is one; raises ArtifactError or ProviderError."""
        super().__init__(mailbox)
        self._name = settings.name
        self._events = 0
        self._in_use = load(own(settings, FusionActorSettings))
        self._loading: Loading | None = None
        self._revision = 0
        self._foreign = ForeignEmbeddings()
        self._stretches = Stretches()
        self._fusion = Fusion(self._in_use.settings.fusion, self._in_use.models)
        self.models.update(self._in_use.names)

    @property
    def turn_s(self) -> float | None:
        """Seconds between two looks at a model that is being loaded; None while there is none."""
        return LOOK_EVERY_S if self._loading is not None else None

    def on_message(self, body: Body) -> None:
        """Take a message of the lane, or new settings."""
        if isinstance(body, Reconfigure):
            self._begin(body)
        else:
            super().on_message(body)
        self._settle()

    def on_idle(self) -> None:
        """Acknowledge messages; take over a model that has been loaded."""
        super().on_idle()
        self._settle()

    def receive(self, message: LaneMessage) -> None:
        """Send the events that the message completes."""
        if isinstance(message, FaceResult):
            self._foreign.on_result(self._in_use.models.dynamic, message.models.get("face-static"), time.monotonic())
        for event in self._fusion.receive(message, time.monotonic_ns()):
            # Before the close of a stream come the stretches that it ends.
            bodies: list[Body] = [*self._stretches.on_event(event)]
            bodies.insert(len(bodies) if isinstance(event, StreamClosed) else 0, event)
            for body in bodies:
                self._mailbox.send_soon(body)
            self._events += 1

    def _begin(self, order: Reconfigure) -> None:
        """Load new settings. The supervisor repeats them until it is answered; a load in progress goes on."""
        if order.revision != self._revision:
            self._revision = order.revision
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
            self._fusion.reconfigure(self._in_use.settings.fusion, self._in_use.models)
            self.models.clear()
            self.models.update(self._in_use.names)
            reason = None
        else:
            reason = loading.outcome
            self._revision = 0
        self._mailbox.send(Reconfigured(name=self._name, revision=loading.revision, because=reason))

    def degraded_reason(self) -> str | None:
        """Why results are used only in part, in one sentence; None while all are used."""
        now_s = time.monotonic()
        found = (
            self._foreign.degraded_reason(self._in_use.models.dynamic, now_s),
            self._in_use.wrong.degraded_reason(now_s),
        )
        return "; ".join(filter(None, found)) or None

    def figures(self) -> dict[str, float]:
        """Number of events sent, and of results that wait for others."""
        return {"events": float(self._events), "held": float(self._fusion.held)}

    def close(self) -> None:
        """Do nothing: the end of the process frees everything."""


class Stretches:
    """The segments of all streams, as they end; of each stream, those of its newest run."""

    def __init__(self) -> None:
        self._finders: dict[str, tuple[int, SegmentFinder]] = {}

    def on_event(self, event: FusionEvent) -> list[Stretch]:
        """Take an event; returns the stretches that it ends."""
        stream, run = event.stream, event.run
        if isinstance(event, StreamClosed):
            number, finder = self._finders.pop(stream, (run, None))
            return [] if finder is None or number != run else [stretch(stream, run, one) for one in finder.finish()]
        if stream not in self._finders or self._finders[stream][0] != run:
            self._finders[stream] = run, SegmentFinder(hops=True)
        finder = self._finders[stream][1]
        found = finder.on_event(event) if isinstance(event, Emotion) else finder.on_hop(event)
        return [stretch(stream, run, one) for one in found]


# Settings and models, loaded in a thread while others are in use.

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """Fusion's settings and opened models.

    `names` are the models' name@version by kind; `wrong` looks at their answers.
    """

    settings: FusionActorSettings
    models: FusionModels
    names: dict[str, str]
    wrong: WrongAnswers


def load(settings: FusionActorSettings) -> Loaded:
    """Open the dynamic and the fusion model, where there are any; raises ArtifactError."""
    names: dict[str, str] = {}
    dynamic = learned = None
    wrong = WrongAnswers()
    if settings.dynamic is None and settings.learned is None:
        return Loaded(settings, FusionModels(dynamic, learned), names, wrong)
    # Loaded for a model only: without one, fusion is ready in half the time.
    from bimodal.models.session import open_artifact

    if settings.dynamic is not None:
        # One step takes less time than a transfer to a GPU, where it would need memory of its own.
        artifact = open_artifact(settings.dynamic, "face-dynamic", provider="cpu", threads=settings.runtime.threads)
        static = metadata_of(Path(settings.static), "face-static")
        dynamic = dynamic_model(
            wrong.watched(artifact), static.embedding_space or "", static.identity, settings.emotions
        )
        names["face-dynamic"] = artifact.identity
    if settings.learned is not None:
        artifact = open_artifact(settings.learned, "fusion", provider="cpu", threads=1)
        learned = learned_fusion(wrong.watched(artifact), settings.emotions)
        names["fusion"] = learned.identity
    return Loaded(settings, FusionModels(dynamic, learned), names, wrong)


class Loading:
    """New settings and their models, while they are loaded.

    Attributes:
        revision: of the Reconfigure message.
        outcome: valid once `busy` is False: the loaded models, or why that failed, one sentence.
    """

    def __init__(self, order: Reconfigure, in_use: Loaded) -> None:
        self.revision = order.revision
        self.outcome: Loaded | str = "it was stopped before it was done"
        self._thread = threading.Thread(target=self._load, args=(order, in_use), name="loading", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """True while it loads."""
        return self._thread.is_alive()

    def _load(self, order: Reconfigure, in_use: Loaded) -> None:
        try:
            settings = msgspec.convert(order.settings, FusionActorSettings, strict=False)
            self.outcome = _kept(settings, in_use) or load(settings)
        except (BimodalError, msgspec.ValidationError) as error:
            self.outcome = str(error)
        except Exception as error:  # fusion must go on, whatever the error
            log.exception("new settings failed")
            self.outcome = f"fusion met an unexpected {type(error).__name__}; the log has the details"


def _kept(settings: FusionActorSettings, in_use: Loaded) -> Loaded | None:
    """The open models with the new settings, where only the section `fusion` differs; else None.

    Equal settings mean that the file of a model is new.
    """
    only_fusion = msgspec.structs.replace(settings, fusion=in_use.settings.fusion) == in_use.settings
    return replace(in_use, settings=settings) if only_fusion and settings != in_use.settings else None


class WrongAnswers:
    """Keeps which of fusion's models answered last with something that is no number: such an answer is left out."""

    def __init__(self) -> None:
        self._last_s: dict[str, float] = {}

    def watched(self, artifact: Artifact) -> Artifact:
        """The same model, whose answers are looked at."""
        return artifact.with_run(self._run)

    def _run(self, artifact: Artifact, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        outputs = artifact.run(**inputs)
        # One value for each emotion: the sum of few numbers is cheaper than numpy's own question.
        if not math.isfinite(sum(outputs["probabilities"][0].tolist())):
            self._last_s[artifact.identity] = time.monotonic()
        return outputs

    def degraded_reason(self, now_s: float) -> str | None:
        """Say in one sentence which models do so, as long as they do; else None."""
        names = [name for name, last_s in self._last_s.items() if now_s - last_s <= FORGOTTEN_AFTER_S]
        if not names:
            return None
        return f"{', '.join(names)} answers with something that is no number, so results are without it"


# Embeddings of another static model than the dynamic one was trained with: a worker on another machine may have it.

NOTED_AFTER_S = 3.0
"""A shorter spell is not reported: during a swap a few results of the old models still arrive."""
FORGOTTEN_AFTER_S = 5.0


class ForeignEmbeddings:
    """Keeps since when results with foreign embeddings have arrived. Times in seconds of any steady clock."""

    def __init__(self) -> None:
        self._identity = ""
        self._first_s = self._last_s = -math.inf

    def on_result(self, model: DynamicModel | None, static: str | None, now_s: float) -> None:
        """Note a result of the static model `static` (name@version, several joined by +)."""
        if model is None or model.reads(static):
            return
        if static != self._identity or now_s - self._last_s > FORGOTTEN_AFTER_S:
            self._identity, self._first_s = static or "an unnamed model", now_s
        self._last_s = now_s

    def degraded_reason(self, model: DynamicModel | None, now_s: float) -> str | None:
        """Describe the mismatch in one sentence while it lasts, else None."""
        lasts = self._last_s - self._first_s >= NOTED_AFTER_S and now_s - self._last_s <= FORGOTTEN_AFTER_S
        if model is None or not lasts:
            return None
        return (
            f"faces judged by '{self._identity}' have no dynamic judgement: the dynamic model needs the embeddings of "
            f"'{model.static}'; give every worker the same models"
        )
