"""Write docs/openapi.json and docs/http-reference.md from the table of the HTTP API: `python -m scripts.openapi`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bimodal.workers.http_api.openapi import document
from bimodal.workers.http_api.operations import OPERATIONS
from bimodal.workers.http_api.problems import PROBLEM_JSON

DOCS = Path(__file__).parents[1] / "docs"
HEAD = """# Reference of the HTTP API

Made from the server's own OpenAPI document ([openapi.json](openapi.json)) by `python -m scripts.openapi`; [The HTTP
API](http-api.md) says how to begin. Every address may also answer 403 (a foreign name or origin) and 429 (too many
requests); errors are problem details.
"""


def reference(openapi: dict[str, Any]) -> str:
    """The document as a page of Markdown."""
    parts = [HEAD]
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            parts.append(f"\n## {method.upper()} {path}\n\n{_operation(operation)}")
    return "".join(parts)


def _operation(operation: dict[str, Any]) -> str:
    scope = next((name for one in operation["security"] for name in one), None)
    needs = "No token." if scope is None else f"Token: {scope}."
    lines = [f"{operation['summary']}. {needs}\n"]
    if "description" in operation:
        lines.append(f"\n{operation['description']}\n")
    if "requestBody" in operation:
        kinds = ", ".join(
            f"{_kind(body)} (`{content}`)" for content, body in operation["requestBody"]["content"].items()
        )
        lines.append(f"\nBody: {kinds}.\n")
    if "parameters" in operation:
        lines.append("\n| parameter | in | what |\n|---|---|---|\n")
        for one in operation["parameters"]:
            lines.append(f"| `{one['name']}` | {one['in']} | {_values(one)} |\n")
    lines.append("\n| answer | what |\n|---|---|\n")
    for status, one in operation["responses"].items():
        if status in ("403", "429") and list(one["content"]) == [PROBLEM_JSON]:
            continue
        kinds = ", ".join(_kind(body) or f"`{content}`" for content, body in one["content"].items())
        lines.append(f"| {status} | {one['description']} {kinds} |\n")
    return "".join(lines)


def _kind(body: dict[str, Any]) -> str:
    name = body.get("schema", {}).get("$ref", "").rpartition("/")[2]
    return f"`{name}`" if name else "values" if body else "bytes"


def _values(parameter: dict[str, Any]) -> str:
    schema = {key: value for key, value in parameter["schema"].items() if key not in ("pattern", "minLength")}
    facts = ", ".join(f"{key} {json.dumps(value, ensure_ascii=False)}" for key, value in schema.items())
    return f"{parameter.get('description', '')} {facts}".strip()


def main() -> None:
    """Write both files."""
    openapi = document(OPERATIONS)
    (DOCS / "openapi.json").write_text(json.dumps(openapi, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (DOCS / "http-reference.md").write_text(reference(openapi), encoding="utf-8")


if __name__ == "__main__":
    main()
