"""`outputs`: the live page, the window, recordings, and further addresses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from bimodal.workers.config.section import Section, struct_section
from bimodal.workers.view.settings import is_loopback
from bimodal.workers.view.visitor_settings import VisitorSettings


class RecordConfig(Section):
    """Recordings of the live streams; docs/recordings.md says what lies where. A plain folder is the short form."""

    folder: Path
    split_minutes: float = Field(60.0, gt=0, le=1440)
    retention_days: float | None = Field(None, gt=0)
    video: bool = False
    annotated: bool = True
    faces: Literal["show", "hide"] = "show"
    min_free_mb: int = Field(1000, ge=10)


def _folder_only(value: object) -> object:
    if value is not None and not isinstance(value, str | Path | dict | RecordConfig):
        raise ValueError("must be a folder, or a section with the key 'folder'")
    return {"folder": value} if isinstance(value, str | Path) else value


class ViewConfig(Section):
    """The live page; docs/view.md. `true`, `false`, a port, or "host:port" are short forms."""

    enabled: bool = True
    host: str = Field("127.0.0.1", min_length=1, max_length=253)
    port: int = Field(8484, ge=0, le=65535)
    token: str | None = Field(None, min_length=16, max_length=256)
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    faces: Literal["show", "hide"] = "show"
    origins: tuple[Annotated[str, Field(pattern=r"^https?://[^/\s]+/?$")], ...] = ()
    visitors: Annotated[VisitorSettings, struct_section(VisitorSettings)] = VisitorSettings()

    @model_validator(mode="after")
    def _safe(self) -> ViewConfig:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("'tls_certificate' and 'tls_key' go together")
        if self.enabled and self.token is None and not is_loopback(self.host):
            raise ValueError(
                f"host '{self.host}' is reachable from other machines and needs a 'token' of at least 16 characters"
            )
        return self


def _view_section(value: object) -> object:
    match value:
        case None | False:
            return {"enabled": False}
        case True:
            return {}
        case int():
            return {"port": value}
        case str():
            host, _, port = value.rpartition(":")
            with_port = bool(host) and port.isdigit() and (":" not in host or host.endswith("]"))
            return {"host": host.strip("[]"), "port": int(port)} if with_port else {"host": value.strip("[]")}
        case _:
            return value


class WindowConfig(Section):
    """The window on the desk. `true` and `false` are short forms."""

    enabled: bool = True
    faces: Literal["show", "hide"] = "show"
    latency: bool = True


def _window_section(value: object) -> object:
    return {"enabled": value} if isinstance(value, bool) else value


class OutputsConfig(Section):
    """What leaves the system beside the event bus of the session."""

    view: Annotated[ViewConfig, BeforeValidator(_view_section)] = ViewConfig()  # type: ignore[call-arg]
    window: Annotated[WindowConfig, BeforeValidator(_window_section)] = WindowConfig(enabled=False)
    record: Annotated[RecordConfig | None, BeforeValidator(_folder_only)] = None
    events: tuple[str, ...] = ()
    lsl: bool | Literal["machine"] = False
