"""Messages out of bytes: every field of every message, with values that are odd as often as they are fine."""

from __future__ import annotations

import types
import typing
from typing import Any, Literal, get_args, get_origin

import msgspec

from bimodal.broker.events import Message
from bimodal.broker.messages import Body

BODIES: tuple[type[Message], ...] = get_args(Body)
NUMBERS = (0, 1, 2, 3, 7, 2**62, 255, 2**31, 2**53, -1, 2**63 - 1, -(2**63), 2**64 - 1)
REALS = (0.0, 1.0, 0.5, -1.0, 1e308, float("inf"), float("nan"), 5e-324)
NAMES = ("desk", "door", "face 1", "fusion", "record", "supervisor", "broker", "", "a/b", "\x1b[2J", "\u00e4" * 300)


class Bytes:
    """Reads choices off bytes; when they are used up every choice is the first."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def left(self) -> int:
        """The number of bytes left."""
        return max(0, len(self._data) - self._at)

    def number(self) -> int:
        """The next one."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def choose(self, among: Any) -> Any:
        """One of several; the first half of them three times as often."""
        number = self.number()
        return among[number % len(among)] if number < 64 else among[number % max(1, len(among) // 2)]


def body(source: Bytes, kind: type[Message] | None = None) -> Message:
    """One message."""
    found = _struct(source, kind or source.choose(BODIES))
    assert isinstance(found, Message)
    return found


def short(error: Exception) -> None:
    """An error for people is a sentence, and not the input again."""
    assert len(str(error)) < 1000, str(error)[:1000]


def examples() -> list[Message]:
    """One of each kind, as plain as can be."""
    return [body(Bytes(b""), kind) for kind in BODIES]


def _struct(source: Bytes, kind: Any) -> Any:
    fields = {field.encode_name: _value(source, field.type) for field in msgspec.structs.fields(kind)}
    return kind(**fields)


def _value(source: Bytes, hint: Any, depth: int = 0) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if hint is int:
        return source.choose(NUMBERS)
    if hint is float:
        return source.choose(REALS)
    if hint is str:
        return source.choose(NAMES)
    if hint is bool:
        return bool(source.number() % 2)
    if hint is bytes:
        return bytes([source.number()]) * (source.number() % 5)
    if hint is msgspec.UnsetType:
        return msgspec.UNSET
    if hint is type(None) or hint is object or hint is Any:
        return None
    if origin is Literal:
        return source.choose(inner)
    if origin in (typing.Union, types.UnionType):
        return _value(source, source.choose(inner), depth)
    if origin is typing.Annotated:
        return _value(source, inner[0], depth)
    if origin is dict:
        return {_value(source, inner[0]): _value(source, inner[1]) for _ in range(source.number() % 3)}
    if origin is tuple and inner[-1] is Ellipsis:
        return tuple(_value(source, inner[0]) for _ in range(source.number() % 4))
    if origin is tuple:
        return tuple(_value(source, part) for part in inner)
    return _struct(source, hint)
