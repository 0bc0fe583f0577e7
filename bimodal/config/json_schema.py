"""JSON Schema of config.yaml, for editors: from the Structs, with the comments of config.yaml as descriptions."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec

from bimodal.config.expansion import FILE_SUFFIX, SECRETS
from bimodal.config.schema import SHORT_FORMS, Config
from bimodal.values import bare_of, is_struct, members_of

EXAMPLE = Path(__file__).with_name("config.yaml")
"""The config.yaml of the repository, with every key, its default and a comment."""

Schema = dict[str, Any]

_LINE = re.compile(r"(?P<indent> *)(?P<key>[\w-]+): *(?P<value>[^#]*?) *(?:# (?P<comment>.*))?$")
_PLACEHOLDER: Schema = {
    "type": "string",
    "pattern": r"\$\{[^{}]+\}",
    "description": "A value from the environment, ${NAME}, or from a file, ${file:PATH}.",
}
# Words that are true and false for bimodal's YAML (1.1), and text for an editor's (1.2).
_TRUTH: Schema = {"enum": ["on", "off", "yes", "no"]}
_SAMPLES: tuple[tuple[str, Any], ...] = (
    ("boolean", True), ("boolean", False), ("integer", 1), ("string", "text"), ("null", None)
)  # fmt: skip


def json_schema() -> Schema:
    """The schema (draft 2020-12). Every value may also be a placeholder; sections may be empty, or a short form."""
    schema = msgspec.json.schema(Config, schema_hook=_of_custom_type)
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "bimodal: config.yaml",
        **schema,
    }
    schema["$defs"]["Placeholder"] = _PLACEHOLDER
    comments = dict(_comments(EXAMPLE.read_text(encoding="utf-8")))
    _complete(Config, (), schema["$defs"], comments, set())
    return schema


def _of_custom_type(kind: type) -> Schema:
    if issubclass(kind, Path):
        return {"type": "string"}
    raise NotImplementedError(f"the config has no JSON Schema for {kind}")


def _complete(
    kind: Any,
    place: tuple[str, ...],
    definitions: dict[str, Schema],
    comments: dict[tuple[str, ...], str],
    done: set[str],
) -> None:
    """Add to the properties of a section, and of those below it, what msgspec does not know."""
    name = kind.__name__
    if name in done:
        return
    done.add(name)
    properties = definitions[name]["properties"]
    for field in msgspec.structs.fields(kind):
        key = field.encode_name
        own = (*place, key)
        plain = properties[key]
        default = {"default": plain.pop("default")} if "default" in plain else {}
        properties[key] = {**_described(own, comments), **default, **_with_forms(field.type, plain)}
        if key in SECRETS:
            text = f"Path of a file that holds the {key}, in its place."
            properties[f"{key}{FILE_SUFFIX}"] = {"type": "string", "description": text}
        for section, below in _sections(field.type, own):
            _complete(section, below, definitions, comments, done)


def _sections(kind: Any, place: tuple[str, ...]) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """The Structs in a type, each with its place; the names of streams are "*"."""
    for member in map(bare_of, members_of(kind)):
        if is_struct(member):
            yield member, place
        elif get_origin(member) is dict:
            yield from _sections(get_args(member)[1], (*place, "*"))


def _with_forms(kind: Any, plain: Schema) -> Schema:
    """The schema of a value, and of what may stand in its place."""
    members = members_of(kind)
    choices = plain["anyOf"] if set(plain) == {"anyOf"} else [plain]
    for member in members:
        if member in SHORT_FORMS:
            choices = [*choices, *_short_forms(SHORT_FORMS[member])]
    bare = [bare_of(member) for member in members]
    if any(is_struct(member) or get_origin(member) is dict for member in bare) and types.NoneType not in bare:
        choices = [*choices, {"type": "null"}]
    if any(choice.get("type") == "boolean" or isinstance(choice.get("const"), bool) for choice in choices):
        choices = [*choices, _TRUTH]
    if not any(choice == {"type": "string"} for choice in choices):
        choices = [*choices, {"$ref": "#/$defs/Placeholder"}]
    found = [choice for number, choice in enumerate(choices) if choice not in choices[:number]]
    return found[0] if len(found) == 1 else {"anyOf": found}


def _short_forms(form: Any) -> Iterator[Schema]:
    """The types that a short form takes, found by trying one value of each."""
    for name, sample in _SAMPLES:
        try:
            full = form(sample)
        except ValueError:
            continue
        if full != sample or sample is None:
            yield {"const": sample} if isinstance(sample, bool) else {"type": name}


def _described(place: tuple[str, ...], comments: dict[tuple[str, ...], str]) -> Schema:
    text = comments.get(place)
    return {"description": text} if text else {}


def _comments(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """The place of each key of config.yaml, commented out or not, with its comment: behind it, or, of a section, in the
    lines before it."""
    place: list[str] = []
    above: list[str] = []
    for line in text.splitlines():
        found = _LINE.fullmatch(re.sub(r"^# (?= *[\w-]+:(?: |$))", "  ", line))
        if found is None:
            above = [*above, line.removeprefix("# ")] if line.startswith("# ") else []
            continue
        place = [*place[: len(found["indent"]) // 2], found["key"]]
        comment = found["comment"] or (" ".join(above) if len(place) == 1 else "")
        above = []
        if comment:
            yield ("streams", "*", *place[2:]) if place[0] == "streams" and len(place) > 2 else tuple(place), comment
