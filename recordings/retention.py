"""Deletion of old sessions, if the config asks for it: only sessions of ours, and only files that we have written."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from bimodal.recordings.parts import ENDING, final_path
from bimodal.recordings.records import FORMAT, SESSION_FILE, STREAM_FILE, SessionRecord

log = logging.getLogger(__name__)

DAY_S = 86_400.0
LOOK_EVERY_S = 3600.0
# A session without an end may still be running without anything to write.
UNENDED_DAYS = 1.0
REPORT, INDEX = "report.html", "index.html"
# Files that recorders, films and reports write into a stream's folder; "-2" if a name was taken; ".part" if unfinished.
OURS = re.compile(
    r"\.?\d{4,}-\d{4,}(-\d+)?(\.speech|\.segments)?\.(jsonl|csv|parquet|summary\.json|mp4|annotated\.mp4|html)"
    + rf"({ENDING})?"
)


def expired(parent: Path, days: float, now: float) -> list[Path]:
    """List the session folders in `parent` that were not written to for `days`; `now` is the wall clock.

    Only real folders (no links) with a session.json of a live session of ours are considered.
    """
    found = []
    for folder in _folders(parent):
        record = _session(folder)
        if record is None:
            continue
        limit_s = (days if record.ended is not None else max(days, UNENDED_DAYS)) * DAY_S
        if now - _newest(folder, record) > limit_s:
            found.append(folder)
    return found


def delete_session(folder: Path) -> bool:
    """Delete our files in a session folder, and the folder if nothing else is in it; return True if it is gone.

    Never follows links. Files that can't be deleted stay for the next time. Raises OSError if a folder can't be read.
    """
    for inner in _folders(folder):
        if not _is_file(inner / STREAM_FILE):
            continue
        for path in list(inner.iterdir()):
            if (
                path.name == REPORT
                or (path.name != STREAM_FILE and final_path(path).name == STREAM_FILE)
                or OURS.fullmatch(path.name)
            ):
                _delete(path)
        if [path.name for path in inner.iterdir()] == [STREAM_FILE]:
            _delete(inner / STREAM_FILE)
        with contextlib.suppress(OSError):
            inner.rmdir()
    left = {path.name for path in folder.iterdir()}
    if left <= {SESSION_FILE, INDEX}:
        for name in left:
            _delete(folder / name)
    with contextlib.suppress(OSError):
        folder.rmdir()
        return True
    return False


class Retention:
    """Deletes expired sessions at start and every hour, in a thread of its own because a disk may be slow.

    Args:
        parent: parent of the session folders.
        days: number of days that sessions are kept.
        current: folder of the session that is being recorded; never deleted.
    """

    def __init__(self, parent: Path, days: float, current: Path) -> None:
        self._parent, self._days, self._current = parent, days, current
        self._due = 0.0
        self._thread: threading.Thread | None = None

    def poll(self) -> None:
        """Start deletion if it is due; to be called often."""
        now = time.monotonic()
        if now >= self._due and (self._thread is None or not self._thread.is_alive()):
            self._due = now + LOOK_EVERY_S
            self._thread = threading.Thread(target=self._sweep, name="retention", daemon=True)
            self._thread.start()

    def _sweep(self) -> None:
        try:
            old = expired(self._parent, self._days, time.time())
        except OSError as error:
            log.warning("old recordings in %s can't be looked for: %s", self._parent, error.strerror)
            return
        for folder in old:
            try:
                if folder != self._current and delete_session(folder):
                    log.info("%s is older than retention_days (%g) and was deleted", folder, self._days)
            except OSError as error:
                log.warning("the old recording %s can't be deleted: %s", folder, error.strerror)


def _folders(parent: Path) -> Iterator[Path]:
    if not parent.is_dir():
        return
    with os.scandir(parent) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield Path(entry.path)


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _session(folder: Path) -> SessionRecord | None:
    path = folder / SESSION_FILE
    if not _is_file(path):
        return None
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        record = msgspec.json.decode(path.read_bytes(), type=SessionRecord)
        return record if record.kind == "live" and record.format == FORMAT else None
    return None


def _newest(folder: Path, record: SessionRecord) -> float:
    """Time of the last change according to files and session.json, in seconds of the wall clock."""
    times = [path.lstat().st_mtime for path in folder.rglob("*") if _is_file(path)]
    for text in (record.started, record.ended):
        with contextlib.suppress(ValueError):
            times += [datetime.fromisoformat(text).timestamp()] if text else []
    return max(times, default=time.time())


def _delete(path: Path) -> None:
    with contextlib.suppress(OSError):
        if _is_file(path):
            path.unlink()
