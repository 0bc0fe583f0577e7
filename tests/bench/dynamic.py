"""Whether the configured face-dynamic model really runs in a yardstick."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from bimodal.config import check_config
from bimodal.models.emotions import Mapped
from bimodal.workers.fusion.actor import Loaded, load
from bimodal.workers.fusion.scene import FusionModels
from bimodal.workers.settings import FusionActorSettings

WITH_DYNAMIC = check_config(
    {"models": {"face-static": "face-compact", "face-dynamic": "face-dynamic-compact", "speech": "none"}}, "tests"
)


def counted_runs(monkeypatch: pytest.MonkeyPatch, module: str) -> list[tuple[int, ...]]:
    """The shapes that the dynamic model of what `module` loads is run with, as they come."""
    shapes: list[tuple[int, ...]] = []

    def loading(settings: FusionActorSettings) -> Loaded:
        loaded = load(settings)
        dynamic = loaded.models.dynamic
        assert dynamic is not None
        predict = dynamic.predict

        def counting(embeddings: NDArray[np.float32]) -> Mapped:
            shapes.append(embeddings.shape)
            return predict(embeddings)

        return replace(loaded, models=FusionModels(replace(dynamic, predict=counting), loaded.models.learned))

    monkeypatch.setattr(f"{module}.load", loading)
    return shapes
