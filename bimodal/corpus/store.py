"""Results at an address (s3://…): each object is put whole, and a clip's summary last.

Object stores have neither locks nor renaming, so nothing is written there piece by piece: workers make a clip's files
in a temporary folder, exactly as in a folder of results, and put them when the clip is complete. Where there is a
summary, the clip's other files are complete. Of drivers there is one at a time (corpus/lease.py).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bimodal.corpus.join import DATA_SETS, PICTURES, joint_path
from bimodal.corpus.journal import JOURNAL
from bimodal.corpus.results import CORPUS
from bimodal.errors import BimodalError
from bimodal.extras import MissingPackageError
from bimodal.recordings.identity import ENDINGS
from bimodal.recordings.recording import SUMMARY
from bimodal.recordings.records import CLIP_SUFFIX
from bimodal.supervisor.addresses import below, file_system, scheme_of, told
from bimodal.workers.errors import SourceError
from bimodal.workers.redaction import redact

# Stores of objects, where folders need not be made.
WITHOUT_FOLDERS = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "memory", "http", "https"})
# Of a corpus folder, what a run looks for: results by their endings, and tables of pictures.
TABLES = f"{CORPUS}/frames/{PICTURES}/"


class StoreError(BimodalError):
    """Results at an address can't be read or written."""


class Store:
    """An output folder at an address.

    Attributes:
        name: the address as it may be shown.
    """

    def __init__(self, address: str, *, fresh: bool = False) -> None:
        """
        Args:
            fresh: with a connection of its own, for another thread.

        Raises StoreError where its store can't be used, MissingPackageError where a package is missing.
        """
        self.address = address.rstrip("/")
        self.name = redact(self.address)
        with self._told("can't be used"):
            self._system, self._root = file_system(self.address, fresh=fresh)
        self._there: set[str] = set()

    @property
    def system(self) -> Any:
        """Its file system of fsspec."""
        return self._system

    def path(self, relative: str) -> str:
        """A path within the file system."""
        return f"{self._root.rstrip('/')}/{relative}"

    # What is there.

    def look(self) -> None:
        """Take note of all results that are there: `exists` knows them from then on. Raises StoreError."""
        self._there.clear()
        with self._told("can't be listed"):
            self._system.invalidate_cache()
            for folder, _, files in self._system.walk(self._root, detail=True):
                inner = below(str(folder), self._root) or ""
                for name in filter(None, files):
                    relative = f"{inner}/{name}" if inner else name
                    if name.endswith(ENDINGS) or relative.startswith(TABLES):
                        self._there.add(relative)
            self._system.invalidate_cache()

    def exists(self, relative: str) -> bool:
        """True where there was such a file when the store was listed, or this run has put it since."""
        return relative in self._there

    def note(self, relative: str) -> None:
        """Take note of a file that a worker has put."""
        self._there.add(relative)

    def tables_of_pictures(self) -> list[str]:
        """The tables of pictures that are there, as paths below `corpus/`."""
        return sorted(name.removeprefix(f"{CORPUS}/") for name in self._there if name.startswith(TABLES))

    # Reading.

    def read(self, relative: str) -> bytes | None:
        """The content of a file; None where there is none. Raises StoreError where it can't be read."""
        with self._told(f"can't be read ({relative})"):
            try:
                return bytes(self._system.cat_file(self.path(relative)))
            except FileNotFoundError:
                return None

    def fetch(self, relative: str, place: Path) -> bool:
        """Fetch a file to a place on this machine; False where there is none. Raises StoreError."""
        data = self.read(relative)
        if data is None:
            return False
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        return True

    def files_in(self, relative: str) -> list[str]:
        """Names of the files in a folder. Raises StoreError."""
        with self._told(f"can't be listed ({relative})"):
            self._system.invalidate_cache()
            try:
                entries = self._system.ls(self.path(relative), detail=True)
            except FileNotFoundError:
                return []
            names = [str(entry["name"]).rpartition("/")[2] for entry in entries if entry.get("type") != "directory"]
            return sorted(filter(None, names))

    # Writing.

    def put(self, relative: str, data: bytes) -> None:
        """Put a small object whole. Raises StoreError."""
        with self._told(f"can't be written ({relative})"):
            self._folder_for(relative)
            self._system.pipe_file(self.path(relative), data)

    def create(self, relative: str, data: bytes) -> bool:
        """Put an object where there is none; False where there is one. A store that can't tell puts it in any case.

        Raises StoreError.
        """
        with self._told(f"can't be written ({relative})"):
            self._folder_for(relative)
            try:
                self._system.pipe_file(self.path(relative), data, mode="create")
            except FileExistsError:
                return False
            except (TypeError, NotImplementedError):
                self._system.pipe_file(self.path(relative), data)
            return True

    def put_files(self, folder: Path, relatives: Sequence[str]) -> None:
        """Put files of a folder, each whole, in any order. Raises StoreError."""
        if not relatives:
            return
        with self._told("can't be written"):
            for relative in relatives:
                self._folder_for(relative)
            local = [str(folder / relative) for relative in relatives]
            self._system.put(local, [self.path(relative) for relative in relatives])

    def _folder_for(self, relative: str) -> None:
        if scheme_of(self.address) not in WITHOUT_FOLDERS:
            self._system.makedirs(self.path(relative).rpartition("/")[0], exist_ok=True)

    def remove(self, relatives: Iterable[str]) -> None:
        """Remove files that may be there. Raises StoreError."""
        with self._told("can't be written"):
            for relative in relatives:
                with contextlib.suppress(FileNotFoundError):
                    self._system.rm_file(self.path(relative))
                self._there.discard(relative)

    # Clips.

    def put_results(self, folder: Path) -> None:
        """Put all results that lie in a worker's folder: of each clip the summary last, and before all else the old
        one goes, so that no mixture of two runs ever counts. What says of which source they are comes before the
        others, so that a run that was killed in between is known. Raises StoreError."""
        names = sorted(_results_in(folder))
        summaries = [name for name in names if name.endswith(SUMMARY)]
        places = [summary.removesuffix(SUMMARY) for summary in summaries]
        self.remove(summaries)
        for place in places:
            gone = [name for name in _joint_names(place) if name not in names]
            self.remove(gone)
        self.put_files(folder, [name for name in names if name.endswith(CLIP_SUFFIX)])
        self.put_files(folder, [name for name in names if not name.endswith((CLIP_SUFFIX, SUMMARY))])
        self.put_files(folder, summaries)

    def remove_clip(self, place: str) -> None:
        """Remove a clip from the data sets. Raises StoreError."""
        self.remove(_joint_names(place))

    def fetch_tables(self, place: str, folder: Path, endings: Iterable[str]) -> None:
        """Fetch a clip's own files to a worker's folder. Raises StoreError."""
        for ending in endings:
            self.fetch(f"{place}{ending}", folder / f"{place}{ending}")

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            with told(f"{self.name} {what}"):
                yield
        except MissingPackageError:
            raise
        except SourceError as error:
            raise StoreError(str(error)) from error


def _joint_names(place: str) -> list[str]:
    return [joint_path(Path(CORPUS), kind, place).as_posix() for kind in DATA_SETS]


def _results_in(folder: Path) -> Iterator[str]:
    """The results in a worker's folder: no claims, no journals, nothing temporary."""
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        own = relative.parts[0] == CORPUS and relative.parts[1:2] in (("claims",), (JOURNAL,))
        if path.is_file() and not own and not path.name.startswith("."):
            yield relative.as_posix()
