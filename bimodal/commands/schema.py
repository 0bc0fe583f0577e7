"""`bimodal schema`: the form of live events, as JSON Schema or TypeScript types, made from their Structs."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import typer

from bimodal.broker.events import Emotion, Hop, Stretch

EVENTS = (Emotion, Hop, Stretch)
"""Messages that a program can listen to: the topics emotion., speech. and segment. of docs/protocol.md."""


class Form(StrEnum):
    """Return what `bimodal schema` prints."""

    JSON_SCHEMA = "json-schema"
    TYPESCRIPT = "typescript"


def schema(
    to: Annotated[Form, typer.Option("--to", help="JSON Schema (2020-12), or TypeScript types.")] = Form.JSON_SCHEMA,
) -> None:
    """Print the form of live events: of frames, of hops of voice, and of finished segments.

    They are what comes from the event bus, from /events of the live page, over MQTT and to a webhook. Lines of
    NAME.jsonl have the same form, without "type" and "run".

    Example: [b]bimodal schema --to typescript > events.d.ts[/b]
    """
    typer.echo(typescript() if to is Form.TYPESCRIPT else json_schema(), nl=False)


def json_schema() -> str:
    """The JSON Schema, as text with a line break at its end."""
    return json.dumps(_schema(), indent=2, ensure_ascii=False) + "\n"


def _schema() -> dict[str, Any]:
    references, components = msgspec.json.schema_components(EVENTS, ref_template="#/$defs/{name}")
    for component in components.values():
        # Files have one kind of lines each, which don't repeat it; every kind is known by its other keys too.
        component["required"] = [name for name in component.get("required", ()) if name != "type"]
        component["description"] = inspect.cleandoc(component["description"]).replace("None", "null")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Events of bimodal",
        "description": "docs/events.md explains every key. Keys may be added by later versions.",
        "oneOf": list(references),
        "$defs": components,
    }


# TypeScript.

HEAD = """\
// Events of bimodal, as they come from /events, MQTT, a webhook and the event bus. docs/events.md explains every key.
// Made by: bimodal schema --to typescript
"""


def typescript() -> str:
    """The types, as text with a line break at its end."""
    found = _schema()
    interfaces = [_interface(name, component) for name, component in found["$defs"].items()]
    union = " | ".join(_type(reference) for reference in found["oneOf"])
    return "\n".join([HEAD, *interfaces, f"export type Event = {union};", ""])


def _interface(name: str, component: Mapping[str, Any]) -> str:
    lines = [f"/** {line} */" for line in component["description"].splitlines()[:1]]
    lines.append(f"export interface {name} {{")
    for key, value in component["properties"].items():
        # A key without a default is there in every event, or only where it says something.
        sometimes = key != "type" and key not in component["required"] and "default" not in value
        lines.append(f"  {key}{'?' if sometimes else ''}: {_type(value)};")
    return "\n".join([*lines, "}", ""])


def _type(value: Mapping[str, Any]) -> str:
    if "$ref" in value:
        return str(value["$ref"]).rpartition("/")[2]
    if "enum" in value:
        return " | ".join(json.dumps(one) for one in value["enum"])
    if "anyOf" in value:
        return " | ".join(_type(one) for one in value["anyOf"])
    match value.get("type"):
        case "integer" | "number":
            return "number"
        case "string" | "boolean" | "null" as plain:
            return str(plain)
        case "array" if "prefixItems" in value:
            return f"[{', '.join(_type(one) for one in value['prefixItems'])}]"
        case "array":
            inner = _type(value["items"])
            return f"({inner})[]" if " " in inner else f"{inner}[]"
        case "object":
            return f"Record<string, {_type(value['additionalProperties'])}>"
        case _:
            return "unknown"
