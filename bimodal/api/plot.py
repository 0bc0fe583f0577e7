"""The timeline of a result as a matplotlib figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure

from bimodal.broker.events import Emotion, Probabilities, fused, leading
from bimodal.models.emotions import EMOTIONS

# Of the seven emotions, in their order: distinct for colour-blind readers (after Okabe and Ito).
COLOURS = ("#999999", "#E69F00", "#0072B2", "#F0E442", "#CC79A7", "#009E73", "#D55E00")


def timeline(name: str, events: Sequence[Emotion]) -> Figure:
    """Stacked probabilities of what was fused, of the leading face and of the voice, and their agreement."""
    figure = Figure(figsize=(10, 6), layout="constrained")
    axes = figure.subplots(4, 1, sharex=True, height_ratios=(2, 2, 2, 1))
    seconds = np.array([event.t for event in events])
    rows: tuple[tuple[str, Callable[[Emotion], Probabilities | None]], ...] = (
        ("fused", fused),
        ("video", _video),
        ("speech", lambda event: event.speech.probabilities if event.speech is not None else None),
    )
    for axis, (title, read) in zip(axes, rows, strict=False):
        # Where nothing is known there is a gap: NaN.
        stacks = np.array([[(read(event) or {}).get(emotion, np.nan) for event in events] for emotion in EMOTIONS])
        known = ~np.isnan(stacks).all(axis=0) if events else np.zeros(0, bool)
        stacks = np.where(known, np.nan_to_num(stacks), np.nan)
        axis.stackplot(seconds, stacks, labels=EMOTIONS, colors=COLOURS, step="post")
        axis.set_ylim(0, 1)
        axis.set_ylabel(title)
    agreement = [np.nan if event.emotion.agreement is None else event.emotion.agreement for event in events]
    axes[3].plot(seconds, agreement, color="black", linewidth=1)
    axes[3].set_ylim(0, 1)
    axes[3].set_ylabel("agreement", fontsize="small")
    axes[3].set_xlabel("seconds")
    axes[0].set_title(name)
    axes[0].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return figure


def _video(event: Emotion) -> Probabilities | None:
    face = leading(event)
    return face.video if face is not None else None
