"""Provenance of results, recorded at the start of a session: config, models with checksums, host, versions."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from bimodal import __version__
from bimodal.broker.paths import pack
from bimodal.config import Config
from bimodal.config.schema import DETAILS
from bimodal.models.catalog import resolve, sha256_of
from bimodal.models.emotions import EMOTIONS
from bimodal.models.precision import Precision
from bimodal.models.scan import onnx_properties
from bimodal.recordings.parts import replace_text
from bimodal.recordings.recording import describe
from bimodal.recordings.records import SESSION_FILE, FileRecord, Host, ModelRecord, SessionRecord, pretty
from bimodal.supervisor.variants import choice_of
from bimodal.workers.capture.choice import Choice
from bimodal.workers.errors import ConfigError
from bimodal.workers.fusion.settings import MEAN
from bimodal.workers.redaction import redact
from bimodal.workers.settings import RecordActorSettings

LIBRARIES = (
    "onnxruntime-gpu", "onnxruntime", "numpy", "opencv-python", "opencv-python-headless", "av", "soxr", "pyzmq",
    "msgspec", "pyarrow",
)  # fmt: skip
SECRET_KEYS = ("password", "passwd", "token", "secret", "key")
HIDDEN = "***"


def describe_session(
    config: Config, kind: Literal["live", "analysis"], session: str, now: datetime, choice: Choice | None = None
) -> SessionRecord:
    """The record of everything known before the first frame.

    Args:
        now: the wall clock with its time zone.
        choice: of an analysis: its tracks and channels.

    Raises CatalogError where a model's name is unknown.
    """
    models = model_records(config)
    return SessionRecord(
        kind=kind,
        session=session,
        started=now.isoformat(timespec="milliseconds"),
        bimodal=__version__,
        host=Host(
            name=platform.node(),
            system=f"{platform.system()} {platform.release()}",
            machine=platform.machine(),
            cores=os.cpu_count() or 1,
            python=platform.python_version(),
        ),
        libraries={name: found for name in LIBRARIES if (found := _version(name)) is not None},
        config=config_record(config),
        models=models,
        settings=settings_of(config, models, choice) if choice is not None else None,
    )


# Sections of the config that change results, beside the models and some keys of `capture`.
RESULT_SETTINGS = ("face", "audio", "fusion")
RESULT_CAPTURE = ("max_height", "hop_s", "window_s")


def settings_of(config: Config, models: Sequence[ModelRecord], choice: Choice) -> str:
    """Checksum of everything that results depend on beside their source: models by their bytes, settings, choice of
    tracks. Two analyses with the same one give the same results.
    """
    relevant = {
        "models": sorted((model.kind, model.sha256) for model in models),
        "config": {section: getattr(config, section) for section in RESULT_SETTINGS},
        "capture": {key: getattr(config.capture, key) for key in RESULT_CAPTURE},
        "choice": choice,
    }
    joined = [config.models.joined(names) for names in (config.models.face_static, config.models.voices)]
    if joined != [MEAN, MEAN]:
        relevant["ensemble"] = joined
    # What was there before these keys were is the same without them.
    if (config.emotions, config.categories) != (EMOTIONS, "auto"):
        relevant["emotions"] = (config.emotions, config.categories)
    return hashlib.sha256(msgspec.json.encode(relevant, order="sorted")).hexdigest()[:16]


def config_record(config: Config) -> dict[str, object]:
    """The config in the keys of config.yaml, without passwords."""
    plain = msgspec.to_builtins(config, enc_hook=str)
    found = without_secrets(plain)
    assert isinstance(found, dict)
    return found


def without_secrets(value: object) -> object:
    """Values as YAML has them, with credentials in addresses and every text under a secret-looking key hidden."""
    if isinstance(value, Mapping):
        return {
            str(key): _hidden(inner)
            if any(word in str(key).lower() for word in SECRET_KEYS)
            else without_secrets(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_secrets(inner) for inner in value]
    return redact(value) if isinstance(value, str) else value


def _hidden(value: object) -> object:
    """A secret, or a list of them; sections are looked into, since a stream may be called "keyboard"."""
    if isinstance(value, list | tuple):
        return [_hidden(inner) for inner in value]
    return HIDDEN if isinstance(value, str) else without_secrets(value)


def model_records(config: Config) -> list[ModelRecord]:
    """Records of the artifacts in the config; raises CatalogError where one is unknown."""
    models = config.models
    given = [("face-detector", models.face_detector), ("face-landmarks", models.face_landmarks)]
    if models.face_details != "none":
        pair = DETAILS if isinstance(models.face_details, str) else models.face_details
        given += zip(("face-landmarks", "face-blendshapes"), pair, strict=True)
    given += [("face-static", name) for name in models.face_static]
    given += [("face-dynamic", models.face_dynamic), *(("speech", name) for name in models.voices)]
    given += [("voice-activity", models.voice_activity)]
    precision = choice_of(config).precision
    return [_model(kind, name, precision) for kind, name in given if name != "none"]


def _model(kind: str, given: str, precision: Precision) -> ModelRecord:
    path = resolve(given, precision=precision).absolute()
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
    # Loads the parsers of e-mail, which only a recording needs.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


# The folder of one live session: made at its start, its list of files written at its end.


def begin_session(config: Config, session: str, now: datetime) -> RecordActorSettings | None:
    """Make the session's folder with session.json, if the config records; returns the settings of the recorder.

    Raises ConfigError where the folder can't be made, CatalogError where a model is unknown.
    """
    wanted = config.outputs.record
    if wanted is None:
        return None
    record = describe_session(config, "live", session, now)
    folder = _make(
        Path(wanted.folder).expanduser().absolute(), f"{session}-{now:%Y-%m-%dT%H-%M-%S}", private=wanted.private
    )
    try:
        replace_text(folder / SESSION_FILE, pretty(record))
        if wanted.private:
            (folder / SESSION_FILE).chmod(0o600)
    except OSError as error:
        raise ConfigError(describe(error, folder / SESSION_FILE)) from error
    files = {name: str(Path(stream.file).absolute()) for name, stream in config.streams.items() if stream.file}
    return RecordActorSettings(record=msgspec.structs.replace(wanted, folder=pack(folder)), sources=files)


def _make(parent: Path, name: str, *, private: bool) -> Path:
    """Make a new folder; two sessions of one name in one second get two folders."""
    tried = 1
    while True:
        folder = parent / (name if tried == 1 else f"{name}-{tried}")
        try:
            parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700 if private else 0o777)
        except FileExistsError:
            if not parent.is_dir() or tried > 100:
                raise ConfigError(f"{parent} can't hold recordings: it is no folder") from None
            tried += 1
        except OSError as error:
            raise ConfigError(describe(error, folder)) from error
        else:
            return folder


def end_session(folder: Path, now: datetime) -> bool:
    """Write the end and the list of files into session.json; returns True where anything was recorded.

    A session that recorded nothing leaves no folder. Never raises: the recording is complete without the list.
    """
    files = [
        FileRecord(path=str(path.relative_to(folder)), bytes=path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != SESSION_FILE and not path.name.startswith(".")
    ]
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        if not files:
            (folder / SESSION_FILE).unlink(missing_ok=True)
            folder.rmdir()
            return False
        record = msgspec.json.decode((folder / SESSION_FILE).read_bytes(), type=SessionRecord)
        record.ended, record.files = record.ended or now.isoformat(timespec="milliseconds"), files
        mode = (folder / SESSION_FILE).stat().st_mode & 0o777
        replace_text(folder / SESSION_FILE, pretty(record))
        (folder / SESSION_FILE).chmod(mode)
    return bool(files)
