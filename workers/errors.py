"""Errors of the actors. Each message is one sentence a user can act on."""

from bimodal.errors import BimodalError


class WorkerError(BimodalError):
    """Base of the errors of this package."""


class SourceError(WorkerError):
    """A camera, microphone, file or network stream can't be opened or read."""


class ConfigError(WorkerError):
    """config.yaml has an invalid value."""


class SystemFailedError(WorkerError):
    """All processes of a required kind have failed."""


class ViewError(WorkerError):
    """The live page can't be served."""
