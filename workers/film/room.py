"""Whether the disk has room for films."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

MEGA = 1_000_000
LOOK_EVERY_S = 2.0
# Once it was short there must be this much more than the limit, so that films don't stop and begin all the time.
ENOUGH = 1.1


def free_bytes(folder: Path) -> int:
    """What the disk of a folder that exists has left for us."""
    return shutil.disk_usage(folder).free


class Room:
    """Looks at the disk now and then.

    Args:
        folder: where films go; it exists.
        min_free_mb: what must stay free, in millions of bytes.
        free, clock: for tests.
    """

    def __init__(
        self,
        folder: Path,
        min_free_mb: int,
        free: Callable[[Path], int] = free_bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._least = min_free_mb * MEGA
        self._free, self._clock = free, clock
        self._due = 0.0
        self.short: str | None = None

    def look(self) -> str | None:
        """Why nothing may be written now, None where there is room. Cheap: the disk is asked every two seconds."""
        now = self._clock()
        if now >= self._due:
            self._due = now + LOOK_EVERY_S
            self._ask()
        return self.short

    def _ask(self) -> None:
        try:
            free = self._free(self._folder)
        except OSError as error:
            self.short = f"{self._folder} can't be looked at ({error.strerror}), so no video is recorded"
            return
        if free >= self._least * (ENOUGH if self.short else 1):
            self.short = None
        else:
            self.short = (
                f"the disk of {self._folder} is nearly full ({free / MEGA:.0f} MB free, outputs.record.min_free_mb is "
                f"{self._least / MEGA:.0f}), so no video is recorded until there is room"
            )
