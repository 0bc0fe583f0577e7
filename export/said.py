"""Flags of the command line → a Description."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from bimodal.export.errors import SourceModelError
from bimodal.export.onnx_description import Description, describe, merge, read_description, read_preset

PIXEL_FLAGS = ("colour", "layout", "scale", "offset", "mean", "deviation")


def description_of(preset: str | None, config: Path | None, flags: dict[str, Any]) -> Description:
    """What preset, file and flags say together, the later ones over the earlier.

    Raises SourceModelError where one of them is wrong.
    """
    parts = [read_preset(preset)] if preset else []
    parts += [read_description(config)] if config else []
    before = merge(*parts)
    return merge(before, describe(_fields(flags, before), "the command line"))


def words(text: str | None) -> list[str] | None:
    """`a, b,c` → ["a", "b", "c"]."""
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def numbers(text: str | None, flag: str) -> list[float] | None:
    """`0.5,0.25` → [0.5, 0.25]. Raises SourceModelError naming `flag`."""
    if text is None:
        return None
    try:
        return [float(word) for word in words(text) or []]
    except ValueError as error:
        raise SourceModelError(f"{flag} takes numbers with commas between, not '{text}'") from error


def _fields(flags: dict[str, Any], before: Description) -> dict[str, Any]:
    """Flags as fields; those on pixels change what was said of pixels before, one by one."""
    said = {
        name: value.value if isinstance(value, Enum) else value for name, value in flags.items() if value is not None
    }
    pixels = {name: said.pop(name) for name in PIXEL_FLAGS if name in said}
    if pixels:
        known = {} if before.pixels is None else {name: getattr(before.pixels, name) for name in PIXEL_FLAGS}
        said["pixels"] = {**known, **pixels}
    if "crop" in said:
        said["crop"] = _crop(said["crop"])
    return said


def _crop(text: str) -> dict[str, Any]:
    """`scale=1.1 shift_y=-0.05 rotate=false` → its fields."""
    try:
        pairs = [word.split("=") for word in text.replace(",", " ").split()]
        return {name: yaml.safe_load(value) for name, value in pairs}
    except (ValueError, yaml.YAMLError) as error:
        raise SourceModelError(f"--crop takes 'scale=1.1 shift_y=-0.05 rotate=false', not '{text}'") from error
