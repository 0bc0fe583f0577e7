"""Where results come from: config, models with checksums, host and versions, gathered at the start of a session."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from bimodal.models.catalog import resolve, sha256_of
from bimodal.models.onnx_properties import onnx_properties
from bimodal.workers.capture.redact import redact
from bimodal.workers.config import Config
from bimodal.workers.record.records import Host, ModelRecord, SessionRecord

LIBRARIES = ("onnxruntime-gpu", "onnxruntime", "numpy", "opencv-python", "av", "soxr", "pyzmq", "msgspec", "pyarrow")
SECRET_KEYS = ("password", "passwd", "token", "secret", "key")
HIDDEN = "***"


def describe_session(config: Config, kind: Literal["live", "analysis"], session: str, now: datetime) -> SessionRecord:
    """Everything that is known before the first frame. `now` is the wall clock with its time zone.

    Raises CatalogError where a model's name is unknown.
    """
    return SessionRecord(
        kind=kind,
        session=session,
        started=now.isoformat(timespec="milliseconds"),
        bimodal=_version("bimodal-emotion") or "unknown",
        host=Host(
            name=platform.node(),
            system=f"{platform.system()} {platform.release()}",
            machine=platform.machine(),
            cores=os.cpu_count() or 1,
            python=platform.python_version(),
        ),
        libraries={name: found for name in LIBRARIES if (found := _version(name)) is not None},
        config=config_record(config),
        models=model_records(config),
    )


def config_record(config: Config) -> dict[str, object]:
    """The config as config.yaml spells it, without passwords."""
    plain = msgspec.to_builtins(config.model_dump(by_alias=True), enc_hook=str)
    found = without_secrets(plain)
    assert isinstance(found, dict)
    return found


def without_secrets(value: object) -> object:
    """Values as YAML has them, with credentials in addresses and everything under a secret-looking key hidden."""
    if isinstance(value, Mapping):
        return {
            str(key): HIDDEN
            if isinstance(inner, str) and any(word in str(key).lower() for word in SECRET_KEYS)
            else without_secrets(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_secrets(inner) for inner in value]
    return redact(value) if isinstance(value, str) else value


def model_records(config: Config) -> list[ModelRecord]:
    """The artifacts that the config names; raises CatalogError where one is unknown."""
    models = config.models
    given = [("face-detector", models.face_detector), ("face-landmarks", models.face_landmarks)]
    given += [("face-static", name) for name in models.face_static]
    given += [("face-dynamic", models.face_dynamic), ("speech", models.speech)]
    given += [("voice-activity", models.voice_activity)]
    return [_model(kind, name) for kind, name in given if name != "none"]


def _model(kind: str, given: str) -> ModelRecord:
    path = Path(resolve(given)).absolute()
    properties = onnx_properties(path)
    return ModelRecord(
        kind=kind,
        given=given,
        name=properties.get("name"),
        version=properties.get("version"),
        file=str(path),
        bytes=path.stat().st_size,
        sha256=sha256_of(path),
    )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
