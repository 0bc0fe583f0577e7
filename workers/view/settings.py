"""Addresses and visitor limits of the live page, for the config and for the process."""

from __future__ import annotations

import ipaddress
from typing import Annotated

import msgspec


def is_loopback(host: str) -> bool:
    """True where only this machine can reach `host`, an address or a name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


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
