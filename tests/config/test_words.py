"""Every word that config.yaml's comments and docs/configuration.md offer is taken, bare and in quotes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from bimodal.config import Config, check_config

REPOSITORY = Path(__file__).parents[2]

LINE = re.compile(r"( *)([\w-]+): *([^#]*?) *(?:# (.*))?$")
LIST = re.compile(r"\w+(?: \| \w+)+")
WORD = re.compile(r"(?:^|[.;] |may be )([a-z0-9]+)(?=:)")
STRUCTURE = re.compile(r"\[[\w, -]+\]|\{[\w, :]+\}")


def offered() -> Iterator[tuple[str, str]]:
    """The place of each key, commented out or not, with each value that its comment offers."""
    place: list[str] = []
    for line in (REPOSITORY / "config.yaml").read_text(encoding="utf-8").splitlines():
        found = LINE.fullmatch(re.sub(r"^# ", "  ", line))
        if found is None:
            continue
        indent, key, value, comment = found.groups()
        place = [*place[: len(indent) // 2], key]
        if value.startswith("{"):
            yield ".".join(place), value
        elif comment:
            words = [word for words in LIST.findall(comment) for word in words.split(" | ")]
            for word in dict.fromkeys(words + WORD.findall(comment) + STRUCTURE.findall(comment)):
                yield ".".join(place), word


# What stands in prose or in a table.
DOCUMENTED = [
    *(("streams.lab.camera", value) for value in ("auto", "0", "/dev/video0")),
    *(("streams.lab.microphone", value) for value in ("auto", "0", "USB")),
    *(("outputs.view", value) for value in ("false", "true", "off", "on", "no", "yes", "null", "8080", "127.0.0.1:80")),
    *(("outputs.window", value) for value in ("false", "true", "off", "on", "no", "yes")),
    *(("outputs.record", value) for value in ("null", "false", "sessions")),
    *(("outputs.lsl", value) for value in ("false", "true", "off", "on", "no", "yes", "machine")),
    *((f"outputs.{key}", value) for key in ("osc", "mqtt") for value in ("null", "false", "true", "off", "on", "7000")),
    ("outputs.osc", "10.0.0.7:7000"),
    ("outputs.webhook", "false"),
    *((f"models.{kind}", "none") for kind in ("face-dynamic", "speech", "voice-activity", "fusion")),
    *((f"runtime.{key}", "auto") for key in ("threads", "max_batch", "max_wait_ms", "cuda_graph", "provider")),
    ("runtime.cuda_graph", "off"),
    ("runtime.gpu_memory_mb", "null"),
    ("workers.max_memory_mb", "null"),
]


def values_at(place: str, value: object) -> dict[str, object]:
    """The values of a config in which this key has this value."""
    *sections, key = place.split(".")
    values: dict[str, object] = {key: value}
    if place.startswith("outputs.record."):
        values = {"folder": "sessions", key: value}
    if place.startswith("outputs.webhook."):
        values = {"url": "https://example.org/hook", key: value}
    for section in reversed(sections):
        values = {section: values}
    return values


def load(place: str, value: str) -> Config:
    """The config in which this key has this value, as YAML spells it."""
    values = values_at(place, yaml.safe_load(value))
    if value.strip("'") == "learned":
        values["models"] = {"fusion": "fusion-learned"}
    return check_config(values, "config.yaml")


@pytest.mark.parametrize(("place", "value"), [*offered(), *DOCUMENTED])
def test_a_word_means_the_same_bare_and_in_quotes(place: str, value: str) -> None:
    bare = load(place, value)
    if value.isalpha() and value != "null" and place != "outputs.record":
        assert load(place, f"'{value}'") == bare


def test_the_comments_are_read() -> None:
    words = set(offered())
    assert {
        ("face.detect_every", "auto"), ("runtime.cuda_graph", "off"), ("runtime.provider", "cuda"),
        ("outputs.view.faces", "hide"), ("outputs.record.faces", "hide"), ("outputs.lsl", "machine"),
        ("models.speech", "none"), ("models.speech", "[speech-voice, speech-compact]"),
        ("workers.face.count", "{min: 1, max: 4}"), ("workers.face.cores", "[0, 1]"),
        ("models.face-static", "[face-robust, fer-plus]"), ("fusion.strategy", "learned"), ("log.level", "DEBUG"),
        ("audio.resampler", "VHQ"), ("outputs.window", "{faces: show, latency: true}"), ("face.detect_every", "5"),
        ("workers.max_memory_mb", "null"), ("log.file", "null"), ("outputs.window", "true"),
    } <= words  # fmt: skip
