"""CURVE keys as files: this machine's own pairs, and the public keys of clients that are allowed to connect.

A folder that only its user can enter (0700), in the certificate format of ZeroMQ (zmq.auth):

    NAME.key, NAME.key_secret     an own pair; the secret file can be read by its user only (0600)
    allowed/events/NAME.key       scope "events": may read the event bus
    allowed/workers/NAME.key      scope "workers": may do jobs, and so is sent the pixels

Keys are 40 characters of Z85 (ZeroMQ RFC 32).
"""

from __future__ import annotations

import os
import re
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import zmq.auth
from platformdirs import user_config_path
from zmq.utils import z85

from bimodal.broker.errors import KeysError

Scope = Literal["events", "workers"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

OWN = "bimodal"
OTHERS_MAY = 0o077
KEY_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,47}")
_KEY = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")


@dataclass(frozen=True)
class KeyPair:
    """A key pair of this machine; `secret` never leaves the process and is not printed."""

    name: str
    public: str
    secret: bytes

    def __repr__(self) -> str:
        return f"KeyPair({self.name!r}, {self.public!r})"


def keys_folder() -> Path:
    """The folder of keys: $XDG_CONFIG_HOME/bimodal/keys, by default ~/.config/bimodal/keys."""
    return user_config_path("bimodal") / "keys"


def create(folder: Path, name: str = OWN) -> str:
    """Create a pair and return its public key. Raises KeysError if one of that name exists already."""
    _check_name(name)
    _make(folder)
    if (folder / f"{name}.key_secret").exists():
        raise KeysError(f"there is a key '{name}' in {folder} already; delete its two files to make a new one")
    public = ""
    # The public key must begin with a letter or digit, so that command lines never take it for an option.
    while not public[:1].isalnum():
        _, secret_file = zmq.auth.create_certificates(folder, name)
        Path(secret_file).chmod(0o600)
        public = zmq.auth.load_certificate(secret_file)[0].decode()
    return public


def own(folder: Path, name: str = OWN) -> KeyPair:
    """Read a pair of this machine.

    Raises KeysError if it is missing or broken, or if others could read its secret file.
    """
    _check_name(name)
    path = folder / f"{name}.key_secret"
    how = "'bimodal keys create'" if name == OWN else f"'bimodal keys create --name {name}'"
    if not path.is_file():
        raise KeysError(f"there is no key '{name}' on this machine: make one with {how}")
    _check_private(folder, f"chmod 700 {folder}")
    _check_private(path, f"chmod 600 {path}")
    try:
        public, secret = zmq.auth.load_certificate(path)
    except (OSError, ValueError) as error:
        raise KeysError(f"{path} is no key file; delete it and make a new one with {how}") from error
    if secret is None or not _is_key(public) or not _is_key(secret):
        raise KeysError(f"{path} is no key file; delete it and make a new one with {how}")
    return KeyPair(name, public.decode(), secret)


def own_names(folder: Path) -> list[str]:
    """The names of this machine's pairs."""
    return sorted(path.stem for path in folder.glob("*.key_secret"))


def allow(folder: Path, public: str, name: str, scope: Scope) -> None:
    """Allow a public key in a scope, under a name.

    Raises KeysError if it is no public key, or the name belongs to another key.
    """
    _check_name(name)
    check_public(public)
    _make(folder)
    known = [item for other in SCOPES for item in allowed(folder, other).items()]
    for key, called in known:
        if key == public and called != name:
            raise KeysError(f"this key is allowed as '{called}' already")
        if key != public and called == name:
            raise KeysError(f"'{name}' is another key already: take another name, or 'bimodal keys remove {name}'")
    place = folder / "allowed" / scope
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = place / f".{name}.new"
    fresh.write_text(f'metadata\n    name = {name}\ncurve\n    public-key = "{public}"\n', encoding="ascii")
    fresh.replace(place / f"{name}.key")


def allowed(folder: Path, scope: Scope) -> dict[str, str]:
    """The keys that are allowed in a scope: public key → name. A file that holds no key is ignored."""
    found: dict[str, str] = {}
    for path in sorted((folder / "allowed" / scope).glob("*.key")):
        try:
            public, _ = zmq.auth.load_certificate(path)
        except (OSError, ValueError):
            continue
        if _is_key(public) and _NAME.fullmatch(path.stem):
            found[public.decode()] = path.stem
    return found


def remove(folder: Path, name: str) -> None:
    """Remove the key of that name from all scopes. Raises KeysError if there is none."""
    _check_name(name)
    files = [folder / "allowed" / scope / f"{name}.key" for scope in SCOPES]
    if not any(path.exists() for path in files):
        raise KeysError(f"nobody is allowed as '{name}'; see 'bimodal keys list'")
    for path in files:
        path.unlink(missing_ok=True)


def check_public(public: str) -> None:
    """Raise KeysError unless the text is a public key."""
    if not _is_key(public.encode()):
        raise KeysError(f"'{public}' is no public key: it has 40 characters, as 'bimodal keys show' prints it")


def _is_key(key: bytes) -> bool:
    text = key.decode("ascii", "replace")
    if not _KEY.fullmatch(text):
        return False
    try:
        return len(z85.decode(text)) == KEY_BYTES
    except (KeyError, ValueError, struct.error):
        return False


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise KeysError(f"'{name}' can't name a key; use letters, digits, dots and dashes, 48 at most")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise KeysError(f"the folder of keys {folder} can't be made: {error.strerror}") from error
    _check_private(folder, f"chmod 700 {folder}")


def _check_private(path: Path, remedy: str) -> None:
    status = path.stat()
    if status.st_uid != os.getuid():
        raise KeysError(f"{path} belongs to another user: keys of others are not used")
    if stat.S_IMODE(status.st_mode) & OTHERS_MAY:
        raise KeysError(f"{path} can be read by other users: a secret key must be yours alone ({remedy})")
