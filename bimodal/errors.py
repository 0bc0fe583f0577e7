"""The errors that bimodal raises on purpose. Each message is one sentence that a user can act on.

Every room defines its own below `BimodalError`; all of them can be caught by the names of this module.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass

_HOMES = {
    "bimodal.broker.errors": ("BrokerError", "ControlError", "EndpointError", "KeysError", "MessageError", "SlotError"),
    "bimodal.extras": ("MissingPackageError",),
    "bimodal.models.errors": (
        *("ArtifactError", "CatalogError", "DownloadError", "LabelError", "ModelError", "ProviderError"),
    ),
    "bimodal.recordings.recording": ("RecordError",),
    "bimodal.workers.errors": ("ConfigError", "SourceError", "SystemFailedError", "ViewError", "WorkerError"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["BimodalError", *sorted(_HOME_OF)]


class BimodalError(Exception):
    """Base of every error that bimodal raises on purpose."""


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(importlib.import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
