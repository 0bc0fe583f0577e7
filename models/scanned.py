"""Remembers which files the scan has passed, by the sha256 of the bytes that are about to be opened.

Walking a file of thousands of operators takes longer than everything else before a worker is ready. A file that is
changed has another checksum and is walked again; a failure is never remembered. The notes lie in a private folder: one
that belongs to somebody else, or that others may write to, is not believed.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
from pathlib import Path

from platformdirs import user_cache_path

from bimodal.models import scan as rules
from bimodal.models.scan import scan

log = logging.getLogger(__name__)

MOST_KEPT = 256
DIGEST_LENGTH = hashlib.sha256().digest_size * 2


def scan_once(data: bytes, path: str, notes: Notes | None = None) -> None:
    """Raise ArtifactError as `scan`, unless the same bytes have passed it before under the same rules.

    Args:
        notes: what has passed; by default the user's own.
    """
    digest = hashlib.sha256(data).hexdigest()
    kept = notes if notes is not None else own_notes()
    if kept is not None and kept.has(digest):
        return
    scan(data, path)
    if kept is not None:
        kept.add(digest)


def own_notes() -> Notes | None:
    """The notes of this user: $XDG_CACHE_HOME/bimodal/scanned; None for a user without a home."""
    try:
        return Notes(user_cache_path("bimodal") / "scanned")
    except RuntimeError:
        return None


def rules_version() -> str:
    """A checksum of the scan's own code: other rules begin with nothing passed."""
    return hashlib.sha256(Path(rules.__file__).read_bytes()).hexdigest()[:16]


class Notes:
    """A folder with one empty file for each checksum that has passed, at most 256 of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._place = folder / rules_version()

    def has(self, digest: str) -> bool:
        """True if these bytes have passed, and nobody else can have said so."""
        return _is_private(self._folder) and _is_private(self._place) and _is_own_file(self._place / digest)

    def add(self, digest: str) -> None:
        """Note that these bytes have passed. Where that can't be written, they are walked again next time."""
        try:
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            for folder in (self._folder, self._place):
                folder.mkdir(mode=0o700, exist_ok=True)
            if not (_is_private(self._folder) and _is_private(self._place)):
                log.info("%s is open to others, so every model is scanned at each start", self._folder)
                return
            os.close(os.open(self._place / digest, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600))
            self._forget_oldest()
        except OSError as error:
            log.info("%s can't be written (%s), so every model is scanned at each start", self._place, error.strerror)

    def _forget_oldest(self) -> None:
        """Remove the oldest notes beyond the limit, and those of older rules."""
        for other in self._folder.iterdir():
            if other != self._place:
                _remove(other)
        notes = list(self._place.iterdir())
        if len(notes) > MOST_KEPT:
            with contextlib.suppress(FileNotFoundError):  # another process forgets, too
                for note in sorted(notes, key=lambda each: each.lstat().st_mtime_ns)[:-MOST_KEPT]:
                    note.unlink(missing_ok=True)


def _remove(place: Path) -> None:
    """Remove a folder of notes; anything else that lies there stays."""
    with contextlib.suppress(OSError):
        for note in place.iterdir():
            if len(note.name) == DIGEST_LENGTH:
                note.unlink(missing_ok=True)
        place.rmdir()


def _is_private(folder: Path) -> bool:
    """True for a folder of this user's, no link, into which nobody else may write."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    writable = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(found.st_mode) and _mine(found) and not writable


def _is_own_file(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and _mine(found)


def _mine(found: os.stat_result) -> bool:
    return not hasattr(os, "getuid") or found.st_uid == os.getuid()
