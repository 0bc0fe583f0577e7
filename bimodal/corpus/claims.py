"""Claims: one clip is analysed by one worker at a time, in this run and in all others on the same output folder.

A claim is a locked file (flock) below `corpus/claims/`; it dies with the process that holds it, on whatever machine of
a shared disk that has locks.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

CLAIMS = "claims"


def claim_path(corpus: Path, place: str) -> Path:
    """The file of a clip's claim."""
    return corpus / CLAIMS / f"{hashlib.sha256(place.encode()).hexdigest()[:24]}.claim"


@contextlib.contextmanager
def claimed(corpus: Path, place: str) -> Iterator[bool]:
    """Hold the claim of a clip; gives False where another process holds it. Raises OSError where it can't be made."""
    path = claim_path(corpus, place)
    descriptor = _try(path)
    if descriptor is None:
        yield False
        return
    try:
        yield True
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _try(path: Path) -> int | None:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        # Its last holder may have removed the file between our open and our lock.
        with contextlib.suppress(OSError):
            there, mine = path.stat(), os.fstat(descriptor)
            if (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino):
                return descriptor
        os.close(descriptor)


def sweep_claims(corpus: Path) -> None:
    """Remove the files of claims whose holders are dead."""
    for path in (corpus / CLAIMS).glob("*.claim"):
        with contextlib.suppress(OSError):
            descriptor = _try(path)
            if descriptor is not None:
                path.unlink(missing_ok=True)
                os.close(descriptor)
