"""Anchors of MediaPipe's short-range face detector (SsdAnchorsCalculator with fixed_anchor_size)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bimodal.models.faces.geometry import AnchorLayer


def make_anchors(layers: Sequence[AnchorLayer]) -> NDArray[np.float32]:
    """Centres float32 [K, 2] (x, y) in 0…1 of the input, in the order of the raw boxes: row by row, each repeated."""
    return np.concatenate([_layer(layer) for layer in layers])


def _layer(layer: AnchorLayer) -> NDArray[np.float32]:
    centres = (np.arange(layer.cells, dtype=np.float32) + np.float32(0.5)) / np.float32(layer.cells)
    y, x = np.meshgrid(centres, centres, indexing="ij")
    return np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), layer.repeats, axis=0)
