"""Reading and checking of config.yaml; an error is one sentence with the place."""

from __future__ import annotations

import logging
from pathlib import Path

import yaml

from bimodal.config.expansion import expand
from bimodal.config.schema import SHORT_FORMS, Config
from bimodal.values import WrongValueError, convert
from bimodal.workers.errors import ConfigError
from bimodal.workers.redaction import remember_address

MAX_BYTES = 1 << 20

log = logging.getLogger(__name__)


def load_config(path: Path) -> Config:
    """Load config.yaml.

    Raises ConfigError, with file, place and the nearest valid key, where the file is missing or wrong.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(f"there is no config file {path}") from error
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from error
    return read_config(data, str(path))


def read_config(data: bytes, origin: str) -> Config:
    """Parse the bytes of a config file; raises ConfigError, which names `origin`."""
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


# Keys of older versions by section: accepted, without effect, and answered with a sentence.
OBSOLETE = {
    ("face", "tiles"): "the detector looks at the whole frame at the size that 'face.min_size' needs; delete the line"
}


def check_config(values: object, origin: str) -> Config:
    """Check values from YAML; raises ConfigError, which names `origin`. Obsolete keys are logged as a warning."""
    if not isinstance(values, dict):
        raise ConfigError(f"{origin} must hold keys and values, not a {type(values).__name__}")
    for (section, key), sentence in OBSOLETE.items():
        held = values.get(section)
        if isinstance(held, dict) and key in held:
            log.warning("%s: '%s.%s' is no longer used: %s", origin, section, key, sentence)
            values = {**values, section: {name: value for name, value in held.items() if name != key}}
    try:
        config = convert(expand(values), Config, SHORT_FORMS)
    except WrongValueError as error:
        raise ConfigError(f"{origin}: {error}") from error
    for stream in config.streams.values():
        if stream.url is not None:
            remember_address(stream.url)
    return config


def _yaml_place(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"{problem} in line {mark.line + 1}, column {mark.column + 1}" if mark else problem
