"""Inputs of a corpus: folders, globs, lists, files and addresses become items, one after another, in flat memory."""

from __future__ import annotations

import csv
import glob
import io
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bimodal.broker.paths import pack, shown
from bimodal.corpus.rows import Item, table_columns
from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.recordings.tables import SEGMENT_COLUMNS, frame_columns, hop_columns
from bimodal.supervisor.addresses import Folders, RemoteFile, below, find, folder_of, is_address, scheme_of, walk
from bimodal.supervisor.inputs import FETCHED, LIVE, NO_NAME, is_media, result_name, siblings_of, stems_of
from bimodal.workers.capture.formats import PICTURES
from bimodal.workers.errors import SourceError
from bimodal.workers.redaction import redact

LIST = "@"
WILDCARDS = frozenset("*?[")
PATH = "path"
RESULTS = "corpus"
"""Folder of the joint tables below the output folder."""


def taken(emotions: EmotionSet) -> frozenset[str]:
    """Names of columns that the tables have already, in small letters."""
    tables = (*frame_columns(emotions), *hop_columns(emotions), *SEGMENT_COLUMNS)
    names = (*(column.name for column in tables), *(name for name, _ in table_columns(emotions)), "clip")
    return frozenset(name.lower() for name in names)


class Skipped(NamedTuple):
    """Counts of files that were passed over: hidden ones, and those of other kinds."""

    hidden: int = 0
    no_media: int = 0

    def __str__(self) -> str:
        parts = [f"{self.hidden} hidden"] * bool(self.hidden) + [f"{self.no_media} no media"] * bool(self.no_media)
        return ", ".join(parts)


def is_corpus(given: Sequence[str], many: int) -> bool:
    """True where the arguments name a corpus: a folder, a glob, a list, or more than `many` files."""
    if len(given) > many:
        return True
    return any(one.startswith(LIST) or _is_glob(one) or _is_folder(one) for one in given)


def _is_glob(given: str) -> bool:
    if is_address(given):
        return scheme_of(given) not in FETCHED | LIVE and bool(WILDCARDS & set(given))
    return bool(WILDCARDS & set(given)) and not os.path.lexists(given)


def _is_folder(given: str) -> bool:
    """True for a folder; of addresses, for those that end with a slash, or that don't end as media do."""
    if is_address(given):
        folder = given.endswith("/") or not is_media(given)
        return folder and scheme_of(given) not in FETCHED | LIVE
    return os.path.isdir(given)  # noqa: PTH112 - no error where a folder above may not be read, and "" is none


class Inputs:
    """The inputs that arguments name.

    Attributes:
        skipped: what was passed over so far.
        columns: names of the carried columns, once lists are read (see `items`).
    """

    def __init__(
        self,
        given: Sequence[str],
        out: str | Path,
        *,
        root: str | Path | None = None,
        emotions: EmotionSet = SEVEN,
    ) -> None:
        """
        Args:
            given: files, folders, globs, addresses of each, `@LIST.txt`, `@LIST.csv`, `@-`.
            out: the output folder, or its address: what lies in it is no input of a folder around it.
            root: files that are named lie below the output folder as they do below this folder or address; None:
                directly in it.
            emotions: whose names the tables have columns of.
        """
        self._given = list(given)
        self._out_address = str(out).rstrip("/") if is_address(str(out)) else None
        self._out = Path(os.path.realpath(out))
        self._taken = taken(emotions)
        self._root_address = str(root).rstrip("/") if root is not None and is_address(str(root)) else None
        self._root = Path(root).absolute() if root is not None and self._root_address is None else None
        self._folders = Folders()
        self._unread: dict[str, Path] = {}
        self.hidden = self.no_media = 0
        self.columns: list[str] = []
        if self._given.count(f"{LIST}-") > 1:
            raise SourceError("stdin can be read once only, but '@-' is named twice")

    @property
    def skipped(self) -> Skipped:
        """Counts of what was passed over so far."""
        return Skipped(self.hidden, self.no_media)

    def items(self) -> Iterator[Item]:
        """Yield the items, in the order of the arguments, a folder's by name; read once.

        A folder in a folder that can't be read is an item that is refused. Raises SourceError for a list that can't be
        read, a folder or glob with nothing in it, or a file outside the root.
        """
        for one in self._given:
            if one.startswith(LIST):
                yield from self._listed(one[1:])
            elif one == "-":
                raise SourceError("- goes with files that are named, not with folders, globs or lists; store it first")
            elif is_address(one):
                yield from self._remote(one)
            elif not one:
                raise SourceError(NO_NAME)
            elif _is_folder(one):
                yield from self._some(one, self._walk(Path(one).absolute(), Path(one).absolute()))
            elif _is_glob(one):
                yield from self._some(one, self._globbed(one))
            else:
                yield self._named(Path(one).absolute(), {}, picture=False)

    def _some(self, given: str, items: Iterator[Item]) -> Iterator[Item]:
        found = False
        for item in items:
            found = True
            yield item
        if not found:
            beside = f" ({self.skipped})" if self.hidden or self.no_media else ""
            what = "matches no media file" if _is_glob(given) else "holds no media file"
            raise SourceError(f"{given} {what}{beside}")

    # Folders.

    def _walk(self, folder: Path, root: Path, seen: frozenset[tuple[int, int]] = frozenset()) -> Iterator[Item]:
        try:
            here = folder.stat()
            # A link that leads back, or into the results, is not followed.
            if (here.st_dev, here.st_ino) in seen or (seen and Path(os.path.realpath(folder)) == self._out):
                return
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            yield self._unreadable(folder, root, error)
            return
        seen |= {(here.st_dev, here.st_ino)}
        folders = []
        stems = stems_of(entry.name for entry in entries)
        for entry in entries:
            if entry.name.startswith("."):
                self.hidden += 1
            elif os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():  # noqa: PTH112 - is_dir raises
                folders.append(Path(entry.path))
            elif is_media(entry.name):
                yield self._item(Path(entry.path), root, stems, {})
            else:
                self.no_media += 1
        del entries, stems
        for inner in folders:
            yield from self._walk(inner, root, seen)

    def _unlisted(self, root: Path) -> Iterator[Item]:
        """The items of the folders that can't be read, which globbing passes over without a word."""
        errors: list[OSError] = []
        for _, folders, _ in os.walk(root, onerror=errors.append):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
        for error in errors:
            yield self._unreadable(Path(error.filename), root, error)

    def _unreadable(self, folder: Path, root: Path, error: OSError) -> Item:
        """The item of a folder that can't be read, which is refused. Raises SourceError for the root itself."""
        sentence = f"the folder {shown(folder)} can't be read: {error.strerror}"
        if folder == root:
            raise SourceError(sentence) from error
        source = "/".join(map(shown, folder.relative_to(root).parts)) + "/"
        place = source  # no clip's, nor that of a folder in another root
        while self._unread.setdefault(place, folder) != folder:
            place += "/"
        return Item(place=place, file=pack(folder), source=source, refused=sentence)

    def _globbed(self, pattern: str) -> Iterator[Item]:
        base = _base_of(pattern)
        if "**" in pattern:
            yield from self._unlisted(base)
        for found in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - of an absolute pattern too
            path = Path(found).absolute()
            if os.path.isdir(path):  # noqa: PTH112 - no error where a folder above may not be read
                # `**` gives folders and what is in them, so only a pattern without it stands for what folders hold.
                if "**" not in pattern:
                    yield from self._walk(path, base)
            elif self._out in path.parents or not is_media(path.name):
                self.no_media += self._out not in path.parents
            else:
                yield self._item(path, base, siblings_of(path.parent), {})

    # Addresses.

    def _remote(self, address: str) -> Iterator[Item]:
        if scheme_of(address) in LIVE:
            raise SourceError(f"{redact(address)} is no file: watch a live address with 'bimodal up'")
        if _is_glob(address):
            yield from self._some(address, self._remote_glob(address))
        elif _is_folder(address):
            yield from self._some(address, self._remote_walk(address.rstrip("/")))
        else:
            yield self._named_remote(address, {}, picture=False)

    def _remote_walk(self, root: str) -> Iterator[Item]:
        for folder, files in walk(root):
            if any(part.startswith(".") for part in folder.split("/")):
                continue
            stems = stems_of(files)
            for name, file in files.items():
                if self._is_result(file.address):
                    continue
                if name.startswith("."):
                    self.hidden += 1
                elif is_media(name):
                    yield self._remote_item(file, f"{folder}/{name}" if folder else name, stems, {})
                else:
                    self.no_media += 1

    def _remote_glob(self, pattern: str) -> Iterator[Item]:
        base = pattern
        while WILDCARDS & set(base):
            base = folder_of(base)
        for file in find(pattern, base):
            name = file.address.rpartition("/")[2]
            if self._is_result(file.address):
                continue
            if name.startswith(".") or not is_media(name):
                self.hidden += name.startswith(".")
                self.no_media += not name.startswith(".")
                continue
            relative = below(file.address, base) or name
            yield self._remote_item(file, relative, stems_of(self._folders.siblings(file.address)), {})

    def _named_remote(self, address: str, columns: dict[str, str], *, picture: bool) -> Item:
        file = self._folders.file(address)
        relative = address.rpartition("/")[2] or scheme_of(address)
        if self._root_address is not None:
            inner = below(address, self._root_address)
            if inner is None:
                raise SourceError(f"{redact(address)} does not lie below --root {redact(self._root_address)}")
            relative = inner
        stems = stems_of(self._folders.siblings(address))
        return self._remote_item(file, relative, stems, columns, picture=picture)

    def _is_result(self, address: str) -> bool:
        return self._out_address is not None and address.startswith(f"{self._out_address}/")

    def _remote_item(
        self,
        file: RemoteFile,
        relative: str,
        stems: Counter[str],
        columns: dict[str, str],
        *,
        picture: bool | None = None,
    ) -> Item:
        # Keys of a store are any text; a place is a path that stays below the output folder.
        parts = ["%2E%2E" if part == ".." else part for part in relative.split("/") if part not in ("", ".")]
        path = Path(*parts)
        return Item(
            place="/".join([*path.parts[:-1], result_name(path, stems)]),
            file=file.address,
            source=redact(relative),
            picture=path.suffix.lower() in PICTURES if picture is None else picture,
            bytes=file.bytes,
            mtime_ns=file.mtime_ns,
            etag=file.etag,
            columns=columns,
        )

    # Lists.

    def _listed(self, name: str) -> Iterator[Item]:
        source = "stdin" if name == "-" else name
        if not name:
            raise SourceError(NO_NAME)
        try:
            data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        except OSError as error:
            raise SourceError(f"the list {source} can't be read: {error.strerror}") from error
        if b"\0" in data:
            raise SourceError(f"{source} is no list of paths: it is no text")
        text = data.decode("utf-8-sig", "surrogateescape")
        folder = Path.cwd() if name == "-" else Path(name).absolute().parent
        rows = self._table(text, source) if _has_header(text) else (({}, line) for line in text.splitlines())
        found = False
        for columns, given in rows:
            if not given.strip():
                continue
            found = True
            if is_address(given):
                media = Path(given).suffix.lower() in PICTURES
                yield self._named_remote(given.strip(), columns, picture=media)
                continue
            path = Path(given)
            if not path.is_absolute() and not _exists(path) and _exists(folder / path):
                path = folder / path
            yield self._named(path.absolute(), columns, picture=path.suffix.lower() in PICTURES)
        if not found:
            raise SourceError(f"the list {source} names no file")

    def _table(self, text: str, source: str) -> Iterator[tuple[dict[str, str], str]]:
        delimiter = max(",;\t", key=text.partition("\n")[0].count)
        reader = csv.DictReader(io.StringIO(text), delimiter=delimiter)
        names = [(name or "").strip() for name in reader.fieldnames or ()]
        carried = [name for name in names if name != PATH]
        for name in carried:
            if name.lower() in self._taken or not name or names.count(name) > 1:
                what = f"'{name}', which the tables have already" if name.lower() in self._taken else f"'{name}' twice"
                what = "a column without a name" if not name else what
                raise SourceError(f"the list {source} has {what}: give that column another name")
        self.columns += [name for name in carried if name not in self.columns]
        reader.fieldnames = names
        for row in reader:
            if row.get(None):
                raise SourceError(f"line {reader.line_num} of the list {source} has more cells than its first line")
            yield {name: row[name] or "" for name in carried}, row[PATH] or ""

    # Items.

    def _named(self, path: Path, columns: dict[str, str], *, picture: bool) -> Item:
        if self._root_address is not None:
            raise SourceError(f"{shown(path)} does not lie below --root {redact(self._root_address)}")
        if self._root is not None:
            if self._root not in path.parents:
                raise SourceError(f"{shown(path)} does not lie below --root {shown(self._root)}")
            return self._item(path, self._root, siblings_of(path.parent), columns, picture=picture)
        return self._item(path, path.parent, siblings_of(path.parent), columns, picture=picture)

    def _item(
        self,
        path: Path,
        root: Path,
        stems: Counter[str],
        columns: dict[str, str],
        *,
        picture: bool | None = None,
    ) -> Item:
        try:
            found = path.stat()
            size, mtime_ns = (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else (0, 0)
        except OSError:
            size = mtime_ns = 0
        relative = path.relative_to(root)
        above = relative.parts[:-1]
        return Item(
            place="/".join([*map(shown, above), result_name(path, stems)]),
            file=pack(path),
            source=shown(relative),
            picture=path.suffix.lower() in PICTURES if picture is None else picture,
            bytes=size,
            mtime_ns=mtime_ns,
            columns=columns,
        )


def _exists(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - no error where a folder above may not be read


def _base_of(pattern: str) -> Path:
    """The part of a pattern without wildcards."""
    parts: list[str] = []
    for part in Path(pattern).parts[:-1]:
        if WILDCARDS & set(part):
            break
        parts.append(part)
    return Path(*parts).absolute()


def _has_header(text: str) -> bool:
    """True for a table: its first line has a cell `path`."""
    first = text.partition("\n")[0].rstrip("\r")
    return any(PATH in (cell.strip().strip('"') for cell in first.split(delimiter)) for delimiter in ",;\t")
