"""The variant of models that a corpus keeps: that of its first clip, whichever processor its next run, shard or actor
has. Else clips of one table would come from two networks."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from bimodal.corpus.journal import JournalReader
from bimodal.models.catalog import INT8_SUFFIX
from bimodal.models.precision import Precision
from bimodal.recordings.parts import opened, part_path, sync

FILE = "precision"


def kept(corpus: Path) -> Precision | None:
    """The variant of the clips that are there: as written, else by the first that was done; None without clips."""
    with contextlib.suppress(OSError):
        match (corpus / FILE).read_text(encoding="ascii", errors="replace").strip():
            case "fp32":
                return "fp32"
            case "int8":
                return "int8"
    first = next((row for row in JournalReader(corpus).new_rows() if row.status == "done"), None)
    if first is None:
        return None
    return "int8" if any(f"{INT8_SUFFIX}@" in name for name in first.models.values()) else "fp32"


def keep(corpus: Path, precision: Precision, *, replace: bool) -> Precision:
    """Write the variant of a corpus down, unless another run was faster; gives the one that counts.

    Args:
        replace: whether `precision` counts in any case, as what config.yaml names does.

    Raises OSError.
    """
    file = corpus / FILE
    part = part_path(file)
    try:
        with opened(part) as data:
            data.write(f"{precision}\n".encode())
            sync(data)
            if replace:
                part.replace(file)
                return precision
            try:
                os.link(part, file)
            except FileExistsError:
                pass
            except OSError:  # a file system without links: two runs that begin in one moment may then differ
                if not file.exists():
                    part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return kept(corpus) or precision
