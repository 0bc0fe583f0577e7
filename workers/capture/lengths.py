"""How long a file turned out to be, against what it promised. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from bimodal.broker.messages import Modality
from bimodal.workers.capture.items import SourceInfo

# How much shorter than promised, or than each other, picture and sound of a file may be without a word about it.
UNEVEN_NS = 1_000_000_000
NANO = 1_000_000_000


def uneven(info: SourceInfo, ends_ns: Mapping[Modality, int], frames: int, *, all_read: bool) -> str | None:
    """The sentence where a file is cut off, or its picture and sound differ by more than a second, else None.

    Args:
        ends_ns: `pts_ns` of the last picture and of the end of the last sound, where there were any.
        frames: how many pictures there were.
        all_read: whether everything that the file holds was read.
    """
    if not ends_ns:
        return None
    end_ns, promised_ns = max(ends_ns.values()), info.promised_ns or 0
    # A last picture that is shown for long ends late, too; then there are as many pictures as promised.
    fewer = info.frames_estimate is None or frames < info.frames_estimate
    if all_read and fewer and promised_ns - end_ns > UNEVEN_NS:
        return f"it is cut off: of {promised_ns / NANO:.1f} s, {end_ns / NANO:.1f} s are there"
    if len(ends_ns) == 2 and abs(ends_ns["face"] - ends_ns["speech"]) > UNEVEN_NS:
        longer_s = (ends_ns["speech"] - ends_ns["face"]) / NANO
        first, then = ("picture", "sound") if longer_s > 0 else ("sound", "picture")
        return f"its {first} ends {abs(longer_s):.1f} s before its {then}"
    return None
