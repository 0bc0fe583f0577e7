"""The commands that README and docs show are run as they stand there, on files of the names that they use.

A command that a page shows stands in RUN, or in NOT_RUN with the reason; a new one fails until it is placed.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import zmq

from bimodal.broker.events import Emotion
from tests.end_to_end.driving import Driven
from tests.test_docs import PAGES, command_lines, fenced

OLD = Path(__file__).parents[1] / "recordings" / "of_0_1"
RECORDING = "sessions/default-2026-11-22T14-54-38"
SESSION = "docs-commands"

# What is shown → what is run, one after another; nothing: what is shown. {KEY} is a public key, {SESSION} the running
# system of this file.
RUN: dict[str, Sequence[str]] = {
    "bimodal analyze interview.mp4 --out results/ --report": (),
    "bimodal analyze interview.mp4 --out results/ --also eaf,webvtt": (),
    "bimodal analyze study/ --out results/": (),
    "bimodal analyze study/ --out results/ --dry-run": (),
    "bimodal corpus merge results/": ("bimodal analyze study/ --out results/", "bimodal corpus merge results/"),
    "bimodal convert results/ --to eaf,textgrid,webvtt,srt,boris,csv-long": (),
    "bimodal convert results/interview.jsonl --to eaf": (),
    "bimodal analyze interview.mp4 --out results/ --annotate": ("bimodal analyze talk.mov --out results/ --annotate",),
    "bimodal analyze interview.mp4 --out results/ --annotate --hide-faces": (),
    "bimodal analyze interview.mp4 --out results/ --draw mesh,pose,gaze": (),
    "bimodal analyze talk.mov --out results/ --annotate": (),
    "bimodal analyze talk.mp4 --out results": ("bimodal analyze interview.mp4 --out results/ --report",),
    "bimodal report results/": (),
    f"bimodal report {RECORDING}": (),
    f"bimodal replay {RECORDING} --speed 2 --loop": (f"bimodal replay {RECORDING} --speed 2",),
    "bimodal diff results/interview.jsonl --model face-static=emo-affectnet": (
        "bimodal diff results/interview.jsonl --model face-static=face-compact",
    ),
    "bimodal models list": (),
    "bimodal models verify": (),
    "bimodal devices": (),
    "bimodal doctor": (),
    "bimodal doctor --size": ("bimodal doctor --size --seconds 0.1",),
    "bimodal data list": (),
    "bimodal export onnx --list-presets": (),
    "bimodal keys create": (),
    "bimodal keys create --once --json": (),
    "bimodal keys list --json": (),
    "bimodal keys show": ("bimodal keys create", "bimodal keys show"),
    "bimodal keys allow 'KEY' --name laptop": ("bimodal keys allow '{KEY}' --name laptop",),
    "bimodal keys allow 'PUBLIC KEY' --name laptop": ("bimodal keys allow '{KEY}' --name laptop",),
    "bimodal keys allow 'KEY' --name gpu --work": ("bimodal keys allow '{KEY}' --name gpu --work",),
    "bimodal keys allow 'KEY OF THE OTHER' --name gpu --work": ("bimodal keys allow '{KEY}' --name gpu --work",),
    "bimodal keys list": ("bimodal keys allow '{KEY}' --name laptop", "bimodal keys list"),
    "bimodal keys remove laptop": ("bimodal keys allow '{KEY}' --name laptop", "bimodal keys remove laptop"),
    "bimodal keys tls": (),
    "bimodal bench limit pipeline --repeats 3": ("bimodal bench limit --quick --seconds 0.2",),
    "bimodal subscribe --address": (),
    "bimodal subscribe emotion.": ("bimodal subscribe emotion. --count 1 --session {SESSION}",),
    "bimodal subscribe emotion.desk": ("bimodal subscribe emotion.desk --count 1 --session {SESSION}",),
    "bimodal subscribe --changes": ("bimodal subscribe --changes --count 1 --session {SESSION}",),
    "bimodal subscribe --session measure --count 900": ("bimodal subscribe --session {SESSION} --count 3",),
    "bimodal schema": (),
    "bimodal schema --to typescript": (),
    "bimodal top": ("bimodal top --session {SESSION}",),
    "bimodal status": ("bimodal status --session {SESSION}",),
    "bimodal config check --config config.yaml": ("bimodal config check",),
    "bimodal config check --here": (),
    "bimodal config show --changed": (),
    "bimodal config schema": (),
    "bimodal config example": (),
    "bimodal scale face=4": ("bimodal scale face=2 --session {SESSION}",),
    "bimodal scale face=4 audio=2": ("bimodal scale face=1 audio=1 --session {SESSION}",),
    # Run by the fixture `system`.
    "bimodal up": ("bimodal status --session {SESSION}",),
    "bimodal up --session lab": ("bimodal status --session {SESSION}",),
    "bimodal up --config thirty.yaml --session measure --for 45": ("bimodal status --session {SESSION}",),
}

# What is shown, as a pattern, and why it is not run here.
NOT_RUN = {
    r"bimodal agree .*": "needs people's labels; see tests/commands/test_agree.py",
    r"bimodal analyze .* --engine ray .*": "needs a cluster; see tests/corpus/test_ray_engine.py",
    r"bimodal analyze s3://.*": "needs an object store; see tests/corpus/test_store.py",
    r"bimodal view .*": "runs until it is stopped; see tests/workers/view/test_several.py",
    r"bimodal train .*|make test(-slow)?": "takes long",
    r"bimodal (evaluate|data prepare|export quantize) .*": "needs a data set",
    r"bimodal export (onnx|torch|keras|yunet|auto) .*": "needs a model file of others; see tests/export",
    r"bimodal models inspect .*": "needs a model file of others; see tests/export/test_inspect.py",
    r"bimodal export (mediapipe|silero|face-api) .*|bimodal models fetch.*": "loads a file from the network",
    r"bimodal models verify emo-affectnet": "needs a model that was fetched",
    r"bimodal models pin": "writes the catalog of the repository",
    r"bimodal diff .* --model speech=\./mine\.onnx.*": "needs a film, and a model of one's own; see test_diff.py",
    r"bimodal up --config site.yaml --config camera.yaml": "needs files of one's own; see tests/config/test_merging.py",
    r"bimodal analyze interview.mp4 --out results/|bimodal subscribe --count 1": "runs in a container or as a service",
    r"bimodal serve": "runs until it is stopped; see tests/commands/test_serve.py",
    r"bimodal work .*|bimodal subscribe --endpoint .*": "needs two machines; see test_remote_worker.py, test_curve.py",
    r"bimodal soak .*": "takes hours; see test_soak.py",
    r"bimodal bench( --json .*| (latency|start)( --repeats \d+)?| limit pipeline( --seconds.*)?)?": "takes minutes",
    r"python -m scripts\.measure(\.\w+)? .*": "takes minutes, some parts with more packages; see tests/scripts",
    r"python -m scripts\.doubt .*": "needs data sets; see tests/scripts/test_doubt.py",
    r"python -m tests\.(chaos|fuzz\.\w+) .*": "takes long; a round of each is in tests/chaos and tests/fuzz",
    r"python -m tests\.tried.*": "takes minutes; see tests/tried",
    r"make run": "needs a desk",
    r"make docs|sphinx-build .*": "tests/test_site.py looks at what it makes",
    r"make .*|ruff .*|mypy|lint-imports|python -m pytest.*": "is how these tests are run",
}


def bare(command: str) -> str:
    """A command without its comment, quoted in one way."""
    return shlex.join(shlex.split(command, comments=True))


PLACED = set(map(bare, RUN))


def shown() -> list[str]:
    """Every command that README and docs show, placeholders and names of commands left out."""
    found = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for line, whole in command_lines(text):
            command = bare(line)
            if whole or is_complete(command):
                found[command] = True
        for body in fenced(text, "sh", "", "bash"):
            for line in body.splitlines():
                if re.match(r"(make|python -m) ", line):
                    found[bare(line)] = True
    return list(found)


def is_complete(command: str) -> bool:
    """Tell a command that could be typed from the bare name of one, in a line of text."""
    return command in PLACED or (" -" in command and not re.search(r"…|\b[A-Z_]{3,}\b", command))


def test_every_shown_command_is_run_or_there_is_a_reason() -> None:
    for command in shown():
        reasons = [reason for pattern, reason in NOT_RUN.items() if re.fullmatch(pattern, command)]
        assert command in PLACED or reasons, f"place '{command}' in RUN or NOT_RUN"


def test_what_is_run_is_shown() -> None:
    assert set(shown()) >= PLACED


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the files that the pages name: clips, results, and a recording."""
    for name in ("interview.mp4", "talk.mov", "talk.mp4"):
        shutil.copy(OLD / "smile.mp4", tmp_path / name)
    (tmp_path / "study" / "p01").mkdir(parents=True)
    shutil.copy(OLD / "smile.mp4", tmp_path / "study" / "p01" / "session.mp4")
    shutil.copytree(OLD / "default-2026-11-29T14-06-14", tmp_path / RECORDING)
    (tmp_path / "results").mkdir()
    for file in (OLD / "results").iterdir():
        copy = tmp_path / "results" / file.name.replace("smile", "interview")
        shutil.copy(file, copy)
        if file.suffix == ".json":
            text = file.read_text(encoding="utf-8").replace("/clips", str(tmp_path)).replace("smile", "interview")
            copy.write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a session that plays the clip for ever as the stream `desk`."""
    folder = tmp_path_factory.mktemp("system")
    config = folder / "config.yaml"
    config.write_text(
        f"streams: {{desk: {{file: '{OLD / 'smile.mp4'}', loop: true}}}}\nworkers: {{face: {{count: 1}}}}\n"
    )
    with Driven("up", "--config", config, "--session", SESSION, session=SESSION) as driven:
        driven.wait_for(lambda body: isinstance(body, Emotion))
        yield SESSION


@pytest.mark.parametrize("lines", {tuple(lines) or (shown,): None for shown, lines in RUN.items()}, ids="; ".join)
def test_shown_commands(lines: tuple[str, ...], place: Path, request: pytest.FixtureRequest) -> None:
    environment = os.environ | {f"XDG_{kind}_HOME": str(place / kind) for kind in ("CONFIG", "STATE", "DATA", "CACHE")}
    key = zmq.curve_keypair()[0].decode()
    for line in lines:
        if "{SESSION}" in line:
            request.getfixturevalue("system")
        words = [word.replace("{KEY}", key).replace("{SESSION}", SESSION) for word in shlex.split(line)[1:]]
        with Driven(*words, cwd=place, environment=environment) as driven:
            code, out, err = driven.finish()
        assert code == 0, err
        assert out or err
