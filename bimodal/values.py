"""Conversion of values from YAML to Structs; an error is one sentence that names the place."""

from __future__ import annotations

import difflib
import math
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from bimodal.errors import BimodalError

T = TypeVar("T")

Forms = Mapping[Any, Callable[[Any], Any]]
"""By type, a function that turns its short forms (a port, a folder) into the full value."""

# YAML 1.1 reads these words as true and false; where a key takes one of them as a word, it stays a word.
WORDS = {True: ("on", "yes", "true"), False: ("off", "no", "false")}


class WrongValueError(BimodalError, ValueError):
    """An invalid value; `place` are the keys that lead to it."""

    def __init__(self, message: str, *place: str, key: str | None = None) -> None:
        """`key`: the key of the section at `place` that is meant, where it is one."""
        super().__init__(f"in '{'.'.join(place)}': {message}" if place else message)
        self.message = message
        self.place = place
        self.key = key


def convert(value: object, kind: type[T], forms: Forms | None = None) -> T:
    """Convert values from YAML to `kind`, a Struct; missing keys keep their defaults.

    Numbers, true, false and null may be in quotes where the key takes no text. Raises WrongValueError.
    """
    found: T = _convert(value, kind, forms or {}, ())
    return found


def truth(value: Any) -> Any:
    """True or False for a word that YAML reads as such without quotes, else the value."""
    return next((found for found, words in WORDS.items() if isinstance(value, str) and value.lower() in words), value)


def members_of(kind: Any) -> tuple[Any, ...]:
    """The members of a union; of any other type, the type itself."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Describe in one sentence a key that is not in `known`."""
    known = list(known)
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
    return f"unknown key '{key}'; {hint}"


def _convert(value: Any, kind: Any, forms: Forms, place: tuple[str, ...]) -> Any:
    members = members_of(kind)
    for member in members:
        if member in forms:
            try:
                value = forms[member](value)
            except ValueError as error:
                raise WrongValueError(str(error), *place) from error
    for bare in map(bare_of, members):
        if is_struct(bare) and (isinstance(value, dict) or (value is None and types.NoneType not in members)):
            return _section(value or {}, bare, forms, place)
        if get_origin(bare) is dict and isinstance(value, dict):
            return {key: _named(key, item, get_args(bare)[1], forms, place) for key, item in value.items()}
        if get_origin(bare) is tuple and get_args(bare)[1:] == (...,) and isinstance(value, list | tuple):
            item = get_args(bare)[0]
            value = [_convert(each, item, forms, (*place, str(number))) for number, each in enumerate(value)]
    return _leaf(value, kind, members, place)


def _section(values: dict[Any, Any], kind: Any, forms: Forms, place: tuple[str, ...]) -> Any:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key in values:
        if key not in fields:
            raise WrongValueError(unknown_key(str(key), fields), *place, key=str(key))
    for key, field in fields.items():
        if field.required and key not in values:
            raise WrongValueError(f"the key '{key}' is missing", *place)
    found = {
        field.name: _convert(values[key], field.type, forms, (*place, key))
        for key, field in fields.items()
        if key in values
    }
    try:
        return kind(**found)
    except WrongValueError as error:
        raise WrongValueError(error.message, *place, *error.place) from error
    except ValueError as error:
        raise WrongValueError(str(error), *place) from error


def _named(key: object, value: object, kind: Any, forms: Forms, place: tuple[str, ...]) -> Any:
    if not isinstance(key, str):
        raise WrongValueError("a name must be text: put it in quotes", *place, str(key))
    return _convert(value, kind, forms, (*place, key))


def _leaf(value: Any, kind: Any, members: tuple[Any, ...], place: tuple[str, ...]) -> Any:
    bare = [bare_of(member) for member in members]
    words = [word for member in bare if get_origin(member) is Literal for word in get_args(member)]
    if isinstance(value, bool) and bool not in bare:
        value = next((word for word in WORDS[value] if word in words), value)
    elif bool in bare and value not in words:
        value = truth(value)
    try:
        found = msgspec.convert(value, kind, strict=False, dec_hook=lambda kind, value: kind(value))
    except msgspec.ValidationError as error:
        raise WrongValueError(f"must be {_allowed(members, value)}{_but(value, bare)}", *place) from error
    if isinstance(found, float) and not math.isfinite(found):
        raise WrongValueError("must be a finite number", *place)
    return found


# The values that a key takes, in words.


def _but(value: object, bare: list[Any]) -> str:
    """Describe the value that was found. Text where text is valid is not repeated: it may be a password."""
    if str in bare:
        return "; put it in quotes" if isinstance(value, int | float) and not {int, float} & set(bare) else ""
    match value:
        case dict():
            return ", not a section of keys and values"
        case list():
            return ", not a list" if not any(get_origin(kind) is tuple for kind in bare) else ""
        case str():
            # An address may hold a password.
            return f", not '{value[:40]}'" if "@" not in value and ":/" not in value else ""
        case bool() | None:
            return f", not {str(value).lower().replace('none', 'null')}"
        case int() | float() if abs(value) < 1e15:
            return f", not {value}"
        case _:
            return ""


def _allowed(members: tuple[Any, ...], value: object) -> str:
    phrases = [phrase for member in members for phrase in _phrases(member, value)]
    last = f"{', ' if len(phrases) > 2 else ' '}or {phrases[-1]}"
    return ", ".join(phrases[:-1]) + last if len(phrases) > 1 else phrases[0]


def _phrases(member: Any, value: object) -> list[str]:
    bare, limits = bare_of(member), _limits(member)
    if get_origin(bare) is Literal:
        return [f"'{word}'" for word in get_args(bare)]
    if is_struct(bare):
        keys = bare.__struct_encode_fields__
        return [f"{{{', '.join(f'{key}: …' for key in keys)}}}" if len(keys) < 4 else "a section of keys and values"]
    if get_origin(bare) is tuple:
        return ["a list" + _size(limits, "items")]
    if bare is int or bare is float:
        whole = bare is int and isinstance(value, float)
        return [("a whole number" if whole else "a number") + _range(limits)]
    if bare is str and "examples" in limits:
        return [f"text such as {' or '.join(map(repr, limits['examples']))}"]
    if bare is str and "pattern" in limits:
        return [f"text of the form {limits['pattern']}"]
    named = {bool: ["true", "false"], str: ["text" + _size(limits, "characters")], Path: ["a path"]}
    return named.get(bare, ["null"] if bare is types.NoneType else ["a section of keys and values"])


def _range(limits: Mapping[str, Any]) -> str:
    least, above, most = limits.get("ge"), limits.get("gt"), limits.get("le")
    if least is not None and most is not None:
        return f" from {least} to {most}"
    parts = [f"above {above}"] if above is not None else [f"of at least {least}"] if least is not None else []
    parts += [f"of at most {most}"] if most is not None else []
    parts += [f"below {limits['lt']}"] if "lt" in limits else []
    return " " + " and ".join(parts) if parts else ""


def _size(limits: Mapping[str, Any], what: str) -> str:
    least, most = limits.get("min_length"), limits.get("max_length")
    if least is not None and most is not None:
        return f" of {least} to {most} {what}"
    return f" of {least} or more {what}" if least is not None else ""


def _limits(member: Any) -> dict[str, Any]:
    if get_origin(member) is not Annotated:
        return {}
    metas = [meta for meta in member.__metadata__ if isinstance(meta, msgspec.Meta)]
    names = ("ge", "gt", "le", "lt", "min_length", "max_length", "pattern", "examples")
    return {name: found for meta in metas for name in names if (found := getattr(meta, name)) is not None}


def bare_of(member: Any) -> Any:
    """The type without its limits."""
    return get_args(member)[0] if get_origin(member) is Annotated else member


def is_struct(kind: Any) -> bool:
    """True for a type of Structs, a section of the config."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
