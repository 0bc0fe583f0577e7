"""How a thread that owns a device hands on what it read: it waits for room, but never past the end."""

from __future__ import annotations

import queue
import threading
from typing import TypeVar

POLL_S = 0.1

Item = TypeVar("Item")


def hand_over(item: Item, target: queue.Queue[Item], closed: threading.Event) -> None:
    """Put an item into a full queue as soon as there is room; give up once `closed` is set."""
    while not closed.is_set():
        try:
            target.put(item, timeout=POLL_S)
            return
        except queue.Full:
            continue
