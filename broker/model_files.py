"""Model files on their way to a worker on another machine: read piece by piece there, checked and kept here by sha256.

The broker's side sends only files that its own workers have loaded, or would load (`workers.face.count: 0`). The other
side names files by sha256 only, bounds their number and size, and gives a file its name when its checksum is right;
paths of the other machine are never used as paths. What is in a file is checked where it is opened (models/scan.py,
models/contract.py), as with any artifact.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from bimodal.broker.errors import BrokerError
from bimodal.broker.messages import FilePiece, FileWanted, Instruct, ModelFile

PIECE_BYTES = 1024 * 1024
MOST_FILES = 16
MOST_FILE_BYTES = 2**30
MOST_BYTES = 4 * 2**30
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ModelFilesError(BrokerError):
    """The models of another machine can't be taken over; the message is one sentence."""


def piece(file: ModelFile, offset: int) -> FilePiece:
    """Read one piece of a file; an empty one where it has changed or is gone."""
    nothing = FilePiece(sha256=file.sha256, offset=offset, data=b"")
    with contextlib.suppress(OSError), Path(file.path).open("rb") as opened:
        if os.fstat(opened.fileno()).st_size != file.bytes:
            return nothing
        opened.seek(offset)
        return FilePiece(sha256=file.sha256, offset=offset, data=opened.read(PIECE_BYTES))
    return nothing


def check(files: Sequence[ModelFile]) -> None:
    """Raise ModelFilesError unless these are files that may be taken over."""
    if not files or len(files) > MOST_FILES:
        raise ModelFilesError(f"the other machine names {len(files)} model files; there may be 1 to {MOST_FILES}")
    for file in files:
        if not _SHA256.fullmatch(file.sha256):
            raise ModelFilesError("the other machine names a model file without its sha256")
        if not 0 < file.bytes <= MOST_FILE_BYTES:
            raise ModelFilesError(
                f"a model file of the other machine has {file.bytes >> 20} MiB; it may have {MOST_FILE_BYTES >> 20}"
            )
    if sum(file.bytes for file in files) > MOST_BYTES:
        raise ModelFilesError(f"the model files of the other machine are larger than {MOST_BYTES >> 30} GiB together")


def with_paths(value: Any, paths: Mapping[str, str]) -> Any:
    """Settings with every path of the other machine replaced by the one here."""
    if isinstance(value, str):
        return paths.get(value, value)
    if isinstance(value, dict):
        return {key: with_paths(inner, paths) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [with_paths(inner, paths) for inner in value]
    return value


class ModelReceiver:
    """Takes over the settings and model files of another machine, one piece after another.

    Attributes:
        settings: of a worker there, with paths of files here, once all of them are here; else None.

    Args:
        cache: folder of the files, named by sha256; private to this user.
        have: finds a file that this machine has already, by its sha256.
        refused: what could not be used here; it is not asked for again.
    """

    def __init__(
        self, cache: Path, have: Callable[[str], Path | None] = lambda _: None, refused: Instruct | None = None
    ) -> None:
        self.settings: dict[str, object] | None = None
        self._cache, self._have = cache, have
        self._instruct = refused
        self._paths: dict[str, str] = {}
        self._left: list[ModelFile] = []
        self._part: BinaryIO | None = None
        self._digest = hashlib.sha256()
        self._offset = 0

    @property
    def instruct(self) -> Instruct | None:
        """What was last begun with."""
        return self._instruct

    def on_instruct(self, instruct: Instruct) -> FileWanted | None:
        """Begin with what a worker there works with; the same once more changes nothing.

        Returns what is to be asked for. Raises ModelFilesError for files that may not be taken over, or can't be kept.
        """
        if instruct == self._instruct:
            return None
        check(instruct.files)
        self._drop_part()
        self._instruct, self.settings, self._paths, self._left = instruct, None, {}, []
        for file in instruct.files:
            place = self._place(file.sha256)
            if place is None:
                self._left.append(file)
            else:
                self._paths[file.path] = str(place)
        return self._next()

    def on_piece(self, received: FilePiece) -> FileWanted | None:
        """Take a piece; returns the next to be asked for.

        Raises ModelFilesError where the file is gone there, is another one, or can't be kept here.
        """
        if not self._left or received.sha256 != self._left[0].sha256 or received.offset != self._offset:
            return None
        file = self._left[0]
        if not received.data or self._offset + len(received.data) > file.bytes:
            self._drop_part()
            self._instruct = None  # it may be offered anew
            raise ModelFilesError("a model file has changed on the other machine while it was sent")
        try:
            self._keep(file, received.data)
        except OSError as error:
            self._drop_part()
            self._instruct = None
            raise ModelFilesError(f"a model can't be kept in {self._cache}: {error.strerror}") from error
        return self._next()

    def _next(self) -> FileWanted | None:
        if self._instruct is None:
            return None
        if self._left:
            return FileWanted(sha256=self._left[0].sha256, offset=self._offset)
        settings: dict[str, object] = with_paths(self._instruct.settings, self._paths)
        self.settings = settings
        return None

    def _place(self, sha256: str) -> Path | None:
        """A file of this machine with this checksum."""
        kept = self._cache / f"{sha256}.onnx"
        if kept.is_file():
            with kept.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
                    return kept
            kept.unlink(missing_ok=True)
        return self._have(sha256)

    def _keep(self, file: ModelFile, data: bytes) -> None:
        part = self._cache / f".{file.sha256}.{os.getpid()}.part"
        if self._part is None:
            self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            self._part, self._digest = os.fdopen(descriptor, "wb"), hashlib.sha256()
        self._part.write(data)
        self._digest.update(data)
        self._offset += len(data)
        if self._offset < file.bytes:
            return
        self._part.close()
        self._part, self._offset = None, 0
        if self._digest.hexdigest() != file.sha256:
            part.unlink(missing_ok=True)
            self._instruct = None
            raise ModelFilesError("a model file of the other machine is not the one that it names: its sha256 differs")
        final = self._cache / f"{file.sha256}.onnx"
        part.replace(final)
        self._left.pop(0)
        self._paths[file.path] = str(final)

    def _drop_part(self) -> None:
        if self._part is not None:
            self._part.close()
            self._part = None
            with contextlib.suppress(OSError):
                (self._cache / f".{self._left[0].sha256}.{os.getpid()}.part").unlink(missing_ok=True)
        self._offset = 0

    def close(self) -> None:
        """Let go of a file that is not complete."""
        self._drop_part()
