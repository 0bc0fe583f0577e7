"""What a check of `bimodal doctor` says."""

from __future__ import annotations

from typing import Literal

import msgspec

Verdict = Literal["ok", "warning", "wrong"]


class Finding(msgspec.Struct, frozen=True):
    """One check.

    Attributes:
        found: what is there, in a few words.
        advice: what to do, None where all is well.
    """

    check: str
    verdict: Verdict
    found: str
    advice: str | None = None
