"""config.yaml read and checked, and what is wrong with it as one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import yaml
from pydantic import BaseModel, ValidationError

from bimodal.config.schema import Config, StreamConfig, unknown_key
from bimodal.workers.errors import ConfigError

MAX_BYTES = 1 << 20


def load_config(path: Path) -> Config:
    """config.yaml → Config.

    Raises ConfigError, naming file, place and the nearest right key, where the file is missing or wrong.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(f"there is no config file {path}") from error
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from error
    return read_config(data, str(path))


def read_config(data: bytes, origin: str) -> Config:
    """The bytes of a config file → Config; raises ConfigError, naming `origin`."""
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{origin} is larger than a config file may be ({MAX_BYTES >> 10} KiB)")
    try:
        values = yaml.safe_load(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{origin} is no text in UTF-8") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{origin} is not valid YAML: {_yaml_place(error)}") from error
    except RecursionError as error:
        raise ConfigError(f"{origin} nests too deeply") from error
    except Exception as error:  # PyYAML's own conversions raise as they like: "2001-99-99" a ValueError
        raise ConfigError(f"{origin} holds a value that is none: {str(error)[:200]}") from error
    return check_config({} if values is None else values, origin)


def check_config(values: object, origin: str) -> Config:
    """Values as YAML gives them → Config; raises ConfigError, naming `origin`."""
    if not isinstance(values, dict):
        raise ConfigError(f"{origin} must hold keys and values, not a {type(values).__name__}")
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {_sentence(error)}") from error


def _yaml_place(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"{problem} in line {mark.line + 1}, column {mark.column + 1}" if mark else problem


def _sentence(error: ValidationError) -> str:
    """The first thing that is wrong, as one sentence."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part != "[key]") or "the file"
    if first["type"] == "extra_forbidden":
        parent = first["loc"][:-1]
        return _within(".".join(map(str, parent)), unknown_key(str(first["loc"][-1]), _known_keys(parent)))
    message = first["msg"].removeprefix("Value error, ")
    return _within(place, message[:1].lower() + message[1:])


def _within(place: str, message: str) -> str:
    return f"in '{place}': {message}" if place else message


def _known_keys(place: tuple[int | str, ...]) -> list[str]:
    """The keys that are known at a place of the file."""
    model: type[BaseModel] = Config
    for part in place:
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        if part in fields:
            found = fields[str(part)].annotation
            kinds = [kind for kind in (found, *get_args(found)) if isinstance(kind, type)]
            model = next((kind for kind in kinds if issubclass(kind, BaseModel)), StreamConfig)
    return [field.alias or name for name, field in model.model_fields.items()]
