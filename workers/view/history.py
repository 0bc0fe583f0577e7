"""The last two minutes of a stream, coarse, so that a page that is opened now shows them at once. Pure."""

from __future__ import annotations

from collections import deque

from bimodal.broker.messages import Emotion, Probabilities
from bimodal.models.emotions import EMOTIONS
from bimodal.workers.verdict import fused, leading

SPAN_S = 120.0
STEP_S = 0.2

Point = dict[str, object]


def point(event: Emotion, at: float) -> Point:
    """What the timeline shows of an event. Keys are short, for there are 600 of them in a history.

    Lists hold the seven emotions in their order, null where one is not known.
    """
    face, speech, verdict = leading(event), event.speech, event.emotion
    return {
        "at": round(at, 3),
        "t": round(event.t, 3),
        "label": verdict.label,
        "confidence": verdict.confidence,
        "agreement": verdict.agreement,
        "because": verdict.because,
        "video": seven(face.video if face is not None else None),
        "speech": seven(speech.probabilities if speech is not None else None),
        "fused": seven(fused(event)),
    }


def seven(probabilities: Probabilities | None) -> list[float | None] | None:
    """The emotions in their order."""
    if probabilities is None:
        return None
    return [round(probabilities[name], 3) if name in probabilities else None for name in EMOTIONS]


class History:
    """One point each fifth of a second, for two minutes; `at` is seconds of one monotonic clock."""

    def __init__(self) -> None:
        self.points: deque[Point] = deque()
        self._due = 0.0
        self._times: deque[float] = deque()

    def add(self, event: Emotion, at: float) -> None:
        """One more event; most leave no point."""
        if at < self._due:
            return
        self._due = max(self._due + STEP_S, at + STEP_S / 2)
        self.points.append(point(event, at))
        self._times.append(at)
        while self._times and at - self._times[0] > SPAN_S:
            self._times.popleft()
            self.points.popleft()
