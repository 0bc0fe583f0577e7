"""What README and docs show is true: links lead somewhere, commands parse, config snippets are valid."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bimodal import __version__, cli, command_line
from bimodal.bench.plan import chosen
from bimodal.config import Config, check_config
from scripts.measure.__main__ import PARTS as MEASURED

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = [page for page in sorted((ROOT / "docs").rglob("*.md")) if not page.is_symlink()]
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *DOCS]
PAGES += sorted((ROOT / "models").glob("*/card.md"))
# It names what there was, too.
CHANGELOG = ROOT / "CHANGELOG.md"
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

LINK = re.compile(r"(?:\]\(|<img src=\")(?!https?:|mailto:)([^)\"\s]+)")
FENCE = re.compile(r"^( *)```(\S*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
# YAML of other programs, and of our exporters, by its first key.
NO_CONFIG = {"scrape_configs", "kind", "input", "authorization", "name"}
SECTIONS = set(Config.__struct_encode_fields__)
# Words that stand for more: a line with one of them shows a form and no whole command.
OPEN = {"…", "[…]"}

# Folders of the repository; what a page names in them must be there. Files by name alone, too, but for these.
ROOMS = ("bimodal", "broker", "models", "workers", "recordings", "drawing", "export", "training", "tests", "scripts")
OUR_PATH = re.compile(rf"(?:{'|'.join((*ROOMS, 'docs'))})/[\w./*-]*")
OUR_FILE = re.compile(r"[\w-]+\.(?:py|js|css)")
FILES_OF_OTHERS = {"listen.py", "models.py", "prepare_ravdess_dataset.py", "train_audio_model.py"}
FILES_OF_OTHERS |= {"evaluate_bimodal_model.py", "run_webcam.py"}
OUR_MODULE = re.compile(rf"python -m ((?:{'|'.join(ROOMS)})[\w.]*\w)")


def without_fences(text: str) -> str:
    return FENCE.sub("", text)


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives a page's headings."""
    found = re.findall(r"^#+ (.+)$", without_fences(page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def fenced(text: str, *languages: str) -> Iterator[str]:
    for indent, language, body in FENCE.findall(text):
        if language in languages:
            yield "\n".join(line.removeprefix(indent) for line in body.splitlines())


def command_lines(text: str) -> Iterator[tuple[str, bool]]:
    """Every shown `bimodal …`, and whether it is a whole command (in a block) or may be a part of one (in a line)."""
    for body in fenced(text, "sh", "", "bash"):
        for line in body.replace("\\\n", " ").splitlines():
            for part in re.split(r"\$\(|\||;|&&?|  +|\bthen\b| > ", line):
                said = part.strip().removeprefix("$ ")
                if said.startswith("bimodal ") and said[8:9].islower():
                    yield said, True
    for said in INLINE.findall(without_fences(text)):
        if said.startswith("bimodal ") and said[8:9].islower():
            yield re.split(r"\||&|\)", said)[0].strip(), False


def parse(line: str, whole: bool) -> None:
    """Fails where the command, a subcommand or an option is unknown, or, of a whole command, where one is missing."""
    words = shlex.split(line, comments=True)[1:]
    command: Any = command_line._load(words[0], cli.COMMANDS[words[0]])
    path, rest = [words[0]], words[1:]
    while rest and getattr(command, "commands", None):
        if rest[0] not in command.commands and not whole:
            return
        command = command.commands[rest[0]]
        path.append(rest.pop(0))
    options = {name for param in command.params if not getattr(param, "hidden", False) for name in param.opts}
    unknown = [word for word in rest if word.startswith("--") and word.partition("=")[0] not in {*options, "--help"}]
    assert not unknown, f"{' '.join(path)} has no {unknown}"
    if path == ["bench"]:
        chosen([word for word in itertools.takewhile(lambda word: not word.startswith("-"), rest) if word.islower()])
    if whole and not OPEN & set(rest) and not getattr(command, "commands", None):
        command.make_context(" ".join(path), rest)


@pytest.mark.parametrize("page", [*PAGES, CHANGELOG], ids=[*NAMES, "CHANGELOG.md"])
def test_relative_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(without_fences(page.read_text(encoding="utf-8"))):
        target, _, anchor = link.partition("#")
        place = (page.parent / target) if target else page
        assert place.exists(), link
        if anchor:
            assert anchor in anchors(place), f"{link}: there are {sorted(anchors(place))}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_shown_command_parses(page: Path) -> None:
    for line, whole in command_lines(page.read_text(encoding="utf-8")):
        try:
            parse(line, whole)
        except Exception as error:
            pytest.fail(f"{line}: {error!r}")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_shown_config_is_valid(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for snippet in fenced(text, "yaml"):
        values = yaml.safe_load(snippet)
        if NO_CONFIG.isdisjoint(values):
            check_config(values, snippet)
    for said in INLINE.findall(without_fences(text)):
        if re.match(rf"({'|'.join(SECTIONS)}): *[{{\w]", said):
            check_config(yaml.safe_load(said), said)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_file_and_module_that_is_named_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    names = {path.name for room in ROOMS for path in (ROOT / room).rglob("*")}
    for said in INLINE.findall(without_fences(text)):
        if OUR_PATH.fullmatch(said):
            assert any(ROOT.glob(said.rstrip("/"))), said
        elif OUR_FILE.fullmatch(said) and said not in FILES_OF_OTHERS:
            assert said in names, said
    for module in OUR_MODULE.findall(text):
        assert importlib.util.find_spec(module) is not None, module
    for parts in re.findall(r"python -m scripts\.measure((?: [a-z]+)+)", text):
        chosen(parts.split(), MEASURED)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_shown_import_works(page: Path) -> None:
    for snippet in fenced(page.read_text(encoding="utf-8"), "python"):
        for node in ast.walk(ast.parse(snippet)):
            if (
                isinstance(node, ast.ImportFrom)
                and node.module
                and node.module.partition(".")[0] in {"bimodal", *ROOMS}
            ):
                assert node.module.startswith("bimodal"), node.module
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names), snippet


def test_the_examples_are_valid() -> None:
    for example in (ROOT / "docs" / "examples").glob("*.yaml"):
        check_config(yaml.safe_load(example.read_bytes()), str(example))


def test_every_page_is_reached_from_the_readme() -> None:
    linked = {ROOT / link.partition("#")[0] for link in LINK.findall(README.read_text(encoding="utf-8"))}
    pages = [*DOCS, CHANGELOG, *ROOT.glob("*.md")]
    assert not [page.name for page in pages if page.parent in (ROOT, ROOT / "docs") and page not in linked | {README}]


def test_the_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    newest = re.search(r"^## (?!Unreleased)(\S+)", CHANGELOG.read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert (citation["version"], newest[1]) == (__version__, __version__)
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)


def test_every_command_has_a_help_with_an_example() -> None:
    for name, room in cli.COMMANDS.items():
        command: Any = command_line._load(name, room)
        for one in (getattr(command, "commands", None) and command.commands.values()) or [command]:
            assert "Example: " in (one.help or ""), f"{name} {one.name}"
