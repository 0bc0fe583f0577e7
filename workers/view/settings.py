"""What an address means to the live page, for the config and for the process."""

from __future__ import annotations

import ipaddress
from typing import Annotated

import msgspec


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`, an address or a name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


# What a user may set about visitors' cameras (`outputs.view.visitors` in config.yaml).


# Pictures may be this much wider than high; so what one takes has a limit that no visitor chooses.
WIDEST = 16 / 9


class VisitorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may lend a camera, and how much it may send.

    Attributes:
        token: what a visitor must know beside what the page itself asks for; None asks for nothing more.
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
