"""The evidence of a turn of speech, gathered over its windows. Causal, and pure: no clock."""

from __future__ import annotations

import math

MEMORY_S, PAUSE_S = 4.0, 1.0
"""Defaults of `fusion.turn_s` and `fusion.turn_pause_s`."""
HEARD_S = 3.0
"""Seconds of voice from which on a window counts fully: as much as speech models take."""
FLOOR = 1e-4
"""Least probability that counts: one window's near zero is no veto for a whole turn."""


class TurnEvidence:
    """Joins the probabilities of the windows since the voice began, until it pauses.

    A window hears at most the last seconds, and the first ones of a turn little voice at all. So the log probabilities
    of a turn's windows are averaged, weighted by (seconds of voice so far, at most HEARD_S) ² and by an exponential
    decay of time constant `memory_s`: who speaks on may feel something else by then.

    A new turn begins after `pause_s` without voice, or where a window names other emotions than the one before (another
    model).
    """

    def __init__(self, memory_s: float, pause_s: float) -> None:
        """`memory_s`: 0 judges every window for itself."""
        self._sums: dict[str, float] = {}
        self._weight = 0.0
        self._heard_s = 0.0
        self._end_ns: int | None = None
        self.reconfigure(memory_s, pause_s)

    def reconfigure(self, memory_s: float, pause_s: float) -> None:
        """Use other settings from the next window on; the turn goes on."""
        self._memory_s, self._pause_s = memory_s, pause_s

    def update(self, end_ns: int, hop_ns: int, voice: float, probabilities: dict[str, float]) -> dict[str, float]:
        """Take the next window with voice, and return the evidence of the turn up to it, over the same emotions.

        Args:
            end_ns: pts of the window's end; windows come in order.
            hop_ns: length of its newest hop.
            voice: share of voice in that hop, 0…1.
            probabilities: of the window; sum to 1.
        """
        hop_s = max(0, hop_ns) / 1e9
        since_s = math.inf if self._end_ns is None else (end_ns - self._end_ns) / 1e9
        if not 0 <= since_s < hop_s + self._pause_s or self._sums.keys() != probabilities.keys():
            self._begin(probabilities)
        self._end_ns = end_ns
        self._heard_s += hop_s * min(max(voice, 0.0), 1.0)
        if self._memory_s <= 0:
            return probabilities
        decay = math.exp(-since_s / self._memory_s)  # 0 for the first window of all
        weight = max(min(self._heard_s, HEARD_S), 1e-3) ** 2
        self._weight = self._weight * decay + weight
        for emotion, probability in probabilities.items():
            self._sums[emotion] = self._sums[emotion] * decay + weight * math.log(max(probability, FLOOR))
        raised = {emotion: math.exp(value / self._weight) for emotion, value in self._sums.items()}
        total = math.fsum(raised.values())
        return {emotion: value / total for emotion, value in raised.items()}

    def _begin(self, probabilities: dict[str, float]) -> None:
        self._sums = dict.fromkeys(probabilities, 0.0)
        self._weight = self._heard_s = 0.0
