"""Errors of training. Each message is one sentence that a user can act on."""

from bimodal.errors import BimodalError


class TrainingError(BimodalError):
    """Base of every error this room raises on purpose: a wrong config, an export that does not agree with torch."""


class DatasetError(TrainingError):
    """A data set is missing, incomplete, or not in the form its reader expects."""
