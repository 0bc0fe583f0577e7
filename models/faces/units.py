"""Names of blendshapes, and action units derived from them. Pure."""

from __future__ import annotations

from collections.abc import Mapping

BLENDSHAPES = (
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight",
    "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen",
    "jawRight", "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight",
    "mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight",
    "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
    "mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft",
    "mouthUpperUpRight", "noseSneerLeft", "noseSneerRight",
)  # fmt: skip
"""The 51 expressions of ARKit that MediaPipe's blendshape model knows (its first output, `_neutral`, is left out)."""

SIDES = ("Left", "Right")
# Action unit → the blendshapes whose mean stands for it, after Apple's descriptions of the ARKit blendshapes and the
# Facial Action Coding System (Ekman, Friesen and Hager 2002); "…" stands for Left and Right. docs/events.md has the
# table with its limits.
UNITS: Mapping[str, tuple[str, ...]] = {
    "au1_derived": ("browInnerUp",),
    "au2_derived": ("browOuterUp…",),
    "au4_derived": ("browDown…",),
    "au5_derived": ("eyeWide…",),
    "au6_derived": ("cheekSquint…",),
    "au7_derived": ("eyeSquint…",),
    "au9_derived": ("noseSneer…",),
    "au10_derived": ("mouthUpperUp…",),
    "au12_derived": ("mouthSmile…",),
    "au14_derived": ("mouthDimple…",),
    "au15_derived": ("mouthFrown…",),
    "au17_derived": ("mouthShrugLower",),
    "au18_derived": ("mouthPucker",),
    "au20_derived": ("mouthStretch…",),
    "au23_derived": ("mouthPress…",),
    "au25_derived": ("mouthLowerDown…", "mouthUpperUp…", "jawOpen"),
    "au26_derived": ("jawOpen",),
    "au28_derived": ("mouthRollLower", "mouthRollUpper"),
    "au45_derived": ("eyeBlink…",),
}
LARGEST = frozenset({"au25_derived"})
"""Units for which the largest of their blendshapes stands, in place of the mean."""


def units_of(blend: Mapping[str, float]) -> dict[str, float]:
    """Action units derived from blendshapes, 0…1 by name; those whose blendshapes are missing are left out."""
    found = {}
    for unit, sources in UNITS.items():
        values = [_value(blend, source) for source in sources]
        known = [value for value in values if value is not None]
        if known:
            found[unit] = max(known) if unit in LARGEST else sum(known) / len(known)
    return found


def _value(blend: Mapping[str, float], source: str) -> float | None:
    names = [source.replace("…", side) for side in SIDES] if source.endswith("…") else [source]
    values = [blend[name] for name in names if name in blend]
    return sum(values) / len(values) if values else None
