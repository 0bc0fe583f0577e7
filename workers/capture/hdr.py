"""HDR pictures (PQ and HLG) as an ordinary screen shows them: BT.2020 → BT.709, highlights compressed."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

PQ, HLG = 16, 18
"""Transfer functions by their number in ITU-T H.273: SMPTE ST 2084, ARIB STD-B67."""
WHITE_NITS = 203.0
"""Reference white of HDR programmes (ITU-R BT.2408): white paper, a little above a bright face."""
HLG_PEAK_NITS = 1000.0
KNEE = 0.75
"""Brightness, of reference white, from which on highlights are compressed; below it nothing changes."""
LEVELS = 4096
TO_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)
"""Linear RGB of BT.2020 → BT.709 (ITU-R BT.2087)."""


def is_hdr(transfer: int) -> bool:
    """True for a transfer function that an ordinary screen does not understand."""
    return transfer in (PQ, HLG)


def tone_mapped(pixels: NDArray[np.uint16], transfer: int) -> NDArray[np.uint8]:
    """Turn uint16 [H, W, 3] R'G'B' of BT.2020 with PQ or HLG into uint8 [H, W, 3] sRGB.

    Highlights are compressed by the brightest channel, so that hues stay.
    """
    linear = np.maximum(_linear(transfer)[pixels] @ TO_709.T, 0.0)
    brightest = linear.max(axis=2, keepdims=True)
    over = np.maximum(brightest - KNEE, 0.0) / (1 - KNEE)
    compressed = np.minimum(brightest, KNEE) + (1 - KNEE) * over / (1 + over)
    shown = linear * (compressed / np.maximum(brightest, 1e-6))
    levels: NDArray[np.uint8] = _gamma()[np.clip(shown * (LEVELS - 1), 0, LEVELS - 1).astype(np.uint16)]
    return levels


@cache
def _linear(transfer: int) -> NDArray[np.float32]:
    """Light of each 16-bit level, 1 is reference white: EOTF of PQ, inverse OETF of HLG with its system gamma."""
    signal = np.arange(65536) / 65535
    if transfer == PQ:
        power = signal ** (1 / 78.84375)
        light = (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)
        return (light * 10000 / WHITE_NITS).astype(np.float32)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return (scene**1.2 * HLG_PEAK_NITS / WHITE_NITS).astype(np.float32)


@cache
def _gamma() -> NDArray[np.uint8]:
    light = np.arange(LEVELS) / (LEVELS - 1)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(curve * 255).astype(np.uint8)
