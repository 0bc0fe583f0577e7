"""The published form of events is that of the Structs, and real events have it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

import bimodal
from bimodal.broker.events import Emotion, Stretch
from bimodal.commands.schema import json_schema, typescript
from tests.media import face_clip

REPOSITORY = Path(__file__).parents[2]
OLD = REPOSITORY / "tests" / "recordings" / "of_0_1" / "results" / "smile.jsonl"
VALIDATOR = jsonschema.Draft202012Validator(json.loads(json_schema()))


@pytest.mark.parametrize(
    ("file", "made", "command"),
    [
        ("events.schema.json", json_schema, "bimodal schema > docs/events.schema.json"),
        ("events.d.ts", typescript, "bimodal schema --to typescript > docs/events.d.ts"),
    ],
)
def test_the_published_files_are_fresh(file: str, made: Any, command: str) -> None:
    assert (REPOSITORY / "docs" / file).read_text(encoding="utf-8") == made(), f"run: {command}"


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(VALIDATOR.schema)


def test_real_events_are_valid(tmp_path: Path) -> None:
    with bimodal.Detector() as detector:
        found = list(detector.events(face_clip(tmp_path / "clip.mp4", 0.4), hops=True))
    assert {type(one) for one in found} >= {Emotion}
    found.append(Stretch(stream="a", kind="face", start=0, end=1, track=1, channel=None, label="happy", confidence=1,
                         peak=1, frames=3))  # fmt: skip
    for one in found:
        VALIDATOR.validate(json.loads(msgspec.json.encode(one)))


def test_events_of_older_versions_are_valid() -> None:
    for line in OLD.read_text(encoding="utf-8").splitlines():
        VALIDATOR.validate(json.loads(line))


@pytest.mark.parametrize(
    "change",
    [{"t": "soon"}, {"faces": None}, {"faces": [{"track": 1}]}, {"seq": -1}, {"type": "hop"}, {"emotion": {}}],
)
def test_what_is_no_event_is_refused(change: dict[str, object]) -> None:
    event = json.loads(OLD.read_text(encoding="utf-8").splitlines()[0])
    VALIDATOR.validate(event)
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate({**event, **change})


def test_every_key_and_type_is_in_the_typescript() -> None:
    text = typescript()
    for name, component in VALIDATOR.schema["$defs"].items():
        body = re.search(rf"export interface {name} \{{(.*?)^\}}", text, re.DOTALL | re.MULTILINE)
        assert body is not None, name
        for key in component["properties"]:
            assert re.search(rf"^  {key}\??: [^;]+;$", body[1], re.MULTILINE), f"{name}.{key}"
    assert ": unknown" not in text
    assert "None" not in text + json_schema()
    assert 'type: "emotion";' in text
    assert "box: [number, number, number, number];" in text
    assert "probabilities: Record<string, number> | null;" in text
