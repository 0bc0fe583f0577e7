"""The errors that bimodal raises on purpose. Each message is one sentence that a user can act on.

Every room defines its own below `BimodalError`; all of them can be caught by the names of this module.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass

if TYPE_CHECKING:
    from bimodal.broker.errors import (
        BrokerError,
        ControlError,
        EndpointError,
        KeysError,
        MessageError,
        RefusedError,
        SlotError,
    )
    from bimodal.extras import MissingPackageError
    from bimodal.models.errors import ArtifactError, CatalogError, DownloadError, LabelError, ModelError, ProviderError
    from bimodal.recordings.recording import RecordError
    from bimodal.workers.errors import ConfigError, SourceError, SystemFailedError, ViewError, WorkerError

_HOMES = {
    "bimodal.broker.errors": (
        *("BrokerError", "ControlError", "EndpointError", "KeysError", "MessageError", "RefusedError", "SlotError"),
    ),
    "bimodal.extras": ("MissingPackageError",),
    "bimodal.models.errors": (
        *("ArtifactError", "CatalogError", "DownloadError", "LabelError", "ModelError", "ProviderError"),
    ),
    "bimodal.recordings.recording": ("RecordError",),
    "bimodal.workers.errors": ("ConfigError", "SourceError", "SystemFailedError", "ViewError", "WorkerError"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["BimodalError", "MissingPackageError", "RecordError"]
__all__ += ["BrokerError", "ControlError", "EndpointError", "KeysError", "MessageError", "RefusedError", "SlotError"]
__all__ += ["ArtifactError", "CatalogError", "DownloadError", "LabelError", "ModelError", "ProviderError"]
__all__ += ["ConfigError", "SourceError", "SystemFailedError", "ViewError", "WorkerError"]


class BimodalError(Exception):
    """Base of every error that bimodal raises on purpose."""


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(importlib.import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
