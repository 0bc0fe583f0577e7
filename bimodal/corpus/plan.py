"""The plan of a run: all of its items and their rows, in a temporary database on disk, so that memory stays flat."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import msgspec

from bimodal.corpus.rows import ClipRow, Item
from bimodal.workers.errors import SourceError

State = Literal["new", "waiting", "taken", "given", "done", "failed", "refused", "before", "failed before"]

_items = msgspec.json.Decoder(Item)
_rows = msgspec.json.Decoder(ClipRow)

SCHEMA = """
CREATE TABLE items (
    place TEXT PRIMARY KEY, file TEXT, bytes INTEGER, picture INTEGER, work TEXT DEFAULT 'do', state TEXT DEFAULT 'new',
    tries INTEGER DEFAULT 0, item BLOB
) WITHOUT ROWID;
CREATE INDEX by_state ON items (state, picture, bytes DESC);
CREATE TABLE rows (place TEXT PRIMARY KEY, status TEXT, file TEXT, row BLOB) WITHOUT ROWID;
CREATE INDEX by_file ON rows (file);
CREATE TABLE stale (file TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE refusals (place TEXT PRIMARY KEY, row BLOB) WITHOUT ROWID;
"""


class Plan:
    """Items by place, each with its state, and the newest row of every clip of the output folder.

    Places must differ: two files with one place are refused.
    """

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)  # "": a temporary file, which spills from memory to disk
        self._db.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-8000;" + SCHEMA)

    # Items.

    def add(self, items: Iterable[Item]) -> None:
        """Add items; a file that is named twice counts once. Raises SourceError for two files with one place."""
        self._db.execute("BEGIN")
        for item in items:
            before = self._db.execute("SELECT file, item FROM items WHERE place = ?", (item.place,)).fetchone()
            if before is None:
                self._db.execute(
                    "INSERT INTO items (place, file, bytes, picture, item) VALUES (?, ?, ?, ?, ?)",
                    (item.place, item.file, item.bytes, item.picture, msgspec.json.encode(item)),
                )
            elif before[0] != item.file:
                other = _items.decode(before[1])
                raise SourceError(
                    f"the results of {other.source} and {item.source} would both be {item.place}.…: name their folder "
                    "instead of them, or give --root, a folder above both"
                )
        self._db.execute("COMMIT")

    def items(self, state: State | None = None) -> Iterator[Item]:
        """The items by place: of a state, or all."""
        where, values = ("WHERE state = ?", (state,)) if state is not None else ("", ())
        last = ""
        while True:  # in pages, since states change while they are read
            limits = f"{where} {'AND' if where else 'WHERE'} place > ? ORDER BY place LIMIT 500"
            page = self._db.execute(f"SELECT place, item FROM items {limits}", (*values, last)).fetchall()  # noqa: S608
            for place, item in page:
                yield _items.decode(item)
                last = place
            if not page:
                return

    def next_clip(self) -> tuple[Item, str] | None:
        """The largest waiting clip, and what is to be done with it: "do" or "join"."""
        found = self._db.execute(
            "SELECT item, work FROM items WHERE state = 'waiting' AND picture = 0 ORDER BY bytes DESC LIMIT 1"
        ).fetchone()
        return (_items.decode(found[0]), found[1]) if found is not None else None

    def next_pictures(self, count: int) -> list[Item]:
        """Waiting pictures, at most `count`; one alone where its worker died before."""
        found = self._db.execute(
            "SELECT item, tries FROM items WHERE state = 'waiting' AND picture = 1 ORDER BY bytes DESC LIMIT ?",
            (count,),
        ).fetchall()
        tried = [item for item, tries in found if tries]
        return [_items.decode(item) for item in (tried[:1] or [item for item, _ in found])]

    def mark(self, places: Iterable[str], state: State, *, work: str | None = None) -> None:
        """Set the state of items, and what is to be done with them."""
        for place in places:
            self._db.execute(
                "UPDATE items SET state = ?, work = coalesce(?, work) WHERE place = ?", (state, work, place)
            )

    def tried(self, place: str) -> int:
        """Count a try of an item that its worker did not survive; returns their number."""
        self._db.execute("UPDATE items SET tries = tries + 1 WHERE place = ?", (place,))
        return int(self._db.execute("SELECT tries FROM items WHERE place = ?", (place,)).fetchone()[0])

    def states(self) -> Counter[str]:
        """Number of items in each state."""
        return Counter(dict(self._db.execute("SELECT state, count(*) FROM items GROUP BY state").fetchall()))

    def bytes_of(self, *states: State) -> int:
        """Bytes of the items in these states."""
        marks = ",".join("?" * len(states))
        found = self._db.execute(f"SELECT sum(bytes) FROM items WHERE state IN ({marks})", states).fetchone()  # noqa: S608
        return int(found[0] or 0)

    def waiting_clips(self) -> int:
        """Number of clips that wait."""
        found = self._db.execute("SELECT count(*) FROM items WHERE state = 'waiting' AND picture = 0").fetchone()
        return int(found[0])

    def folders(self) -> set[str]:
        """The folders of the items, below that of the results."""
        return {place.rpartition("/")[0] for (place,) in self._db.execute("SELECT place FROM items")}

    # Rows.

    def put(self, rows: Iterable[ClipRow]) -> None:
        """Keep rows; a later one of a clip replaces an earlier one."""
        self._db.execute("BEGIN")
        for row in rows:
            table = row.table or ""
            self._db.execute(
                "INSERT OR IGNORE INTO stale SELECT file FROM rows WHERE place = ? AND file != '' AND file != ?",
                (row.clip, table),
            )
            values = (row.clip, row.status, table, msgspec.json.encode(row))
            self._db.execute("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?)", values)
        self._db.execute("COMMIT")

    def row(self, place: str) -> ClipRow | None:
        """The newest row of a clip."""
        found = self._db.execute("SELECT row FROM rows WHERE place = ?", (place,)).fetchone()
        return _rows.decode(found[0]) if found is not None else None

    def drop_rows(self, wanted: Callable[[ClipRow], bool]) -> None:
        """Forget rows that are not wanted."""
        unwanted = [(row.clip,) for row in self.rows() if not wanted(row)]
        self._db.executemany("DELETE FROM rows WHERE place = ?", unwanted)

    def refuse(self, row: ClipRow) -> None:
        """Keep the row of an input that is refused: the table shows it in place of the clip's own."""
        self._db.execute("INSERT OR REPLACE INTO refusals VALUES (?, ?)", (row.clip, msgspec.json.encode(row)))

    def rows(self, status: str | None = None) -> Iterator[ClipRow]:
        """All rows by clip, or those of a status; without refusals."""
        return self._pages(f"SELECT place, row FROM rows {'WHERE status = ?' if status else ''}", status)  # noqa: S608

    def refusals(self) -> Iterator[ClipRow]:
        """The rows of refused inputs."""
        return self._pages("SELECT place, row FROM refusals", None)

    def table(self, *, own: bool = False) -> Iterator[ClipRow]:
        """The rows of the joint table by clip, refusals in place of what they refuse; `own`: of this run's inputs."""
        rows = "SELECT place, row FROM rows WHERE place NOT IN (SELECT place FROM refusals)"
        rows += " AND place IN (SELECT place FROM items)" if own else ""
        return self._pages(f"{rows} UNION ALL SELECT place, row FROM refusals", None)  # noqa: S608

    def _pages(self, query: str, value: str | None) -> Iterator[ClipRow]:
        """Rows of a query, in pages: rows may change while they are read."""
        last = ""
        values = (value,) if value is not None else ()
        paged = f"SELECT place, row FROM ({query}) WHERE place > ? ORDER BY place LIMIT 500"  # noqa: S608
        while page := self._db.execute(paged, (*values, last)).fetchall():
            for place, row in page:
                yield _rows.decode(row)
                last = place

    def places_of_table(self, table: str) -> set[str]:
        """The clips whose rows lie in a file of pictures."""
        return {place for (place,) in self._db.execute("SELECT place FROM rows WHERE file = ?", (table,))}

    def stale_tables(self) -> set[str]:
        """The files of pictures that hold rows of which newer ones lie elsewhere."""
        return {table for (table,) in self._db.execute("SELECT file FROM stale")}

    def close(self) -> None:
        """Delete the database."""
        self._db.close()
