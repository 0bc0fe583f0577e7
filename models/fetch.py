"""`bimodal models fetch`: an authors' file becomes an artifact of the user's own folder.

The order is what makes it safe: download, checksum, and only then anything opens the file: the exporter, in a process
of its own. What is installed was opened and checked as an artifact first.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from bimodal.child_process import child_environment, python_command
from bimodal.models.catalog import Download, Entry, sha256_of, user_models
from bimodal.models.download import DEFAULT_PATIENCE, Patience, Progress, download
from bimodal.models.errors import CatalogError, DownloadError
from bimodal.models.session import open_artifact

Say = Callable[[str], None]


class Place(msgspec.Struct, frozen=True):
    """Where things lie and come from.

    Attributes:
        models: the user's model folder.
        cache: of downloads that are under way.
        mirror: a folder with the authors' files, instead of the web.
    """

    models: Path
    cache: Path
    mirror: Path | None = None


def fetch_model(
    wanted: Download, place: Place, say: Say, progress: Progress, patience: Patience = DEFAULT_PATIENCE
) -> Path:
    """Get, check, convert and install one model; the artifact's path.

    Raises DownloadError (can't be had, or another file than expected), CatalogError (can't be converted or installed)
    or ArtifactError; the model folder is then as it was.
    """
    if place.mirror is not None:
        return _make(_of_mirror(wanted, place.mirror), wanted, place, say)
    source = _of_web(wanted, place, progress, patience)
    made = _make(source, wanted, place, say)
    shutil.rmtree(source.parent)
    return made


def _of_mirror(wanted: Download, mirror: Path) -> Path:
    """The file under its own name, or any file that is it."""
    if not mirror.is_dir():
        raise DownloadError(f"there is no folder {mirror}")
    named = mirror / wanted.file_name
    if named.is_file():
        return named
    for path in sorted(mirror.iterdir()):
        if path.is_file() and path.stat().st_size == wanted.bytes and sha256_of(path) == wanted.sha256:
            return path
    raise DownloadError(f"{mirror} has no file '{wanted.file_name}', nor one with its checksum")


def _of_web(wanted: Download, place: Place, progress: Progress, patience: Patience) -> Path:
    """The file, whole and checked, in the cache. A resumed one that turns out wrong is fetched once more from 0."""
    folder = place.cache / wanted.name
    whole, part = folder / wanted.file_name, folder / f"{wanted.file_name}.part"
    expected = _expected(wanted, place)
    if expected is None and urlsplit(wanted.url).scheme != "https" and urlsplit(wanted.url).hostname != "127.0.0.1":
        raise DownloadError(f"{wanted.url} has no known checksum, so it is only fetched by https")
    if whole.is_file() and expected in (None, sha256_of(whole)):
        return whole
    resumed = part.is_file()
    while True:
        download(wanted.url, part, size=wanted.bytes, progress=progress, patience=patience)
        found = sha256_of(part)
        if expected in (None, found):
            return part.replace(whole)
        shutil.rmtree(folder)
        if not resumed:
            raise DownloadError(_another(wanted, found, expected))
        resumed = False


def _make(source: Path, wanted: Download, place: Place, say: Say) -> Path:
    found, expected = sha256_of(source), _expected(wanted, place)
    if expected not in (None, found):
        raise DownloadError(_another(wanted, found, expected))
    say(f"{source.name}: sha256 {found} {'as expected' if expected else 'pinned: it is the first fetch'}")
    try:
        place.models.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="bimodal-") as scratch:
            artifact = _convert(source, wanted, Path(scratch), say) if wanted.export else source
            open_artifact(artifact, wanted.kind, provider="cpu")
            made = install(artifact, wanted.name, place.models)
    except OSError as error:
        raise CatalogError(f"model '{wanted.name}' can't be installed in {place.models}: {error}") from error
    if wanted.sha256 is None:
        remember(place.models, wanted.url, found)
    return made


def _expected(wanted: Download, place: Place) -> str | None:
    return wanted.sha256 or pinned(place.models).get(wanted.url)


def _another(wanted: Download, found: str, expected: str | None) -> str:
    return (
        f"{wanted.file_name} is not the file that the catalog knows: its sha256 is {found}, not {expected}; "
        f"nothing was opened or installed"
    )


def _convert(source: Path, wanted: Download, out: Path, say: Say) -> Path:
    """Run the exporter, which also checks parity, in a process of its own; the artifact's path.

    Raises CatalogError with the exporter's own last sentence.
    """
    say(f"converting {source.name} and comparing it with the original …")
    command = python_command("bimodal", "export", *wanted.export, str(source.absolute()), "--out", str(out))
    done = subprocess.run(command, capture_output=True, text=True, env=child_environment(), cwd=out, check=False)
    artifact = out / wanted.name / "model.onnx"
    if done.returncode != 0 or not artifact.is_file():
        reason = (done.stderr.strip().splitlines() or [f"the exporter made no model '{wanted.name}'"])[-1]
        raise CatalogError(f"{source.name} can't be converted: {reason}")
    for line in done.stdout.splitlines()[:-1]:  # the last one says where the scratch file lies
        say(f"  {line}")
    return artifact


# Puts an artifact into the user's model folder, in one move, with a note of what it is and where it came from.


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


# Checksums of files that nobody could look at before: the first fetch pins them, later ones must agree.


FILE = "pins.json"


def pinned(folder: Path) -> dict[str, str]:
    """Address → sha256 of what was fetched from it. Raises CatalogError where the file is damaged."""
    path = folder / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        raise CatalogError(f"{path} can't be read: {error}; delete it to pin every file anew") from error


def remember(folder: Path, url: str, sha256: str) -> None:
    """Pin what was fetched from an address."""
    folder.mkdir(parents=True, exist_ok=True)
    put(msgspec.json.format(msgspec.json.encode({**pinned(folder), url: sha256}), indent=2), folder / FILE)
