"""The JSON Schema of config.yaml takes what bimodal takes, and refuses what it refuses, as far as a schema can."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bimodal.config.json_schema import EXAMPLE, json_schema
from tests.config.test_words import DOCUMENTED, offered, values_at

REPOSITORY = Path(__file__).parents[2]
PUBLISHED = REPOSITORY / "docs" / "config.schema.json"
SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def errors(values: object) -> list[str]:
    """What an editor would mark; YAML's own types as JSON has them."""
    found = list(VALIDATOR.iter_errors(json.loads(json.dumps(values))))
    for error in found:
        found += error.context or []
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in found]


def test_the_published_schema_is_fresh() -> None:
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == json.loads(json.dumps(SCHEMA)), (
        "run: bimodal config schema > docs/config.schema.json"
    )


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_file_that_ships_is_right_and_names_the_schema() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert errors(yaml.safe_load(text)) == []
    assert text.startswith("# yaml-language-server: $schema=docs/config.schema.json\n")


@pytest.mark.parametrize(("place", "value"), [*offered(), *DOCUMENTED])
def test_every_documented_value_is_taken(place: str, value: str) -> None:
    loaded = yaml.safe_load(value)
    # YAML 1.2, which editors read, has no truth in on and off.
    assert errors(values_at(place, value if value in ("on", "off", "yes", "no") else loaded)) == []


@pytest.mark.parametrize(
    "text",
    [
        "runtime: {threads: '${THREADS}'}",
        "outputs: {view: {token: '${TOKEN}'}}",
        "outputs: {view: {token_file: /run/secrets/token}}",
        "streams: {a: {url: 'rtsp://u:${PASSWORD}@cam/1'}}",
        "fusion:",
        "workers: {face: {count: 0}}",
    ],
)
def test_what_bimodal_takes_is_taken(text: str) -> None:
    assert errors(yaml.safe_load(text)) == []


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("fuson: {}", "fuson"),
        ("fusion: {smothing_s: 1}", "fusion"),
        ("fusion: {video_weight: -1}", "fusion.video_weight"),
        ("runtime: {provider: cdua}", "runtime.provider"),
        ("workers: {face: {count: many}}", "workers.face.count"),
        ("outputs: {view: 1.5}", "outputs.view"),
        ("streams: {a: {camrea: 0}}", "streams.a"),
        ("log: [a]", "log"),
    ],
)
def test_what_is_wrong_is_marked(text: str, marked: str) -> None:
    found = errors(yaml.safe_load(text))
    assert found
    assert any(marked in error for error in found), found


def test_every_key_is_explained() -> None:
    # A section by its docstring; these explain themselves.
    self_explaining = {"enabled", "video_weight", "speech_weight", "log", "cores", "port", "folder", "camera", "host"}
    unexplained = [
        f"{name}.{key}"
        for name, key, value in properties()
        if "description" not in value and "$defs" not in json.dumps(value) and key not in self_explaining
    ]
    assert len(unexplained) < 30, unexplained


def properties() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name, definition in SCHEMA["$defs"].items():
        for key, value in definition.get("properties", {}).items():
            yield name, key, value
