"""Files at addresses that fsspec knows (s3://…, gs://…, sftp://…): found, described and fetched.

fsspec, and the package that a scheme needs (s3fs for s3://), are loaded with the first address. Credentials and end
points are those packages' own: environment variables (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, FSSPEC_S3_…), or
~/.config/fsspec.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, cast

from bimodal.extras import MissingPackageError, require
from bimodal.workers.errors import SourceError
from bimodal.workers.redaction import redact

ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
FOLDERS_KEPT = 64
NANO = 1_000_000_000
# Packages that fsspec asks for, by scheme, that an extra of ours brings.
EXTRA_OF = {"s3": "s3", "s3a": "s3"}
WITHOUT_FOLDERS = frozenset({"http", "https"})


class RemoteFile(NamedTuple):
    """A file at an address.

    Attributes:
        address: as it is fetched; may hold a password, so it is shown by `redact` only.
        bytes, mtime_ns: size, and time of its last change (0 where the file system does not tell).
        etag: mark of its content that its store gives; None without one.
    """

    address: str
    bytes: int
    mtime_ns: int
    etag: str | None


def is_address(given: str) -> bool:
    """True for something like https://…, which no path of a file is."""
    return ADDRESS.match(given) is not None


def scheme_of(address: str) -> str:
    """The scheme of an address, in small letters; empty for a path."""
    found = ADDRESS.match(address)
    return found[1].lower() if found is not None else ""


def file_system(address: str, *, fresh: bool = False) -> tuple[Any, str]:
    """Open the file system of an address; gives it, and the path within it.

    Args:
        fresh: one of its own, for use by another thread.

    Raises SourceError for a scheme that nobody knows, MissingPackageError where a package is missing.
    """
    scheme = scheme_of(address)
    require(f"{scheme}://", EXTRA_OF.get(scheme, "fsspec"), "fsspec")
    # Without its types: of a library that is not installed everywhere there are none.
    core = cast("Any", importlib.import_module("fsspec.core"))
    try:
        system, path = core.url_to_fs(address, skip_instance_cache=fresh)
    except ImportError as error:
        extra = EXTRA_OF.get(scheme)
        how = f": pip install 'bimodal-emotion[{extra}]'" if extra is not None else f": {error}"
        raise MissingPackageError(f"{scheme}:// needs a further package{how}") from error
    except Exception as error:
        raise SourceError(f"{redact(address)} can't be used: {_first_line(error)}") from error
    return system, str(path)


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """Raise whatever a file system raises as a SourceError that begins with `what`.

    Each has errors of its own (of botocore, aiohttp, paramiko …), and most are no OSError.
    """
    try:
        yield
    except (SourceError, MissingPackageError):
        raise
    except Exception as error:
        raise SourceError(f"{what}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    lines = text.strip().splitlines()
    kind = type(error).__name__
    return redact(f"{lines[0]} ({kind})" if lines else kind)


def describe(address: str, info: dict[str, Any]) -> RemoteFile:
    """The facts of a file, of what its file system says about it."""
    etag = info.get("ETag") or info.get("etag")
    size = info.get("size")
    return RemoteFile(
        address=address,
        bytes=size if isinstance(size, int) else 0,
        mtime_ns=_time_of(info),
        etag=str(etag).strip('"') if etag else None,
    )


def _time_of(info: dict[str, Any]) -> int:
    for name in ("LastModified", "last_modified", "updated", "mtime", "modified", "created"):
        value = info.get(name)
        with contextlib.suppress(ValueError, OverflowError):
            if isinstance(value, str):
                value = datetime.fromisoformat(value)
            if isinstance(value, datetime):
                return int(value.timestamp() * NANO)
            if isinstance(value, int | float):
                return int(value * NANO)
    return 0


def walk(address: str) -> Iterator[tuple[str, dict[str, RemoteFile]]]:
    """Yield the folders below an address, by name: path relative to it ("" for itself), and the files by name.

    Raises SourceError where it can't be listed.
    """
    system, root = file_system(address)
    with told(f"{redact(address)} can't be listed"):
        system.invalidate_cache()
        for folder, folders, files in system.walk(root, detail=True):
            # In place: the walk goes on in this order, and leaves hidden folders out.
            for name in [name for name in folders if name.startswith(".")]:
                del folders[name]
            relative = below(str(folder), root) or ""
            begin = join(address, relative) if relative else address
            yield (
                relative,
                {name: describe(join(begin, name), info) for name, info in sorted(files.items()) if name},
            )
    system.invalidate_cache()


def find(pattern: str, base: str) -> Iterator[RemoteFile]:
    """Yield the files that a pattern matches, and those in folders that it matches, by name. Raises SourceError.

    Args:
        base: the address before its wildcards.
    """
    system, path = file_system(pattern)
    _, root = file_system(base)
    with told(f"{redact(pattern)} can't be listed"):
        system.invalidate_cache()
        found = system.glob(path, detail=True)
        for name in sorted(found):
            # `**` gives folders and what is in them.
            folder = found[name].get("type") == "directory"
            files = {name: found[name]} if not folder else system.find(name, detail=True) if "**" not in path else {}
            for one in sorted(files):
                yield describe(join(base, below(one, root) or one), files[one])
    system.invalidate_cache()


class Folders:
    """Listings of the folders of addresses: each is made once, and the last few are kept."""

    def __init__(self) -> None:
        self._files = lru_cache(FOLDERS_KEPT)(_files)

    def file(self, address: str) -> RemoteFile:
        """A file by its address; of size 0 where there is none. Raises SourceError where its store can't be asked."""
        system, path = file_system(address)
        with told(f"{redact(address)} can't be asked for"):
            if scheme_of(address) not in WITHOUT_FOLDERS:
                info = self._files(folder_of(address)).get(path.rpartition("/")[2])
                return describe(address, info or {})
            try:
                return describe(address, system.info(path))
            except FileNotFoundError:
                return describe(address, {})

    def siblings(self, address: str) -> list[str]:
        """Names of the files in the folder of an address; none where it can't be listed."""
        if scheme_of(address) in WITHOUT_FOLDERS:
            return []
        with contextlib.suppress(SourceError), told(redact(address)):
            return list(self._files(folder_of(address)))
        return []


def folder_of(address: str) -> str:
    """The address of the folder that a file lies in."""
    folder = address.rpartition("/")[0]
    return folder if is_address(folder) and not folder.endswith(":/") else f"{scheme_of(address)}://"


def _files(folder: str) -> dict[str, dict[str, Any]]:
    """Return what a file system says of the files in a folder, by name."""
    system, path = file_system(folder)
    system.invalidate_cache()
    try:
        entries = system.ls(path, detail=True)
    except FileNotFoundError:
        return {}
    return {str(entry["name"]).rpartition("/")[2]: entry for entry in entries if entry.get("type") != "directory"}


def below(path: str, root: str) -> str | None:
    """A path relative to another one (or an address to another); None where it does not lie there."""
    begin = root if root.endswith("/") or not root else f"{root}/"
    return path[len(begin) :].strip("/") if path.startswith(begin) else None


def join(address: str, relative: str) -> str:
    """The address of what lies below another."""
    return f"{address}{relative}" if address.endswith("/") else f"{address}/{relative}"


def fetch(
    address: str, place: Path, *, expected: int = 0, mtime_ns: int = 0, on_piece: Callable[[], None] = lambda: None
) -> None:
    """Fetch a file whole to a place on this machine, which gets its time of change.

    Args:
        expected: its size where that is known; 0 where not.
        on_piece: called at most once a second while it comes, by another thread.

    Raises SourceError where it can't be fetched, or is another one than was listed.
    """
    system, path = file_system(address)
    callbacks = cast("Any", importlib.import_module("fsspec.callbacks"))
    due = time.monotonic()

    def hook(*_: object, **__: object) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + 1.0
            on_piece()

    with told(f"{redact(address)} can't be fetched"):
        system.get_file(path, str(place), callback=callbacks.Callback(hooks={"piece": hook}))
    size = place.stat().st_size
    if expected and size != expected:
        raise SourceError(
            f"{redact(address)} has changed since it was listed: {size} bytes, not {expected}; start again"
        )
    if mtime_ns:
        os.utime(place, ns=(mtime_ns, mtime_ns))
