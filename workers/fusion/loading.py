"""Fusion's settings and its models, loaded; also beside those in use, in a thread of its own."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from bimodal.broker.messages import Reconfigure
from bimodal.errors import BimodalError
from bimodal.models.onnx_properties import metadata_of
from bimodal.models.session import open_artifact
from bimodal.workers.fusion.dynamic import DynamicModel, dynamic_model
from bimodal.workers.fusion.learned import LearnedFusion, learned_fusion
from bimodal.workers.settings import FusionActorSettings

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
