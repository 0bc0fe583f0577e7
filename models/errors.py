"""Errors of models. Each message is one sentence a user can act on."""

from bimodal.errors import BimodalError


class ModelError(BimodalError):
    """Base of every error that this package raises on purpose."""


class ArtifactError(ModelError):
    """An .onnx file is missing, damaged, or violates the contract of its kind."""


class ProviderError(ModelError):
    """The requested execution provider is not active."""


class CatalogError(ModelError):
    """A catalog name is unknown, or a catalogued file fails its checksum."""


class MissingModelError(CatalogError):
    """A model that is named is not on this machine."""


class DownloadError(ModelError):
    """A file can't be downloaded, or is not the expected one."""


class LabelError(ModelError):
    """A label set holds a word that maps to none of the seven emotions."""
