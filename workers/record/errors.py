"""What can go wrong while events are kept. The message is one sentence a user can act on."""

from __future__ import annotations

import errno
from pathlib import Path

from bimodal.workers.errors import WorkerError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class RecordError(WorkerError):
    """The results of a stream can't be kept."""


def describe(error: OSError, path: Path) -> str:
    """What the system said about writing `path`, as a sentence for the user."""
    folder = path.parent
    if error.errno in FULL:
        return f"the disk is full: {folder} has no room for {path.name}; free some space, then start again"
    if error.errno == errno.EFBIG:
        return f"{path.name} has become larger than {folder} allows a file to be; use another folder"
    if error.errno in FORBIDDEN:
        return f"{folder} may not be written to; change its permissions or use another folder"
    reason = (error.strerror or type(error).__name__).lower()
    return f"{path.name} can't be written into {folder}: {reason}; use another folder"
