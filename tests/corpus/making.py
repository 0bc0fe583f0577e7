"""Items and rows for tests of corpora."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bimodal.broker.paths import pack
from bimodal.corpus.rows import ClipRow, Item


def item(path: Path, place: str | None = None, **given: Any) -> Item:
    """An item of a file, as the inputs make it."""
    found = path.stat() if path.exists() else None
    size, mtime = (found.st_size, found.st_mtime_ns) if found is not None else (0, 0)
    values = {"place": place or path.stem, "file": pack(path), "source": path.name, "bytes": size, "mtime_ns": mtime}
    return Item(**(values | given))


def row_of(made: Item, **given: Any) -> ClipRow:
    """The row of an item that was done."""
    values: dict[str, Any] = {
        "clip": made.place,
        "source": made.source,
        "file": made.file,
        "kind": "picture" if made.picture else "clip",
        "status": "done",
        "bytes": made.bytes,
        "mtime_ns": made.mtime_ns,
        "settings": "s",
        "columns": made.columns,
        "finished": "2026-11-29T12:00:00.000+00:00",
    }
    return ClipRow(**(values | given))
