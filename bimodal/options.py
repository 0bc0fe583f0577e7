"""Options that several commands share, and requests to a running system."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import typer

from bimodal.broker.control import Request, ask
from bimodal.config import Between, Config, CountConfig, load_config
from bimodal.supervisor.session import find_session

DEFAULT = Path("config.yaml")

ConfigOption = Annotated[
    Path | None,
    typer.Option(help="The config file; by default ./config.yaml, and without one the built-in defaults."),
]
SessionOption = Annotated[
    str, typer.Option(help="Name of the running system, where a machine has several.", metavar="NAME")
]


def config_of(path: Path | None) -> Config:
    """Load the named config, ./config.yaml, or the defaults. Raises ConfigError where it is invalid."""
    if path is not None:
        return load_config(path)
    return load_config(DEFAULT) if DEFAULT.is_file() else Config()


def with_counts(config: Config, face: int | None, audio: int | None) -> Config:
    """The config for files: other numbers of workers where given, and the maximum where it says {min, max}, since a
    file is analysed as fast as possible."""
    changes = {}
    for name, count in (("face", face), ("audio", audio)):
        before: CountConfig = getattr(config.workers, name)
        if count is None and isinstance(before.count, Between):
            count = before.count.max
        if count is not None:
            changes[name] = msgspec.structs.replace(before, count=count)
    return msgspec.structs.replace(config, workers=msgspec.structs.replace(config.workers, **changes))


# Requests to a running system.

_T = TypeVar("_T")


def ask_session(name: str, request: Request, wanted: type[_T]) -> _T:
    """Send a request to the system of this name; raises ControlError where none runs, or it refuses."""
    return ask(find_session(name), request, wanted)
