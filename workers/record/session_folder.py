"""The folder of one live session: made at its start, its list of files at its end."""

from __future__ import annotations

import contextlib
from datetime import datetime
from pathlib import Path

import msgspec

from bimodal.workers.config import Config
from bimodal.workers.errors import ConfigError
from bimodal.workers.record.errors import describe
from bimodal.workers.record.part_file import replace_text
from bimodal.workers.record.provenance import describe_session
from bimodal.workers.record.records import SESSION_FILE, FileRecord, SessionRecord, pretty
from bimodal.workers.settings import RecordActorSettings


def begin_session(config: Config, session: str, now: datetime) -> RecordActorSettings | None:
    """Make the session's folder with session.json, if the config records; what the recorder must know.

    Raises ConfigError where the folder can't be made, CatalogError where a model is unknown.
    """
    wanted = config.outputs.record
    if wanted is None:
        return None
    record = describe_session(config, "live", session, now)
    folder = _make(wanted.folder.expanduser().absolute(), f"{session}-{now:%Y-%m-%dT%H-%M-%S}")
    try:
        replace_text(folder / SESSION_FILE, pretty(record))
    except OSError as error:
        raise ConfigError(describe(error, folder / SESSION_FILE)) from error
    files = {name: str(stream.file.absolute()) for name, stream in config.streams.items() if stream.file is not None}
    return RecordActorSettings(
        folder=str(folder),
        split_s=wanted.split_minutes * 60,
        sources=files,
        retention_days=wanted.retention_days,
    )


def _make(parent: Path, name: str) -> Path:
    """A folder that was not there; two sessions of one name in one second are two folders."""
    tried = 1
    while True:
        folder = parent / (name if tried == 1 else f"{name}-{tried}")
        try:
            parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
        except FileExistsError:
            if not parent.is_dir() or tried > 100:
                raise ConfigError(f"{parent} can't hold recordings: it is no folder") from None
            tried += 1
        except OSError as error:
            raise ConfigError(describe(error, folder)) from error
        else:
            return folder


def end_session(folder: Path, now: datetime) -> bool:
    """Write the end and the list of files into session.json; whether anything was recorded.

    A session that recorded nothing leaves no folder. Never raises: what was recorded is there without the list.
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
        replace_text(folder / SESSION_FILE, pretty(record))
    return bool(files)
