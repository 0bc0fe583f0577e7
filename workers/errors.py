"""What can go wrong in the actors. Each message is one sentence a user can act on."""

from bimodal.errors import BimodalError


class WorkerError(BimodalError):
    """Base of every error this room raises on purpose."""


class SourceError(WorkerError):
    """A camera, microphone, file or network stream can't be opened or read."""


class ConfigError(WorkerError):
    """config.yaml says something that it may not."""


class SystemFailedError(WorkerError):
    """No process of a kind that is needed can work."""


class ViewError(WorkerError):
    """The live page can't be served."""
