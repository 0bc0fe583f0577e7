"""Embeddings that come from another static model than the dynamic one is fed with: a worker elsewhere may have it."""

from __future__ import annotations

import math

from bimodal.workers.fusion.dynamic import DynamicModel

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
