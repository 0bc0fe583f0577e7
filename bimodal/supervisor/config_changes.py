"""Changes of the config of a running system that come as requests, not as edits of its file. Pure.

Whoever may send them may not open the machine to others by them: what listens, sends or writes is changed in the file.
Placeholders such as ${NAME} are not expanded either: they would read files and variables of this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from bimodal.config import Config, check_config
from bimodal.supervisor.provenance import without_secrets
from bimodal.workers.errors import ConfigError
from bimodal.workers.redaction import HIDDEN

ORIGIN = "the request"
IN_THE_FILE_ONLY = ("outputs", "network", "log")

Mode = Literal["whole", "sections", "merge"]


def changed_config(current: Config, values: Mapping[str, object], mode: Mode) -> Config:
    """The config that a request asks for (`broker.control.ChangeRequest`).

    Raises ConfigError where it is invalid, touches a section that is changed in the file only, or holds a hidden
    secret at a place where none was before.
    """
    real = msgspec.to_builtins(current, enc_hook=str)
    wanted = _restored(dict(values), without_secrets(real), real, ())
    assert isinstance(wanted, dict)
    match mode:
        case "whole":
            kept = {section: real[section] for section in IN_THE_FILE_ONLY}
            config = check_config(kept | wanted, ORIGIN, expanding=False)
        case "sections":
            config = check_config(real | wanted, ORIGIN, expanding=False)
        case "merge":
            config = check_config(merged(real, wanted), ORIGIN, expanding=False)
    for section in IN_THE_FILE_ONLY:
        if getattr(config, section) != getattr(current, section):
            raise ConfigError(f"{ORIGIN}: '{section}' can be changed in the config file only")
    return config


def merged(target: object, patch: object) -> object:
    """Merge values into others by RFC 7396: keys that the patch names change, and null removes one."""
    if not isinstance(patch, dict):
        return patch
    found = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found


def _restored(value: object, shown: object, real: object, place: tuple[str, ...]) -> object:
    """The values with each hidden secret, at the place where it was shown, as it is."""
    if isinstance(value, dict):
        known, secrets = (one if isinstance(one, dict) else {} for one in (shown, real))
        return {
            key: _restored(inner, known.get(key), secrets.get(key), (*place, str(key))) for key, inner in value.items()
        }
    if isinstance(value, list):
        pairs = (
            list(zip(shown, real, strict=True)) if isinstance(shown, list) and isinstance(real, list | tuple) else []
        )
        pairs += [(None, None)] * (len(value) - len(pairs))
        return [
            _restored(inner, *pair, (*place, str(number)))
            for number, (inner, pair) in enumerate(zip(value, pairs, strict=False))
        ]
    if isinstance(value, str) and HIDDEN in value:
        if value != shown:
            raise ConfigError(
                f"{ORIGIN}: '{HIDDEN}' in '{'.'.join(place)}' stands for a secret only where it was shown: write it out"
            )
        return real
    return value
