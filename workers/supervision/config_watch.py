"""Watches config.yaml while the system runs, by looking at it a few times a second.

A look costs microseconds and works on every file system, through links, and whatever an editor does: a file written
beside and renamed over, one that is cut off and written again, temporary files next to it. A change counts when the
file has stayed the same for a moment, so that a half-written one is not read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bimodal.workers.config import Config, load_config
from bimodal.workers.errors import ConfigError

LOOK_EVERY_S = 0.2
SETTLED_S = 0.4


class Mark(NamedTuple):
    """What tells one state of a file from another."""

    inode: int
    time_ns: int
    size: int


class ConfigWatch:
    """One config file, whether it is there yet or not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = self._seen = _mark(path)
        self._since = self._look_at = 0.0

    def look(self, now: float) -> bool:
        """Whether the file has changed and settled; true once for each change. `now` in seconds."""
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_EVERY_S
        mark = _mark(self.path)
        if mark != self._seen:
            self._seen, self._since = mark, now
        if self._seen == self._read or now - self._since < SETTLED_S:
            return False
        self._read = self._seen
        return True

    def load(self, read: Callable[[Path], Config] = load_config) -> Config:
        """The file as it is now.

        Raises ConfigError where it is wrong, gone, or empty: that is how a file looks that is being written.
        """
        if self._read is not None and self._read.size == 0:
            raise ConfigError(f"{self.path} is empty")
        return read(self.path)


def _mark(path: Path) -> Mark | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return Mark(status.st_ino, status.st_mtime_ns, status.st_size)
