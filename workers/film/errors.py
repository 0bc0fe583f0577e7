"""What can go wrong while a film is written. The message is one sentence a user can act on."""

from __future__ import annotations

from pathlib import Path

import av

from bimodal.recordings.recording import describe
from bimodal.workers.errors import WorkerError


class FilmError(WorkerError):
    """A film can't be written."""


def film_error(error: av.FFmpegError | OSError, path: Path) -> FilmError:
    """What FFmpeg or the system said about writing `path`, as a sentence that names the film and not its temporary."""
    path = path.with_name(path.name.removeprefix(".").removesuffix(".part"))
    if isinstance(error, OSError):
        return FilmError(describe(error, path))
    return FilmError(f"{path.name} can't be written: {error.strerror or type(error).__name__}")
