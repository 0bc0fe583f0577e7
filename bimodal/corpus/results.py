"""The results of a corpus as a run looks at them: in a folder of this machine, or at an address (corpus/store.py)."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Protocol

from bimodal.broker.paths import shown

CORPUS = "corpus"
"""Folder of the joint tables below the output folder."""


class Results(Protocol):
    """An output folder; names are relative to it, parts joined by "/".

    Attributes:
        name: the folder as people read it.
    """

    @property
    def name(self) -> str: ...

    def exists(self, relative: str) -> bool:
        """True where there is such a file."""

    def read(self, relative: str) -> bytes | None:
        """The content of a file; None where there is none that can be read."""


class Folder:
    """Results in a folder of this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """The folder's path."""
        return shown(self.path)

    def exists(self, relative: str) -> bool:
        """True where there is such a file."""
        return (self.path / relative).is_file()

    def read(self, relative: str) -> bytes | None:
        """The content of a file; None where there is none that can be read."""
        with contextlib.suppress(OSError):
            return (self.path / relative).read_bytes()
        return None
