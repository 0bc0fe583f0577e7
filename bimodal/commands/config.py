"""`bimodal config`: what the config files say together, whether they are right, and their JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, cast

import msgspec
import typer
import yaml

from bimodal.config import Config
from bimodal.config.json_schema import EXAMPLE, json_schema
from bimodal.config.reading import origin_of
from bimodal.console import put, put_json, say, user_errors
from bimodal.options import ConfigOption, documents_of
from bimodal.supervisor.emotions import check_models
from bimodal.supervisor.processes import TABLE, Wanted, processes
from bimodal.supervisor.provenance import config_record, without_secrets

Place = tuple[str, ...]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help="Show and check the config, and print its JSON Schema for editors.",
)


@app.command()
def show(
    config: ConfigOption = None,
    changed: Annotated[bool, typer.Option("--changed", help="Only what differs from the defaults.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Print the config in force: all files together, with every default; each value with the file and line it is from.

    Tokens, passwords and keys are shown as ***.

    Example: [b]bimodal config show --config site.yaml --config camera.yaml --changed[/b]
    """
    with user_errors():
        loaded, documents, _ = documents_of(config)
        record = config_record(loaded)
        if changed:
            record = cast("dict[str, Any]", without_secrets(differing(loaded, Config())))
        if as_json:
            put_json(record)
            return
        origins = {place: origin for place in _places(record) if (origin := origin_of(documents, place)) is not None}
        put("\n".join(to_yaml(record, origins)) or "# nothing but the defaults")


@app.command()
def check(
    config: ConfigOption = None,
    here: Annotated[
        bool, typer.Option("--here", help="Also whether this machine has the models and cores that it names.")
    ] = False,
) -> None:
    """Check the config without starting anything. Exit code 1, with file, line and place, where it is wrong, or where a
    model that it names does not fit. Models that are not on this machine are named and not checked.

    Example: [b]bimodal config check --config config.yaml --here[/b]
    """
    with user_errors():
        loaded, _, files = documents_of(config)
        missing = check_models(loaded)
        if here:
            processes(Wanted(loaded), TABLE)
        for sentence in missing:
            say(f"not checked: {sentence}")
        names = " and ".join(map(str, files)) or "the built-in config"
        streams = ", ".join(loaded.streams)
        verb = "are" if len(files) > 1 else "is"
        put(f"{names} {verb} right{' as far as checked' if missing else ''}; streams: {streams}")


@app.command()
def schema() -> None:
    """Print the JSON Schema of config.yaml. Editors check and explain the keys of a file whose first line is
    "# yaml-language-server: $schema=FILE".

    Example: [b]bimodal config schema > config.schema.json[/b]
    """
    with user_errors():
        put(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@app.command()
def example() -> None:
    """Print a config.yaml with every key, its default and a comment, to start from.

    Example: [b]bimodal config example > config.yaml[/b]
    """
    with user_errors():
        put(EXAMPLE.read_text(encoding="utf-8").replace("$schema=docs/", "$schema=").rstrip("\n"))


def _places(values: Mapping[str, Any], place: Place = ()) -> Iterator[Place]:
    """The places of all values that are no sections."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _places(value, (*place, key))
        else:
            yield (*place, key)


def differing(section: msgspec.Struct, before: object = None) -> dict[str, Any]:
    """The keys of a section that differ from their defaults: as a config file they give the same section again.

    Args:
        before: the section where a file says nothing of it. A file that has any of its keys begins with the defaults of
            its type, so that what differs from either counts.
    """
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(section):
        value, was = getattr(section, field.name), getattr(before, field.name, msgspec.NODEFAULT)
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        if value == default and was in (value, msgspec.NODEFAULT):
            continue
        if isinstance(value, msgspec.Struct):
            found[field.encode_name] = differing(value, was if type(was) is type(value) else None)
        elif isinstance(value, Mapping):
            found[field.encode_name] = {
                name: differing(each) if isinstance(each, msgspec.Struct) else each for name, each in value.items()
            }
        else:
            found[field.encode_name] = msgspec.to_builtins(value, enc_hook=str)
    return found


def to_yaml(values: Mapping[str, Any], origin: Mapping[Place, str], place: Place = ()) -> Iterator[str]:
    """The lines of a config as YAML; values that stand in `origin` have it behind them, as a comment."""
    for key, value in values.items():
        own = (*place, key)
        head = f"{'  ' * len(place)}{_flow(key)}:"
        if isinstance(value, dict) and value:
            yield head
            yield from to_yaml(value, origin, own)
        else:
            line = f"{head} {_flow(value)}"
            yield f"{line}  # {origin[own]}" if own in origin else line


def _flow(value: object) -> str:
    """One value in one line; what a config file would take for a variable is escaped."""
    text = yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=1_000_000).strip()[1:-1]
    return text.replace("${", "$${")
