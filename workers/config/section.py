"""What every section of config.yaml is: typed, and closed to unknown keys."""

from __future__ import annotations

import difflib
from typing import Any, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, PlainValidator

_S = TypeVar("_S", bound=msgspec.Struct)


class Section(BaseModel):
    """A part of config.yaml: unknown keys are refused, and so are values of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


def struct_section(kind: type[_S]) -> PlainValidator:
    """Validates a section whose keys are the fields of an actor's own settings."""

    def convert(value: Any) -> _S:
        if isinstance(value, kind):
            return value
        if value is not None and not isinstance(value, dict):
            raise ValueError("must be a section of keys and values")
        for key in value or {}:
            if key not in kind.__struct_fields__:
                raise ValueError(unknown_key(str(key), kind.__struct_fields__))
        return msgspec.convert(value or {}, kind)

    return PlainValidator(convert)


def unknown_key(key: str, known: tuple[str, ...] | list[str]) -> str:
    """What is said of a key that is none of `known`."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
    return f"unknown key '{key}'; {hint}"
