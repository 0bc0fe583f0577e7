"""Addresses and visitor limits of the live page, for the config and for the process."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

import msgspec


def is_loopback(host: str) -> bool:
    """True where only this machine can reach `host`, an address or a name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


# Of a reverse proxy: segments of plain characters, with or without a slash at the end.
BASE_PATH = r"^/(?:[A-Za-z0-9_~-][A-Za-z0-9._~-]*(?:/|$))*$"

# Pictures may be this much wider than high.
WIDEST = 16 / 9


class VisitorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of visitors' cameras (`outputs.view.visitors` in config.yaml).

    Attributes:
        token: asked of a visitor in addition to the page's own; None asks for no other.
        max_fps: pictures a second.
        max_height: of a picture, in pixels; it may be 16/9 of that wide.
        max_picture_kbytes: of one picture, as JPEG.
        max_kbytes_per_s: of everything that a visitor sends.
    """

    token: Annotated[str, msgspec.Meta(min_length=16, max_length=256)] | None = None
    max_fps: Annotated[int, msgspec.Meta(ge=1, le=60)] = 30
    max_height: Annotated[int, msgspec.Meta(ge=64, le=2160)] = 720
    max_picture_kbytes: Annotated[int, msgspec.Meta(ge=8, le=1000)] = 512
    max_kbytes_per_s: Annotated[int, msgspec.Meta(ge=32, le=100_000)] = 4000

    @property
    def max_width(self) -> int:
        """Pixels."""
        return round(self.max_height * WIDEST)


class ViewSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The live page: where it is served, who may see it, and what of it; docs/view.md.

    Attributes:
        port: where to begin to look for a free one; 0 takes any.
        token: what a visitor must know; None on loopback only.
        tls_certificate, tls_key: paths of PEM files, both or neither.
        faces: "hide" sends boxes without video.
        origins: of other sites whose pages may read events.
        base_path: where a reverse proxy serves the page, such as "/emotions"; it is answered with and without it.
    """

    enabled: bool = True
    host: Annotated[str, msgspec.Meta(min_length=1, max_length=253)] = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8484
    token: Annotated[str, msgspec.Meta(min_length=16, max_length=256)] | None = None
    tls_certificate: str | None = None
    tls_key: str | None = None
    faces: Literal["show", "hide"] = "show"
    origins: tuple[
        Annotated[str, msgspec.Meta(pattern=r"^https?://[^/\s]+/?$", examples=["https://example.org"])], ...
    ] = ()
    visitors: VisitorSettings = VisitorSettings()
    base_path: Annotated[str, msgspec.Meta(pattern=BASE_PATH, max_length=256, examples=["/emotions"])] = "/"

    def __post_init__(self) -> None:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("'tls_certificate' and 'tls_key' go together")
        if self.enabled and self.token is None and not is_loopback(self.host):
            raise ValueError(
                f"host '{self.host}' is reachable from other machines and needs a 'token' of at least 16 characters"
            )
