"""Errors of converting models. Each message is one sentence that a user can act on."""

from bimodal.errors import BimodalError


class ExportError(BimodalError):
    """Base of every error this room raises on purpose."""


class SourceModelError(ExportError):
    """A foreign model can't be fetched or read, or is not one that the exporter knows."""


class ParityError(ExportError):
    """Outputs of a converted graph differ from the original's."""


class QuantizationError(ExportError):
    """A model can't be quantized, or loses too much accuracy."""


class GraphError(ExportError):
    """A graph does not have the form that a change of it needs."""
