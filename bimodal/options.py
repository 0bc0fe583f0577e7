"""Options that several commands share, and requests to a running system."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
import typer

from bimodal.broker.control import Request, ask
from bimodal.config import Between, Config, CountConfig, load_config
from bimodal.config.reading import Document, read_documents
from bimodal.config.reading import config_of as merged
from bimodal.drawing.marks import MARKS, Mark
from bimodal.supervisor.processes import mesh_model
from bimodal.supervisor.session import find_session
from bimodal.workers.errors import ConfigError

if TYPE_CHECKING:
    from bimodal.drawing.style import Style

DEFAULT = Path("config.yaml")
VARIABLE = "BIMODAL_CONFIG"
"""Environment variable: the config files for want of --config, separated as in PATH."""

ConfigOption = Annotated[
    list[Path] | None,
    typer.Option(
        help="The config file; a further one adds to it and wins. By default those that BIMODAL_CONFIG names, else "
        "./config.yaml, else the built-in defaults.",
        metavar="FILE",
    ),
]
SessionOption = Annotated[
    str, typer.Option(help="Name of the running system, where a machine has several.", metavar="NAME")
]


def config_files(given: Sequence[Path] | None) -> tuple[Path, ...]:
    """The config files: those given, else those that BIMODAL_CONFIG names, else ./config.yaml where it is there."""
    if given:
        return tuple(given)
    named = tuple(Path(file) for file in os.environ.get(VARIABLE, "").split(os.pathsep) if file)
    return named or ((DEFAULT,) if DEFAULT.is_file() else ())


def config_of(given: Sequence[Path] | None, secrets: set[Path] | None = None) -> Config:
    """Load the config files (see config_files), or the defaults; `secrets` receives the files of secrets that they
    name. Raises ConfigError where one is missing or wrong."""
    files = config_files(given)
    with named_files(given):
        return load_config(files, secrets) if files else Config()


def documents_of(given: Sequence[Path] | None) -> tuple[Config, list[Document], tuple[Path, ...]]:
    """The config as `config_of` loads it, its documents, which know where each value is from, and its files. Raises
    ConfigError."""
    files = config_files(given)
    with named_files(given):
        documents = read_documents(files)
        return merged(documents), documents, files


@contextlib.contextmanager
def named_files(given: Sequence[Path] | None) -> Iterator[None]:
    """Say in errors of config files that BIMODAL_CONFIG names them, where it does."""
    try:
        yield
    except ConfigError as error:
        if given or not os.environ.get(VARIABLE):
            raise
        raise ConfigError(f"{error} (the environment variable {VARIABLE} names the config)") from error


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


def with_quick(config: Config, quick: bool | None) -> Config:
    """The config with `face.quick` as given; None leaves it. Raises ConfigError where `detect_every` forbids it."""
    if quick is None:
        return config
    if quick and config.face.detect_every != "auto":
        raise ConfigError(
            f"quick looks where something has changed: it needs face.detect_every: auto, not {config.face.detect_every}"
        )
    return msgspec.structs.replace(config, face=msgspec.structs.replace(config.face, quick=quick))


def marks_of(given: str | Sequence[str]) -> tuple[Mark, ...]:
    """Read what is drawn into a film, from a list or text with commas. Raises ConfigError for what can't be drawn."""
    names = [name.strip() for name in (given.split(",") if isinstance(given, str) else given) if name.strip()]
    wrong = next((name for name in names if name not in MARKS), None)
    if wrong is not None or (isinstance(given, str) and not names):
        raise ConfigError(f"'{wrong or given}' can't be drawn; there are {', '.join(MARKS)}")
    return tuple(mark for mark in MARKS if mark in names)


def film_style(config: Config, marks: tuple[Mark, ...], *, hide_faces: bool) -> tuple[Style, str | None]:
    """The style of annotated films of files, and the path of the landmark model where it draws meshes.

    Raises CatalogError where that model is unknown.
    """
    from bimodal.drawing.style import Style  # loads numpy

    landmarks = mesh_model(config, files=True) if "mesh" in marks else None
    return Style(faces="hide" if hide_faces else "show", draw=marks), landmarks


# Requests to a running system.

_T = TypeVar("_T")


def ask_session(name: str, request: Request, wanted: type[_T]) -> _T:
    """Send a request to the system of this name; raises ControlError where none runs, or it refuses."""
    return ask(find_session(name), request, wanted)
