"""What can go wrong when models are converted. Each message is one sentence a user can act on."""

from bimodal.errors import BimodalError


class ExportError(BimodalError):
    """Base of every error this room raises on purpose."""


class SourceModelError(ExportError):
    """A foreign model can't be had, or is not what the exporter knows."""


class ParityError(ExportError):
    """A converted graph does not answer as its original does."""


class QuantizationError(ExportError):
    """A model can't be made smaller, or loses too much by it."""
