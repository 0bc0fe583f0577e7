"""Playing of bursty network sources at their own pace: HLS, DASH, chunks over HTTP. Pure.

Such a source sends seconds at once and then nothing: read as they come, most of its frames would be replaced before a
worker is free. They are held until their own time stamps say so. The reader is held, not the frames: what waits stays
in the server and in the network's buffers.
"""

from __future__ import annotations

from collections import OrderedDict

NANO = 1_000_000_000
LEAP_NS = 2 * NANO
# Reading again what was played takes no longer than this; what takes longer is new.
REPEATS_WITHIN_NS = 5 * NANO
# Within one connection only the last segment or two can be a repetition; a longer way back is a loop.
MOST_BACK_NS = 10 * NANO
# Items of a kind whose times and contents are kept: about a minute.
MOST_KEPT = 4096


class Pacer:
    """When each item is due. The first is due at once; one that comes late delays all later ones by as much, so that
    the buffer grows to what the source's bursts need.

    For items of one kind only: sound and picture are interleaved with a distance between their times, and who is held
    for the sound's time would find the picture late each time, and the other way round.

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
    """Finds what a server sends again: a playlist that is read anew begins with segments that were played already.

    An item was played already if one of its kind had its time and its content. Other content with the same times comes
    from a clock that was set back (a discontinuity, a server that was started again); a film that begins again from
    its start is a loop. Neither is a repetition.
    """

    def __init__(self) -> None:
        self._played: dict[str, OrderedDict[int, int | None]] = {}
        self._newest: dict[str, int] = {}
        self._began_ns: int | None = None
        self._anew = False
        self._loops = False

    def begin(self) -> None:
        """Note that the playlist is read anew, from a new connection."""
        self._anew = True

    def is_repeated(self, kind: str, source_ns: int, content: int | None, now_ns: int, *, beside: bool = False) -> bool:
        """True for an item of this kind ("picture", "sound") that was played already.

        `content` is a checksum. `beside`: sound beside a picture, which says whether something is sent again: silence
        is like any other.
        """
        played = self._played.setdefault(kind, OrderedDict())
        back_ns = self._newest.get(kind, source_ns) - source_ns
        near = 0 <= back_ns <= MOST_BACK_NS and not self._loops and not (beside and self._began_ns is None)
        if source_ns in played and played[source_ns] == content and (self._anew or near):
            self._began_ns = now_ns if self._began_ns is None else self._began_ns
            if now_ns - self._began_ns <= REPEATS_WITHIN_NS:
                return True
            self._loops = True
        self._began_ns, self._anew = None, False
        self._newest[kind] = source_ns
        played[source_ns] = content
        played.move_to_end(source_ns)
        if len(played) > MOST_KEPT:
            played.popitem(last=False)
        return False
