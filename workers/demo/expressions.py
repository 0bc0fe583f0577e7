"""Lets the face of portrait.jpg move: its mouth opens, its brows rise. Pure; pixels of the portrait are the unit."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

MOUTH_X, CORNER_Y, HALF_WIDTH = 224.0, 140.0, 22.0
LIP_DEPTH = 10.0
NECK_Y = 186.0
CORNERS = ((203.0, 140.0), (245.0, 140.0))
BROWS = ((200.0, 90.0), (252.0, 92.0))
INSIDE_OF_MOUTH = (52, 18, 22)


@dataclass(frozen=True, slots=True)
class Expression:
    """Shifts in pixels of the portrait.

    Attributes:
        opening: how far the lower lip is down.
        brows: how far the brows are up.
        narrowing: how far the corners of the mouth are pulled in.
        drooping: how far they are pulled down.
    """

    opening: float = 0.0
    brows: float = 0.0
    narrowing: float = 0.0
    drooping: float = 0.0


def express(portrait: NDArray[np.uint8], expression: Expression) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] of the portrait with that expression."""
    height, width = portrait.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    from_x, from_y = x.copy(), y.copy()
    for centre in BROWS:
        from_y += expression.brows * _bump(x, y, centre, 20, 9)
    for side, centre in zip((1.0, -1.0), CORNERS, strict=True):
        near = _bump(x, y, centre, 12, 11)
        from_x -= side * expression.narrowing * near
        from_y -= expression.drooping * near
    opening, lip_y = _opening(x, expression)
    below = np.clip((NECK_Y - y) / (NECK_Y - lip_y), 0, 1)
    lower = y > lip_y
    from_y = np.where(lower, np.maximum(from_y - opening * below, np.minimum(from_y, lip_y)), from_y)
    moved = np.asarray(cv2.remap(portrait, from_x, from_y.astype(np.float32), cv2.INTER_CUBIC), np.float32)
    inside = np.clip(np.minimum(y - lip_y, lip_y + opening - y) / 1.5, 0, 1)[..., None]
    painted = moved * (1 - inside) + np.array(INSIDE_OF_MOUTH, np.float32) * inside
    return np.asarray(np.clip(painted, 0, 255), np.uint8)


def _opening(x: NDArray[np.float32], expression: Expression) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """How far the mouth is open in each column, and where the lower edge of the teeth lies."""
    half_width = HALF_WIDTH - 0.6 * expression.narrowing
    arch = np.clip(1 - ((x - MOUTH_X) / half_width) ** 2, 0, 1).astype(np.float32)
    lip_y = CORNER_Y + expression.drooping * (1 - arch) + LIP_DEPTH * arch
    return expression.opening * np.sqrt(arch), lip_y


def _bump(
    x: NDArray[np.float32], y: NDArray[np.float32], centre: tuple[float, float], wide: float, high: float
) -> NDArray[np.float32]:
    bump: NDArray[np.float32] = np.exp(-(((x - centre[0]) / wide) ** 2) - ((y - centre[1]) / high) ** 2)
    return bump
