"""The OpenAPI 3.1 document, made from the table of operations. Pure."""

from __future__ import annotations

import http
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from bimodal.workers.http_api.operations import Body, Operation
from bimodal.workers.http_api.problems import PROBLEM_JSON, Problem

REFERENCE = "#/components/schemas/{name}"
# Of the addresses below /v1, not of the product.
API_VERSION = "1.0"
ABOUT = (
    "Which emotions faces show and voices carry. Errors are problem details (RFC 9457) whose `detail` is a sentence "
    "for people and whose `code` is for programs. Requests carry `Authorization: Bearer TOKEN`: `outputs.api.token` "
    "reads, `outputs.api.control_token` reads and changes."
)
# Every request may meet these: the wrong name or origin, too many requests.
ALWAYS, WITH_TOKEN = (403, 429), (401,)
WHY = {401: " `code` is `no_token` without a token, `wrong_token` with one that is none of this server's."}


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The document of these operations."""
    kinds = [Problem, *_kinds(operations)]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=REFERENCE, schema_hook=_any)
    found = Schemas(dict(zip(map(repr, kinds), schemas, strict=True)))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, found, components)
    used = {operation.query.__name__ for operation in operations}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "bimodal",
            "version": API_VERSION,
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in components.items() if name not in used},
            "securitySchemes": {
                "read": {"type": "http", "scheme": "bearer", "description": "outputs.api.token, or the control token."},
                "control": {"type": "http", "scheme": "bearer", "description": "outputs.api.control_token."},
            },
        },
    }


def _any(kind: type) -> dict[str, Any]:
    """The schema of values that only the supervisor knows (those of config.yaml)."""
    if kind is object:
        return {"description": "A value of config.yaml."}
    raise NotImplementedError


class Schemas:
    """JSON Schemas by type."""

    def __init__(self, known: dict[str, dict[str, Any]]) -> None:
        self._known = known

    def of(self, kind: Any) -> dict[str, Any]:
        """The schema of a type."""
        return self._known[repr(kind)]


def _kinds(operations: Sequence[Operation]) -> list[Any]:
    found: dict[str, Any] = {}
    for operation in operations:
        bodies = [body for _, contents in operation.answers.values() for body in contents]
        bodies += [operation.body] if operation.body is not None else []
        for kind in (operation.query, *(body.type for body in bodies)):
            if kind is not None and kind is not Problem:
                found[repr(kind)] = kind
    return list(found.values())


def _operation(operation: Operation, schemas: Schemas, components: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": f"{operation.method.lower()}{re.sub(r'[^a-z0-9]+', '_', operation.path.lower()).rstrip('_')}",
        "summary": operation.summary,
        "security": [] if operation.scope == "open" else [{operation.scope: []}],
        "parameters": _parameters(operation, components),
        "responses": _responses(operation, schemas),
    }
    if operation.scope == "read":
        found["security"].append({})  # without a token on loopback
    if operation.description:
        found["description"] = operation.description
    if operation.body is not None:
        found["requestBody"] = {"required": True, "content": _contents([operation.body], schemas)}
    return {key: value for key, value in found.items() if value != [] or key == "security"}


def _parameters(operation: Operation, components: dict[str, Any]) -> list[dict[str, Any]]:
    named = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1, "maxLength": 64}}
        for name in re.findall(r"\{(\w+)\}", operation.path)
    ]
    for name, schema in components[operation.query.__name__]["properties"].items():
        parameter: dict[str, Any] = {"name": name, "in": "query", "required": False, "schema": _flat(schema)}
        if "description" in schema:
            parameter["description"] = schema["description"]
        named.append(parameter)
    return named


def _flat(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter: one that is left out is null, and can't be given as such."""
    options = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    chosen = options[0] if len(options) == 1 else {key: value for key, value in schema.items() if key != "default"}
    default = schema.get("default")
    return {key: value for key, value in chosen.items() if key != "description"} | (
        {"default": default} if default is not None else {}
    )


def _responses(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, (words, bodies) in operation.answers.items():
        found[str(status)] = {"description": words, "content": _contents(bodies, schemas)}
    problems = {*ALWAYS, *operation.problems, *(() if operation.scope == "open" else WITH_TOKEN)}
    for status in sorted(problems):
        content = {PROBLEM_JSON: {"schema": schemas.of(Problem)}}
        if str(status) in found:
            found[str(status)]["content"] |= content
            continue
        words = f"{http.HTTPStatus(status).phrase}.{WHY.get(status, '')}"
        found[str(status)] = {"description": words, "content": content}
        if status == 429:
            found["429"]["headers"] = {
                "Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}
            }
    return found


def _contents(bodies: Sequence[Body], schemas: Schemas) -> dict[str, Any]:
    return {
        body.content: {"schema": schemas.of(body.type)}
        if body.type is not None and body.content.endswith("json")
        else {}
        for body in bodies
    }
