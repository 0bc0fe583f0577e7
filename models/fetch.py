"""`bimodal models fetch`: download, check, convert and install a third-party model in the user's own folder.

The order makes it safe: nothing opens the file before its checksum is checked, the exporter then does so in a process
of its own, and the result is opened and checked as an artifact before it is installed.
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
from bimodal.models.download import DEFAULT_RETRIES, Progress, RetryPolicy, download
from bimodal.models.errors import CatalogError, DownloadError
from bimodal.models.session import open_artifact

Report = Callable[[str], None]


class Folders(msgspec.Struct, frozen=True):
    """Folders of a fetch.

    Attributes:
        models: the user's model folder.
        cache: folder of unfinished downloads.
        mirror: folder with the authors' files, used instead of the web.
    """

    models: Path
    cache: Path
    mirror: Path | None = None


def fetch_model(
    wanted: Download, folders: Folders, report: Report, progress: Progress, retries: RetryPolicy = DEFAULT_RETRIES
) -> Path:
    """Fetch, check, convert and install one model; return the artifact's path.

    Raises DownloadError (not available, or not the expected file), CatalogError (can't be converted or installed)
    or ArtifactError, and leaves the model folder unchanged then.
    """
    if folders.mirror is not None:
        return _make(_of_mirror(wanted, folders.mirror), wanted, folders, report)
    source = _of_web(wanted, folders, progress, retries)
    made = _make(source, wanted, folders, report)
    shutil.rmtree(source.parent)
    return made


def _of_mirror(wanted: Download, mirror: Path) -> Path:
    """Find the file in a mirror by its name, else by size and checksum."""
    if not mirror.is_dir():
        raise DownloadError(f"there is no folder {mirror}")
    named = mirror / wanted.file_name
    if named.is_file():
        return named
    for path in sorted(mirror.iterdir()):
        if path.is_file() and path.stat().st_size == wanted.bytes and sha256_of(path) == wanted.sha256:
            return path
    raise DownloadError(f"{mirror} has no file '{wanted.file_name}', nor one with its checksum")


def _of_web(wanted: Download, folders: Folders, progress: Progress, retries: RetryPolicy) -> Path:
    """Download the file into the cache and check it. A resumed file with a wrong checksum is fetched again from 0."""
    folder = folders.cache / wanted.name
    whole, part = folder / wanted.file_name, folder / f"{wanted.file_name}.part"
    expected = _expected(wanted, folders)
    if expected is None and urlsplit(wanted.url).scheme != "https" and urlsplit(wanted.url).hostname != "127.0.0.1":
        raise DownloadError(f"{wanted.url} has no known checksum, so it is only fetched by https")
    if whole.is_file() and expected in (None, sha256_of(whole)):
        return whole
    resumed = part.is_file()
    while True:
        download(wanted.url, part, size=wanted.bytes, progress=progress, retries=retries)
        found = sha256_of(part)
        if expected in (None, found):
            return part.replace(whole)
        shutil.rmtree(folder)
        if not resumed:
            raise DownloadError(_another(wanted, found, expected))
        resumed = False


def _make(source: Path, wanted: Download, folders: Folders, report: Report) -> Path:
    found, expected = sha256_of(source), _expected(wanted, folders)
    if expected not in (None, found):
        raise DownloadError(_another(wanted, found, expected))
    report(f"{source.name}: sha256 {found} {'as expected' if expected else 'pinned: it is the first fetch'}")
    try:
        folders.models.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="bimodal-") as scratch:
            artifact = _convert(source, wanted, Path(scratch), report) if wanted.export else source
            open_artifact(artifact, wanted.kind, provider="cpu")
            made = install(artifact, wanted.name, folders.models)
    except OSError as error:
        raise CatalogError(f"model '{wanted.name}' can't be installed in {folders.models}: {error}") from error
    if wanted.sha256 is None:
        remember(folders.models, wanted.url, found)
    return made


def _expected(wanted: Download, folders: Folders) -> str | None:
    return wanted.sha256 or pinned(folders.models).get(wanted.url)


def _another(wanted: Download, found: str, expected: str | None) -> str:
    return (
        f"{wanted.file_name} is not the file that the catalog knows: its sha256 is {found}, not {expected}; "
        f"nothing was opened or installed"
    )


def _convert(source: Path, wanted: Download, out: Path, report: Report) -> Path:
    """Run the exporter, which also checks parity, in a process of its own; return the artifact's path.

    Raises CatalogError with the exporter's own last sentence.
    """
    report(f"converting {source.name} and comparing it with the original …")
    command = python_command("bimodal", "export", *wanted.export, str(source.absolute()), "--out", str(out))
    done = subprocess.run(command, capture_output=True, text=True, env=child_environment(), cwd=out, check=False)
    artifact = out / wanted.name / "model.onnx"
    if done.returncode != 0 or not artifact.is_file():
        reason = (done.stderr.strip().splitlines() or [f"the exporter made no model '{wanted.name}'"])[-1]
        raise CatalogError(f"{source.name} can't be converted: {reason}")
    for line in done.stdout.splitlines()[:-1]:  # the last one names the scratch file
        report(f"  {line}")
    return artifact


# Installation into the user's model folder

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def install(artifact: Path, name: str, folder: Path | None = None) -> Path:
    """Copy `artifact` to `<folder>/<name>/model.onnx`, with entry.json and its model card, if it has one.

    The artifact is opened and checked first; an existing file is replaced only by a complete one.

    Returns the new path. Raises CatalogError if the name is invalid or the folder can't be written to, and
    ArtifactError if the file violates its contract.
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
    """Write a file atomically: to a temporary file beside it, synced, then renamed."""
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


# Checksums pinned at the first fetch

FILE = "pins.json"


def pinned(folder: Path) -> dict[str, str]:
    """The pinned checksums: address → sha256. Raises CatalogError if their file is damaged."""
    path = folder / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        raise CatalogError(f"{path} can't be read: {error}; delete it to pin every file anew") from error


def remember(folder: Path, url: str, sha256: str) -> None:
    """Pin the checksum of the file at an address: later fetches must agree."""
    folder.mkdir(parents=True, exist_ok=True)
    put(msgspec.json.format(msgspec.json.encode({**pinned(folder), url: sha256}), indent=2), folder / FILE)
