"""Puts an artifact into the user's model folder, in one move, with a note of what it is and where it came from."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

import msgspec

from bimodal.models.catalog import Entry, sha256_of
from bimodal.models.errors import CatalogError
from bimodal.models.folders import user_models
from bimodal.models.session import open_artifact

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def install(artifact: Path, name: str, folder: Path | None = None) -> Path:
    """Copy `artifact` to `<folder>/<name>/model.onnx`, and the card beside it, if it has one.

    The file is opened and checked first; what stood there stays until the new file is whole.

    Returns the file's new place. Raises CatalogError where the name is no name or the folder can't be written to, and
    ArtifactError where the file breaks its contract.
    """
    if not NAME.fullmatch(name):
        raise CatalogError(f"'{name}' can't be the name of a model: small letters, digits, dots and dashes are allowed")
    metadata = open_artifact(artifact, provider="cpu").metadata
    if metadata.name != name:
        raise CatalogError(f"{artifact} calls itself '{metadata.name}' and can't be installed as '{name}'")
    entry = Entry(
        name=name,
        file="model.onnx",
        kind=metadata.kind,
        license=metadata.license,
        source=metadata.source,
        sha256=sha256_of(artifact),
    )
    target = (folder or user_models()) / name
    card = artifact.with_name("card.md")
    try:
        target.mkdir(parents=True, exist_ok=True)
        if card.is_file():
            put(card.read_bytes(), target / "card.md")
        put(msgspec.json.encode(entry), target / "entry.json")
        put(artifact.read_bytes(), target / "model.onnx")
    except OSError as error:
        raise CatalogError(f"model '{name}' can't be installed in {target}: {error}") from error
    return target / "model.onnx"


def put(content: bytes, target: Path) -> None:
    """Write a file that is either not there or whole: beside its place first, then on the disk, then moved."""
    number, name = tempfile.mkstemp(dir=target.parent, prefix=".new-")
    fresh = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.chmod(0o644)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
