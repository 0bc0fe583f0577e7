"""The pixel values that a face network expects, as plain settings; faces.py builds the graph from them."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

LARGEST_SIDE = 2048
Colour = Literal["rgb", "bgr", "grey"]
Layout = Literal["nchw", "nhwc"]
Sampling = Literal["linear", "nearest"]


class Resize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Resize crops to `side` pixels inside the graph.

    For networks trained on faces enlarged from a certain size, as by a `nearest` resize. For others the worker's own
    crop at the network's size is better, since it averages when it shrinks.
    """

    side: int
    sampling: Sampling = "linear"

    def __post_init__(self) -> None:
        if not 1 <= self.side <= LARGEST_SIDE:
            raise ValueError(f"side must be from 1 to {LARGEST_SIDE}, but is {self.side}")


class Pixels(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The pixel values that a face network expects: ((0…255) · scale + offset − mean) / deviation.

    Attributes:
        colour: order of the channels; `grey` has one.
        layout: `nchw` has the channels before the rows, `nhwc` behind the columns.
        scale, offset: applied to every value first.
        mean, deviation: one value, or one per channel in the order of `colour`; empty for none.
        resize: applied before all of that; None if crops have the network's size.
    """

    colour: Colour = "rgb"
    layout: Layout = "nchw"
    scale: float = 1.0
    offset: float = 0.0
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    resize: Resize | None = None

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("deviation", self.deviation)):
            if len(values) not in (0, 1, self.channels):
                raise ValueError(f"{name} has {len(values)} values, but colour '{self.colour}' {self.channels}")
            if not np.isfinite(values).all():
                raise ValueError(f"{name} holds something that is no finite number")
        if not all(value > 0 for value in self.deviation):
            raise ValueError("deviation must be above 0")
        if not (np.isfinite(self.scale) and np.isfinite(self.offset)) or self.scale == 0:
            raise ValueError("scale and offset must be finite numbers, and scale not 0")

    @property
    def channels(self) -> int:
        """Number of channels, 1 or 3."""
        return 1 if self.colour == "grey" else 3
