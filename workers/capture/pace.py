"""Playing of bursty network sources at their own pace: HLS, DASH, chunks over HTTP. Pure.

Such a source sends seconds at once and then nothing: read as they come, most of its frames would be replaced before a
worker is free. They are held until their own time stamps say so. The reader is held, not the frames: what waits stays
in the server and in the network's buffers.
"""

from __future__ import annotations

NANO = 1_000_000_000
LEAP_NS = 2 * NANO
# Reading again what was played takes no longer than this; what takes longer is new.
REPEATS_WITHIN_NS = 5 * NANO


class Pacer:
    """When each item is due. The first is due at once; one that comes late delays all later ones by as much, so that
    the buffer grows to what the source's bursts need.

    Attributes:
        delay_ns: by how much items are played later than the first one was, for their own times.
    """

    def __init__(self) -> None:
        self.delay_ns = 0
        self._offset_ns: int | None = None
        self._newest_ns = 0

    def wait_ns(self, source_ns: int, now_ns: int) -> int:
        """How long to hold an item with this time of the source's own."""
        if self._offset_ns is None or abs(source_ns - self._newest_ns) > LEAP_NS:
            self._offset_ns, self.delay_ns = now_ns - source_ns, 0
        self._newest_ns = source_ns
        early_ns = source_ns + self._offset_ns - now_ns
        if early_ns < 0:
            self._offset_ns -= early_ns
            self.delay_ns -= early_ns
        return max(0, early_ns)


class Repeats:
    """Finds what a server sends again: a playlist that is read anew begins with segments that were played already."""

    def __init__(self) -> None:
        self._played: dict[str, tuple[int, int]] = {}
        self._began_ns: int | None = None

    def is_repeated(self, kind: str, source_ns: int, now_ns: int) -> bool:
        """True for an item of this kind ("picture", "sound") that was played already, by its time."""
        first, newest = self._played.get(kind, (source_ns, source_ns - 1))
        if first <= source_ns <= newest:
            self._began_ns = now_ns if self._began_ns is None else self._began_ns
            if now_ns - self._began_ns <= REPEATS_WITHIN_NS:
                return True
            # The server counts anew.
            self._played.clear()
            first = newest = source_ns
        self._began_ns = None
        leapt = source_ns < first or source_ns - newest > 60 * NANO
        self._played[kind] = (source_ns if leapt else first, source_ns)
        return False
