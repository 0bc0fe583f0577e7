"""What can go wrong with models. Each message is one sentence a user can act on."""

from bimodal.errors import BimodalError


class ModelError(BimodalError):
    """Base of every error this room raises on purpose."""


class ArtifactError(ModelError):
    """An .onnx file is missing, broken, or breaks the contract of its kind."""


class ProviderError(ModelError):
    """The asked-for execution provider is not really active."""


class CatalogError(ModelError):
    """A catalog name is unknown, or a catalogued file fails its checksum."""


class DownloadError(ModelError):
    """A file can't be had from its address, or is not the one that was expected."""


class LabelError(ModelError):
    """A label set holds a word that maps to none of the seven emotions."""
